"""Run the cells of a table on one or several workers, and go on where an earlier run stopped.

Any number of processes, on any number of machines with one output folder, share the cells: a run is
claimed by a lock file (see `step`), and a cell that another process runs is waited for.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from .cells import Cell, Step
from .step import BUSY

#: Seconds between two looks for a cell that has become free.
_PATIENCE = 2.0
#: Seconds after which the progress of the runs is told.
_TELLS_AFTER = 60.0


class Runner:
    """Runs cells until all of them are done or have failed.

    Args:
        cells: The cells, in the order in which they are begun.
        scripts: The folder of the scripts.
        workers: Runs at the same time.
        tell: Prints a line.

    Attributes:
        failures: The log of each cell that failed, by its name.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        scripts: Path,
        workers: int = 1,
        tell: Callable[[str], None] = print,
    ) -> None:
        self.cells = list(cells)
        self.scripts = scripts
        self.workers = workers
        self.tell = tell
        self.failures: dict[str, Path] = {}
        self._failed: dict[Path, Path] = {}  # log of a failed run by its folder
        self._running: dict[Path, subprocess.Popen | None] = {}
        self._lock = threading.Lock()
        self._stopped = False
        self._error: Exception | None = None

    def run(self) -> None:
        """Run what is missing; after a signal the runs save a checkpoint and end, too.

        Raises:
            ValueError: If a folder is of another run.
        """
        for cell in self.cells:
            for step in cell.steps:
                step.check_same()
        missing = [cell for cell in self.cells if not cell.is_done]
        if not missing:
            return
        n_done = len(self.cells) - len(missing)
        self.tell(f"{len(self.cells)} cells, {n_done} of them done before; {self._time_left()}")
        threads = [
            threading.Thread(target=self._work, args=(number,), daemon=True)
            for number in range(min(self.workers, len(missing)))
        ]
        with self._stopping():
            for thread in threads:
                thread.start()
            told = time.monotonic()
            while any(thread.is_alive() for thread in threads):
                time.sleep(0.1)  # a signal is seen here
                if time.monotonic() - told > _TELLS_AFTER:
                    told = time.monotonic()
                    self._tell_progress()
            if self._error is not None:
                raise self._error

    def _tell_progress(self) -> None:
        """Tell the last line that each run wrote."""
        with self._lock:
            folders = list(self._running)
        for step in {step.folder: step for cell in self.cells for step in cell.steps}.values():
            log = step.beside(".log")
            if step.folder in folders and log.is_file():
                lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
                self.tell(f"  {step.name}: {next(filter(None, reversed(lines)), '')[:100]}")

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """End the runs if this process is ended; each saves a checkpoint first."""
        try:
            yield
        except BaseException:
            with self._lock:
                self._stopped = True
                processes = [process for process in self._running.values() if process is not None]
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                process.wait()
            raise

    def _work(self, worker: int) -> None:
        """Run cells until none is left; an error of this process ends all."""
        try:
            self._work_on(worker)
        except Exception as error:
            self._error, self._stopped = error, True

    def _work_on(self, worker: int) -> None:
        while not self._stopped:
            with self._lock:
                found = self._next()
                if found is not None:
                    self._running[found[1].folder] = None
                is_over = found is None and not any(map(self._is_open, self.cells))
            if is_over:
                return
            if found is None:
                time.sleep(_PATIENCE)
                continue
            cell, step = found
            try:
                self._run(cell, step, worker)
            finally:
                with self._lock:
                    del self._running[step.folder]

    def _is_open(self, cell: Cell) -> bool:
        return not cell.is_done and cell.name not in self.failures

    def _next(self) -> tuple[Cell, Step] | None:
        """A cell that can be gone on with, and its next step."""
        for cell in filter(self._is_open, self.cells):
            step = next(step for step in cell.steps if not step.is_done)
            if step.folder in self._failed:
                self.failures[cell.name] = self._failed[step.folder]
            elif step.folder not in self._running and not _is_claimed(step):
                return cell, step
        return None

    def _run(self, cell: Cell, step: Step, worker: int) -> None:
        """Run a step, with its output in a log."""
        words = [step.folder, step.result, step.command, self.scripts / f"{step.script}.py"]
        command = [*map(str, words), *step.options, *step.outputs]
        log = step.beside(".log")
        with log.open("ab") as out:
            out.write(f"\n$ {step.command} {' '.join(step.outputs)}\n".encode())
            out.flush()
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "noisy_xmodal.papers.step", *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=_environment(worker, self.workers),
                start_new_session=True,
            )
            with self._lock:
                self._running[step.folder] = process
                if self._stopped:
                    process.send_signal(signal.SIGTERM)
            code = process.wait()
        if code == BUSY or self._stopped:
            return
        if code != 0 or not step.is_done:
            self._fail(cell, step, log)
        elif cell.is_done:
            self.tell(f"{cell.name}: done in {_seconds(cell) / 60:.1f} min; {self._time_left()}")

    def _fail(self, cell: Cell, step: Step, log: Path) -> None:
        with self._lock:
            self._failed[step.folder] = log
            self.failures[cell.name] = log
        self.tell(f"{cell.name}: FAILED, see {log}; {self._time_left()}")

    def _time_left(self) -> str:
        """How many cells are left, and about how long they take."""
        left = [cell for cell in self.cells if self._is_open(cell)]
        seconds = [
            (cell.row.key, _seconds(cell)) for cell in self.cells if cell.is_done and _seconds(cell)
        ]
        if not left or not seconds:
            return f"{len(left)} left"
        mean = sum(value for _, value in seconds) / len(seconds)
        total = 0.0
        for cell in left:
            alike = [value for key, value in seconds if key == cell.row.key]
            total += sum(alike) / len(alike) if alike else mean
        return f"{len(left)} left, about {total / self.workers / 60:.0f} min"


def _seconds(cell: Cell) -> float:
    """What the runs of a cell took, as far as it is recorded."""
    return sum(step.record().get(step.result.name, {}).get("seconds", 0) for step in cell.steps)


def _is_claimed(step: Step) -> bool:
    """Whether a process works on a step."""
    step.folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(step.beside(".lock"), timeout=0):
            return False
    except Timeout:
        return True


def _environment(worker: int, workers: int) -> dict[str, str]:
    """Threads for each of several workers, and the GPU of a worker where there are several."""
    own = {**os.environ, "PYTHONUNBUFFERED": "1"}
    own.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    gpus = _gpus() if workers > 1 else []
    if len(gpus) > 1:
        own["CUDA_VISIBLE_DEVICES"] = gpus[worker % len(gpus)]
    return own


def _gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA numbers them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name]
    return [str(number) for number in range(torch.cuda.device_count())]
