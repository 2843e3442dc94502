"""Scores of all pairs for a loss with a sparse gradient.

The loss of the hardest negatives depends on at most three scores per pair: the pair itself and the
hardest negative in each direction. Of 128 x 128 pairs at most 384 have a gradient; the backward
pass of the others multiplies zeros. Here all scores are computed without a graph, and the pairs
with a gradient are computed again in the backward pass. The gradients are the same up to rounding.
This requires a head whose pairs are independent.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def sparse_gradient_scores(
    score_all: Callable[..., Tensor],
    score_some: Callable[..., Tensor],
    tensors: Sequence[Tensor],
    weights: Sequence[Tensor],
) -> Tensor:
    """Score all pairs such that the backward pass computes only the pairs with a gradient.

    Args:
        score_all: Function of `tensors` that returns all scores, (n_images, n_texts).
        score_some: Function of rows and columns, (n_pairs,) each and ordered by column, and
            `tensors` that returns the scores of these pairs, (n_pairs,).
        tensors: Inputs of both functions.
        weights: Trained weights of both functions.

    Returns:
        The scores, (n_images, n_texts).
    """
    return _SparseGradientScores.apply(score_all, score_some, len(tensors), *tensors, *weights)


class _SparseGradientScores(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        score_all: Callable[..., Tensor],
        score_some: Callable[..., Tensor],
        n_tensors: int,
        *inputs: Tensor,
    ) -> Tensor:
        tensors, ctx.weights = inputs[:n_tensors], inputs[n_tensors:]
        ctx.save_for_backward(*tensors)
        ctx.score_some = score_some
        device = tensors[0].device.type
        ctx.autocast = {
            "device_type": device,
            "dtype": torch.get_autocast_dtype(device),
            "enabled": torch.is_autocast_enabled(device),
        }
        return score_all(*tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        columns, rows = grad.T.nonzero(as_tuple=True)  # (n_pairs,) each
        tensors = [tensor.detach().requires_grad_() for tensor in ctx.saved_tensors]
        inputs = [*tensors, *ctx.weights]
        if not len(rows):
            return None, None, None, *(torch.zeros_like(tensor) for tensor in inputs)
        with torch.enable_grad(), torch.autocast(**ctx.autocast):
            scores = ctx.score_some(rows, columns, *tensors)  # (n_pairs,)
        gradients = torch.autograd.grad(
            scores, inputs, grad[rows, columns].to(scores.dtype), materialize_grads=True
        )
        return None, None, None, *gradients
