"""Dropout whose masks are cheap to draw on a CPU."""

import torch
from torch import Tensor, nn

_LEVELS = 2**16  # of a 16-bit number
_NUMBERS_PER_DRAW = 4  # 16-bit numbers in a draw of 64 bits


class Dropout(nn.Dropout):
    """`nn.Dropout` with masks made of 16 random bits an element on a CPU.

    PyTorch draws every element of a CPU's mask by itself, which took up to a third of a training
    step over region features; sharing each 64-bit draw among four elements takes a quarter of the
    time (`tests/benchmarks/dropout.py`). The probability is rounded to 1 / 65,536, and kept values
    are scaled by the rounded one, so the expectation is exact. Other devices use PyTorch's own.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Zero elements of a tensor of any shape, and scale the others, in training mode."""
        n_levels = round(self.p * _LEVELS)
        is_mask_ours = input.device.type == "cpu" and not self.inplace and 0 < n_levels < _LEVELS
        if not (self.training and is_mask_ours):
            return super().forward(input)
        n_draws = -(-input.numel() // _NUMBERS_PER_DRAW)
        draws = torch.empty(n_draws, dtype=torch.int64).random_(-(2**63), None)
        numbers = draws.view(torch.int16)[: input.numel()].view(input.shape)
        mask = (numbers >= n_levels - _LEVELS // 2).to(input.dtype)
        return input * mask.mul_(_LEVELS / (_LEVELS - n_levels))
