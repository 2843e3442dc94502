"""Triplet ranking losses over the negatives of a batch, one value per pair.

Source: Huang et al., "Learning with Noisy Correspondence for Cross-modal Matching", NeurIPS 2021,
Eq. 2 and Eq. 6; the hardest negative is that of Faghri et al., "VSE++", BMVC 2018.

| symbol             | in the code                                           |
|--------------------|-------------------------------------------------------|
| S(I_i, T_j)        | scores[i, j]                                          |
| alpha, alpha-hat_i | margin, one for all or margin[i] of pair i            |
| T-hat, I-hat       | the texts and images that `negatives` allows          |
| [x]_+              | relu                                                  |

The margin of pair i applies in both directions: to row i with its image as anchor and to column i
with its text as anchor. An anchor without negatives has cost 0 in its direction.
"""

import torch
from torch import Tensor

from .negatives import legitimate_negatives


def mean_triplet_loss(
    scores: Tensor, margin: float | Tensor = 0.2, negatives: Tensor | None = None
) -> Tensor:
    """Hinge cost averaged over the negatives of each pair (Eq. 2 up to a factor).

    Each direction is divided by its number of negatives, so that losses of batches of different
    sizes are comparable. The optimum is that of the sum.

    Args:
        scores: Score of each image with each text, (b, b); pairs on the diagonal.
        margin: Margin of all pairs, or one per pair, (b,), in units of the scores.
        negatives: True where an entry is a legitimate negative, (b, b), bool; by default all
            entries off the diagonal.

    Returns:
        Loss of each pair, (b,).

    Raises:
        ValueError: If a shape does not fit.
    """
    image_costs, text_costs, mask = _hinge_costs(scores, margin, negatives)
    n_texts = mask.sum(dim=1).clamp(min=1)  # (b,)
    n_images = mask.sum(dim=0).clamp(min=1)  # (b,)
    return image_costs.sum(dim=1) / n_texts + text_costs.sum(dim=0) / n_images  # (b,)


def sum_triplet_loss(
    scores: Tensor, margin: float | Tensor = 0.2, negatives: Tensor | None = None
) -> Tensor:
    """Hinge cost summed over the negatives of each pair (Eq. 2 as printed; VSE).

    Args:
        scores: Score of each image with each text, (b, b); pairs on the diagonal.
        margin: Margin of all pairs, or one per pair, (b,), in units of the scores.
        negatives: True where an entry is a legitimate negative, (b, b), bool; by default all
            entries off the diagonal.

    Returns:
        Loss of each pair, (b,).

    Raises:
        ValueError: If a shape does not fit.
    """
    image_costs, text_costs, _ = _hinge_costs(scores, margin, negatives)
    return image_costs.sum(dim=1) + text_costs.sum(dim=0)  # (b,)


def hardest_triplet_loss(
    scores: Tensor, margin: float | Tensor = 0.2, negatives: Tensor | None = None
) -> Tensor:
    """Hinge cost of the hardest negative in each direction (Eq. 6; VSE++ with one margin).

    Args:
        scores: Score of each image with each text, (b, b); pairs on the diagonal.
        margin: Margin of all pairs, or one per pair, (b,), in units of the scores; in Eq. 6 they
            come from a function in `SOFT_MARGINS`.
        negatives: True where an entry is a legitimate negative, (b, b), bool; by default all
            entries off the diagonal.

    Returns:
        Loss of each pair, (b,).

    Raises:
        ValueError: If a shape does not fit.
    """
    image_costs, text_costs, _ = _hinge_costs(scores, margin, negatives)
    return image_costs.amax(dim=1) + text_costs.amax(dim=0)  # (b,)


def _hinge_costs(
    scores: Tensor, margin: float | Tensor, negatives: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Hinge cost of each negative per image anchor and per text anchor, and the negatives' mask."""
    mask = legitimate_negatives(scores, negatives)  # (b, b)
    if isinstance(margin, Tensor) and margin.ndim != 0 and margin.shape != scores.shape[:1]:
        raise ValueError(
            f"margin has shape {tuple(margin.shape)}: give a number or one margin per pair, "
            f"({len(scores)},)"
        )
    bound = scores.diagonal() - margin  # (b,)
    image_costs = torch.relu(scores - bound[:, None]).masked_fill(~mask, 0.0)  # (b, b)
    text_costs = torch.relu(scores - bound[None, :]).masked_fill(~mask, 0.0)  # (b, b)
    return image_costs, text_costs, mask
