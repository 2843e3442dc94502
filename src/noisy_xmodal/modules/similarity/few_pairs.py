"""Scores of all pairs for a loss that few of them reach.

The loss of the hardest negatives looks at all scores of a batch, but only three of a row or column
move it: the right pair and the hardest negative in either direction. Of 128 x 128 pairs at most 384
get a gradient, and the backward pass of all others multiplies zeros. Here the scores are computed
without keeping anything, and the pairs that turn out to have a gradient once more, with it. The
gradients are the same up to rounding; only a head whose pairs know nothing of each other can do so.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: All scores (n_images, n_texts) of some tensors.
ScoreAll = Callable[..., Tensor]
#: Scores of chosen pairs: rows and columns, ordered by column, (n_pairs,) each, and the tensors.
ScoreSome = Callable[..., Tensor]


def scores_for_few(
    score_all: ScoreAll, score_some: ScoreSome, tensors: Sequence[Tensor], weights: Sequence[Tensor]
) -> Tensor:
    """Scores whose backward pass computes the pairs with a gradient, and no other.

    Args:
        score_all: Gives all scores of `tensors`, (n_images, n_texts).
        score_some: Gives the scores of pairs, (n_pairs,), of rows and columns, (n_pairs,) each and
            ordered by column, and `tensors`.
        tensors: What is compared.
        weights: The weights that both functions use and that are trained.

    Returns:
        The scores, (n_images, n_texts).
    """
    return _ScoresForFew.apply(score_all, score_some, len(tensors), *tensors, *weights)


class _ScoresForFew(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, score_all: ScoreAll, score_some: ScoreSome, n_tensors: int, *given: Tensor
    ) -> Tensor:
        tensors, ctx.weights = given[:n_tensors], given[n_tensors:]
        ctx.save_for_backward(*tensors)
        ctx.score_some = score_some
        kind = tensors[0].device.type
        ctx.autocast = {
            "device_type": kind,
            "dtype": torch.get_autocast_dtype(kind),
            "enabled": torch.is_autocast_enabled(kind),
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
        found = torch.autograd.grad(
            scores, inputs, grad[rows, columns].to(scores.dtype), materialize_grads=True
        )
        return None, None, None, *found
