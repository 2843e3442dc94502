"""Evaluation shared by several processes: each computes some blocks of rows, and all get all rows.

Within `shared_evaluation()` the processes of torch.distributed's default group share the work of
`score_matrix`, `rerank` and the evaluators. Outside of it each process evaluates independently, so
that the main process can evaluate without the others, for example for a report.

Blocks of different sizes are neither padded nor pickled, as accelerate's `gather` and
`gather_object` would do; every process computes the same blocks as one process alone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

_SHARED = ContextVar("shared", default=False)


@contextmanager
def shared_evaluation(model: nn.Module | None = None) -> Iterator[None]:
    """Share evaluations among all processes, which must all run the same evaluations.

    The main process's model is copied to the others first, since the batch norm statistics may
    differ under DDP.

    Every process gets the result that it would get alone. If a process fails or is missing, the
    others wait until it ends or the group times out, as in any collective operation. With one
    process or without a process group nothing changes.

    Args:
        model: The model to evaluate; None if all processes have loaded the same weights.
    """
    token = _SHARED.set(True)
    try:
        if model is not None and is_shared():
            for value in model.state_dict().values():
                _broadcast(value, 0, value.device)
        yield
    finally:
        _SHARED.reset(token)


def is_shared() -> bool:
    """Whether several processes share the evaluation."""
    return (
        _SHARED.get()
        and dist.is_available()
        and dist.is_initialized()
        and dist.get_world_size() > 1
    )


def share_blocks(
    make: Callable[[slice], Tensor], n_rows: int, block_size: int, device: torch.device
) -> Tensor:
    """Compute rows in blocks, of which each process computes some.

    Args:
        make: Function of the rows of a block that returns them, (n_block, ...).
        n_rows: Rows of all processes, at least 1.
        block_size: Rows of a block.
        device: The model's device.

    Returns:
        All rows, (n_rows, ...).
    """
    own = own_rows(n_rows, block_size)
    starts = range(own.start, own.stop, block_size)
    # A process without rows makes one, to know the shape.
    blocks = [slice(start, min(start + block_size, own.stop)) for start in starts] or [slice(0, 1)]
    rows = torch.cat([make(block) for block in blocks])[: own.stop - own.start]
    return gather_rows(rows, n_rows, block_size, device)


def own_rows(n_rows: int, block_size: int, process: int | None = None) -> slice:
    """The rows of a process: whole blocks, the same blocks as with a single process.

    Args:
        n_rows: Rows of all processes.
        block_size: Rows of a block.
        process: The process; by default this one.
    """
    if not is_shared():
        return slice(0, n_rows)
    process = dist.get_rank() if process is None else process
    n_blocks, n_processes = -(-n_rows // block_size), dist.get_world_size()
    start, end = (n_blocks * i // n_processes * block_size for i in (process, process + 1))
    return slice(min(n_rows, start), min(n_rows, end))


def gather_rows(own: Tensor, n_rows: int, block_size: int, device: torch.device) -> Tensor:
    """Gather the rows of all processes in every process.

    Every process broadcasts its part, so rows are neither padded nor repeated. The broadcast uses
    the CPU if the group's backend supports it (gloo), else `device` (NCCL).

    Args:
        own: This process's rows `own_rows(n_rows, block_size)`, (n_own, ...); n_own may be 0.
        n_rows: Rows of all processes.
        block_size: Rows of a block.
        device: The model's device.

    Returns:
        All rows, (n_rows, ...), on the device of `own`.
    """
    if not is_shared():
        return own
    all_rows = own.new_empty((n_rows, *own.shape[1:]))  # (n_rows, ...)
    all_rows[own_rows(n_rows, block_size)] = own
    for process in range(dist.get_world_size()):
        _broadcast(all_rows[own_rows(n_rows, block_size, process)], process, device)
    return all_rows


def sum_over_processes(values: Tensor, device: torch.device) -> Tensor:
    """The sum of a tensor over the processes, in every one of them.

    Args:
        values: This process's part, of the same shape in all.
        device: The model's device.
    """
    if not is_shared():
        return values
    total = values.to(_backend_device(device), copy=True)
    dist.all_reduce(total)
    return total.to(values.device)


def _backend_device(device: torch.device) -> torch.device:
    """The CPU if the group's backend supports it (gloo), else the model's device (NCCL)."""
    return torch.device("cpu") if "cpu:" in dist.get_backend_config() else device


def _broadcast(values: Tensor, process: int, device: torch.device) -> None:
    """Broadcast the values of one process to the others, in place."""
    if not values.numel():
        return
    buffer = values.to(_backend_device(device)).contiguous()
    dist.broadcast(buffer, src=process)
    if buffer is not values:
        values.copy_(buffer)
