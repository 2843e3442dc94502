"""Gather the parts of a batch from several processes, with gradients.

Pairs are distributed round-robin: pair r of process p is pair r * n_processes + p of the batch.
Gathered tensors have the order of the whole batch. Gradients flow back to every process: if each
computes the loss of the whole batch and DistributedDataParallel averages the gradients, every
parameter gets the gradient that a single process with the whole batch would compute. This also
holds for values that each process computes of its own rows alone before they are gathered.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

from .encoded import Encoded


def n_processes() -> int:
    """Number of processes that share a batch; 1 outside a process group."""
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
    """Gather the rows of all processes in the order of the whole batch; differentiable.

    Args:
        values: This process's rows, (n, ...). n may differ between processes by one. The other
            dimensions may differ too and are padded with zeros to the largest.

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
    dtype = padded.dtype
    padded = padded.to(torch.uint8) if dtype == torch.bool else padded.contiguous()
    joined = _Gather.apply(padded).transpose(0, 1).flatten(0, 1)  # (n_largest * world, ...)
    counts = [int(shape[0]) for shape in shapes]
    real = [row * world + p for row in range(largest[0]) for p in range(world) if row < counts[p]]
    return joined[torch.tensor(real, device=values.device)].to(dtype)


def gather_encoded(encoded: Encoded) -> Encoded:
    """Gather the encoded images or texts of all processes in the order of the whole batch."""
    if n_processes() == 1:
        return encoded
    return Encoded(gather_batch(encoded.tokens), gather_batch(encoded.mask))


def own_in_batch(n_rows: int, device: torch.device) -> Tensor:
    """Mask of this process's rows in the whole batch, bool (n_rows,)."""
    world = n_processes()
    rank = dist.get_rank() if world > 1 else 0
    return torch.arange(n_rows, device=device) % world == rank


def _pad(values: Tensor, shape: list[int]) -> Tensor:
    """Append zeros along every axis up to a shape."""
    sizes = zip(reversed(values.shape), reversed(shape), strict=True)
    padding = [amount for old, new in sizes for amount in (0, new - old)]
    return functional.pad(values, padding) if any(padding) else values
