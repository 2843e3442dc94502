"""Seconds and memory of a task, and the machine they were measured on."""

import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from work import Setting, Task

_STATUS = Path("/proc/self/status")
#: Read before the libraries that they are for: `environment` is for a process yet to start.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def environment(threads: int) -> dict[str, str]:
    """Variables that hold every library of a new process to a number of threads."""
    return dict.fromkeys(_THREAD_VARIABLES, str(threads))


def hold_to(threads: int) -> None:
    """Holds torch in this process to a number of threads."""
    torch.set_num_threads(threads)


def seconds_of(run: Callable[[], object], device: str = "cpu") -> float:
    """Time of one call, on a GPU until its work is done."""
    _synchronize(device)
    start = time.perf_counter()
    run()
    _synchronize(device)
    return time.perf_counter() - start


def measure(task: Task, setting: Setting) -> dict[str, Any]:
    """Times a task and looks at its memory.

    Returns:
        `seconds`, the median of `times` times the scale; `scale`, `note` and `cold` of the task;
        `peak_mib`, the most memory that the process held, and `rise_mib`, by how much that is more
        than it held before the first call; on a GPU `gpu_peak_mib` and `gpu_rise_mib` too.
    """
    on_gpu = setting.device == "cuda"
    before = reset_peak()
    gpu_before = torch.cuda.memory_allocated() if on_gpu else 0
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    if not task.cold:
        seconds_of(task.run, setting.device)
    count = 1 if task.cold else task.repetitions or setting.repetitions
    times = [seconds_of(task.run, setting.device) for _ in range(count)]
    peak = peak_mib()
    found = {
        "seconds": statistics.median(times) * task.scale,
        "times": times,
        "scale": task.scale,
        "note": task.note,
        "cold": task.cold,
        "peak_mib": peak,
        "rise_mib": peak - before,
    }
    if on_gpu:
        gpu_peak = torch.cuda.max_memory_allocated()
        found["gpu_peak_mib"] = gpu_peak / 2**20
        found["gpu_rise_mib"] = (gpu_peak - gpu_before) / 2**20
    return found


def reset_peak() -> float:
    """Forgets the peak so far, where the system can, and returns the memory held now in MiB.

    Where it cannot, that is the peak so far.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return peak_mib()
    return _status_mib("VmRSS")


def peak_mib() -> float:
    """The most memory that this process held, in MiB.

    On Linux by the process's own status: `ru_maxrss` begins with that of the process that started
    it.
    """
    if _STATUS.exists():
        return _status_mib("VmHWM")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def machine(threads: int) -> dict[str, Any]:
    """What the figures were measured on."""
    has_gpu = torch.cuda.is_available()
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "threads": threads,
        "gpu": torch.cuda.get_device_name() if has_gpu else None,
        "cuda": torch.version.cuda if has_gpu else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _status_mib(field: str) -> float:
    lines = _STATUS.read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) / 2**10


def _cpu_name() -> str:
    cpus = Path("/proc/cpuinfo")
    for line in cpus.read_text().splitlines() if cpus.exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
