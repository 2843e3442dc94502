"""One evaluation by all processes: each takes some of the blocks of rows, and all get every row.

Within `shared_evaluation()` the processes of torch.distributed's default group share the work of
`score_matrix`, `rerank` and the evaluators. Outside of it a process evaluates by itself, so one
that evaluates alone, such as the main one for a report, never waits for the others.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise

import torch
import torch.distributed as dist
from torch import Tensor, nn

_SHARED = ContextVar("shared", default=False)


@contextmanager
def shared_evaluation(model: nn.Module | None = None) -> Iterator[None]:
    """Share the evaluations within among all processes, which must all make the same ones.

    The models must be the same too: that of the main process is copied to the others first. Under
    DDP they may differ in what batch normalisation has seen last.

    Every process gets the result that it would have alone. A process that does not come, or leaves
    by an error, is waited for until its end or the group's timeout, as in any collective operation.
    With one process, or without a process group, nothing changes.

    Args:
        model: The model to evaluate; None where all processes have read it from one file.
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
    """Whether there are other processes that share the evaluation."""
    return (
        _SHARED.get()
        and dist.is_available()
        and dist.is_initialized()
        and dist.get_world_size() > 1
    )


def own_rows(n_rows: int, block_size: int) -> slice:
    """The rows of this process: whole blocks, the same ones that a single process would make.

    Args:
        n_rows: Rows of all processes.
        block_size: Rows of a block.
    """
    if not is_shared():
        return slice(0, n_rows)
    return _parts(n_rows, block_size)[dist.get_rank()]


def gather_rows(own: Tensor, n_rows: int, block_size: int, device: torch.device) -> Tensor:
    """Put the rows of all processes together, in every process.

    Every part is broadcast by its process as it is, so rows are neither padded nor repeated. It
    goes over the CPU where the group's backend can (gloo), else over `device` (NCCL).

    Args:
        own: What this process has for `own_rows(n_rows, block_size)`, (n_own, ...). A process
            without rows gives none of them, of the right shape.
        n_rows: Rows of all processes.
        block_size: Rows of a block.
        device: The model's device.

    Returns:
        All rows, (n_rows, ...), where `own` is.
    """
    if not is_shared():
        return own
    parts = _parts(n_rows, block_size)
    everything = own.new_empty((n_rows, *own.shape[1:]))  # (n_rows, ...)
    everything[parts[dist.get_rank()]] = own
    for process, rows in enumerate(parts):
        _broadcast(everything[rows], process, device)
    return everything


def _broadcast(values: Tensor, process: int, device: torch.device) -> None:
    """Put what one process has in the place of what the others have."""
    if not values.numel():
        return
    place = torch.device("cpu") if "cpu:" in dist.get_backend_config() else device
    sent = values.to(place).contiguous()
    dist.broadcast(sent, src=process)
    if sent is not values:
        values.copy_(sent)


def _parts(n_rows: int, block_size: int) -> list[slice]:
    """The rows of each process."""
    n_processes = dist.get_world_size()
    n_blocks = -(-n_rows // block_size)
    ends = [
        min(n_rows, n_blocks * process // n_processes * block_size)
        for process in range(n_processes + 1)
    ]
    return [slice(start, end) for start, end in pairwise(ends)]
