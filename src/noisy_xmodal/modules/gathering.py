"""Batches that are shared by several processes, put together again with gradients.

A batch is dealt to the processes one pair after the other, so pair r of process p is pair
r * n_processes + p of the batch. What is gathered here stands in the order of the whole batch, as
one process would have it. Gradients flow back to every process: with a loss over the whole batch on
each of them, and their gradients averaged as DistributedDataParallel does, every parameter gets the
gradient of one process that had the whole batch.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

from .encoded import Encoded


def n_processes() -> int:
    """How many processes share a batch; 1 outside of a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _Gather(torch.autograd.Function):
    """Values of one shape from all processes, (n_processes, ...)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        parts = [torch.empty_like(values) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, values)
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.contiguous().clone()
        dist.all_reduce(summed)
        return summed[dist.get_rank()]


def gather_batch(values: Tensor) -> Tensor:
    """Rows of all processes in the order of the whole batch; differentiable.

    Args:
        values: This process's rows, (n, ...). Their number may differ between processes by one, as
            may sizes, which are padded with zeros to the largest: all but the first of integers and
            masks, and the lengths of token sequences.

    Returns:
        (n_all, ...).
    """
    world = n_processes()
    if world == 1:
        return values
    shape = torch.tensor(values.shape, device=values.device)
    shapes = [torch.empty_like(shape) for _ in range(world)]
    dist.all_gather(shapes, shape)
    largest = torch.stack(shapes).amax(dim=0).tolist()
    padded = _pad(values, largest)
    kind = padded.dtype
    sent = padded.to(torch.uint8) if kind == torch.bool else padded.contiguous()
    joined = _Gather.apply(sent).transpose(0, 1).flatten(0, 1)  # (n_largest * world, ...)
    counts = [int(found[0]) for found in shapes]
    real = [row * world + p for row in range(largest[0]) for p in range(world) if row < counts[p]]
    return joined[torch.tensor(real, device=values.device)].to(kind)


def gather_encoded(encoded: Encoded) -> Encoded:
    """Encoded images or texts of all processes in the order of the whole batch."""
    if n_processes() == 1:
        return encoded
    return Encoded(gather_batch(encoded.tokens), gather_batch(encoded.mask))


def own_in_batch(n_rows: int, device: torch.device) -> Tensor:
    """Which rows of the whole batch are this process's, bool (n_rows,)."""
    world = n_processes()
    rank = dist.get_rank() if world > 1 else 0
    return torch.arange(n_rows, device=device) % world == rank


def _pad(values: Tensor, shape: list[int]) -> Tensor:
    """Zeros behind every axis, up to a shape."""
    pairs = zip(reversed(values.shape), reversed(shape), strict=True)
    missing = [amount for has, wants in pairs for amount in (0, wants - has)]
    return functional.pad(values, missing) if any(missing) else values
