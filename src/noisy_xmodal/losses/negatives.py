"""The mask of negatives in a score matrix, the common input of the in-batch losses."""

import torch
from torch import Tensor


def legitimate_negatives(scores: Tensor, negatives: Tensor | None = None) -> Tensor:
    """Check the score matrix of a batch and mark its negatives.

    Args:
        scores: Score of each image with each text, (b, b); pairs on the diagonal.
        negatives: True where image i and text j are a negative, (b, b), bool; other captions of
            the same image should be False. By default all entries off the diagonal. The diagonal
            is never a negative.

    Returns:
        True where an entry is a negative, (b, b).

    Raises:
        ValueError: If the scores are not square or the mask has another shape or type.
    """
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
        raise ValueError(
            f"scores has shape {tuple(scores.shape)}: give one row per image and one column per "
            "text of the same pairs, (b, b)"
        )
    off_diagonal = ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)  # (b, b)
    if negatives is None:
        return off_diagonal
    if negatives.shape != scores.shape or negatives.dtype != torch.bool:
        raise ValueError(
            f"negatives has shape {tuple(negatives.shape)} and type {negatives.dtype}: "
            f"give a torch.bool mask of shape {tuple(scores.shape)}"
        )
    return negatives & off_diagonal
