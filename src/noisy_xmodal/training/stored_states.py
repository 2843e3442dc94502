"""States of optimizer, scheduler and random generators as safetensors and JSON, without pickle."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..files import read_json, write_json
from .sharding import split_like, whole

OPTIMIZER_NAME = "optimizer.safetensors"
SCHEDULER_NAME = "scheduler.json"


def save_optimizer(
    optimizer: torch.optim.Optimizer, folder: str | Path, is_writer: bool = True
) -> None:
    """Write the state of an optimizer: tensors by "index/name", the rest as JSON in the header.

    Args:
        optimizer: The optimizer; its shards are gathered, so all processes must call this.
        folder: Where to.
        is_writer: Whether this process writes.
    """
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensor = whole(value).detach()
                if is_writer:
                    tensors[f"{index}/{name}"] = tensor.cpu().contiguous().clone()
            else:
                plain.setdefault(str(index), {})[name] = value
    if not is_writer:
        return
    header = {"param_groups": json.dumps(state["param_groups"]), "plain": json.dumps(plain)}
    save_file(tensors, str(Path(folder) / OPTIMIZER_NAME), metadata=header)


def load_optimizer(optimizer: torch.optim.Optimizer, folder: str | Path) -> None:
    """Restore the state that `save_optimizer` wrote."""
    state: dict[int, dict[str, Any]] = {}
    parameters = [part for group in optimizer.param_groups for part in group["params"]]
    with safe_open(str(Path(folder) / OPTIMIZER_NAME), framework="pt") as file:
        header = file.metadata()
        for key in file.offset_keys():
            index, name = key.split("/", 1)
            tensor = split_like(file.get_tensor(key), parameters[int(index)])
            state.setdefault(int(index), {})[name] = tensor
    for index, values in json.loads(header["plain"]).items():
        state.setdefault(int(index), {}).update(values)
    groups = json.loads(header["param_groups"])
    for group, own in zip(groups, optimizer.param_groups, strict=False):
        # Which kernel computes a step belongs to the machine, not to the run.
        group |= {name: own[name] for name in ("fused", "foreach") if name in own}
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def save_rng(folder: str | Path, process: int) -> None:
    """Write the states of the random generators of Python, NumPy and torch of one process."""
    numpy_state: Any = np.random.get_state()  # noqa: NPY002
    kind, keys, position, has_gauss, gauss = numpy_state
    version, words, pending = random.getstate()
    tensors = {"torch": torch.get_rng_state(), "numpy": torch.from_numpy(keys.astype(np.int64))}
    if torch.cuda.is_available():
        tensors |= {f"cuda/{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    header = {
        "numpy": json.dumps([kind, position, has_gauss, gauss]),
        "python": json.dumps([version, words, pending]),
    }
    save_file(tensors, str(_rng_path(folder, process)), metadata=header)


def load_rng(folder: str | Path, process: int) -> None:
    """Restore the states that `save_rng` wrote; a process that was not there takes those of 0."""
    path = _rng_path(folder, process)
    path = path if path.is_file() else _rng_path(folder, 0)
    with safe_open(str(path), framework="pt") as file:
        header = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.offset_keys()}
    torch.set_rng_state(tensors["torch"])
    kind, position, has_gauss, gauss = json.loads(header["numpy"])
    keys = tensors["numpy"].numpy().astype(np.uint32)
    np.random.set_state((kind, keys, position, has_gauss, gauss))  # noqa: NPY002
    version, words, pending = json.loads(header["python"])
    random.setstate((version, tuple(words), pending))
    cuda = [tensors[f"cuda/{i}"] for i in range(sum(key.startswith("cuda/") for key in tensors))]
    if cuda and len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)


def _rng_path(folder: str | Path, process: int) -> Path:
    return Path(folder) / f"rng_state_{process}.safetensors"


def save_scheduler(scheduler: Any, folder: str | Path) -> None:
    """Write the state of a learning-rate scheduler as JSON."""
    write_json(Path(folder) / SCHEDULER_NAME, scheduler.state_dict())


def load_scheduler(scheduler: Any, folder: str | Path) -> None:
    """Restore the state that `save_scheduler` wrote."""
    scheduler.load_state_dict(read_json(Path(folder) / SCHEDULER_NAME))
