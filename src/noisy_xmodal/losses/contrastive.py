"""Contrastive losses over the negatives of a batch, one value per pair.

Source: van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018,
Eq. 4 (InfoNCE), in both directions as in Radford et al., "Learning Transferable Visual Models From
Natural Language Supervision", ICML 2021, Figure 3.

| symbol      | in the code                                                   |
|-------------|---------------------------------------------------------------|
| S_ij / tau  | logits[i, j], scores already divided by the temperature       |
| y_i         | targets[i], mass of the target distribution on the own pair   |

Entries that are neither a pair nor a negative take no part in a softmax.
"""

from torch import Tensor

from .negatives import legitimate_negatives


def info_nce_loss(logits: Tensor, negatives: Tensor | None = None) -> Tensor:
    """Symmetric cross-entropy of each pair against its negatives.

    Args:
        logits: Score of each image with each text over the temperature, (b, b); pairs on the
            diagonal.
        negatives: True where an entry is a legitimate negative, (b, b), bool; by default all
            entries off the diagonal.

    Returns:
        Loss of each pair, the mean of the two directions, (b,); 0 without negatives.

    Raises:
        ValueError: If a shape does not fit.
    """
    mask = legitimate_negatives(logits, negatives)  # (b, b)
    of_image = _log_softmax(logits, mask, dim=1).diagonal()  # (b,)
    of_text = _log_softmax(logits, mask, dim=0).diagonal()  # (b,)
    return -0.5 * (of_image + of_text)


def soft_info_nce_loss(logits: Tensor, targets: Tensor, negatives: Tensor | None = None) -> Tensor:
    """Symmetric cross-entropy against softened targets.

    The target distribution of an anchor puts targets[i] on its own pair and spreads the rest evenly
    over its negatives; with targets of 1 this is `info_nce_loss`.

    Args:
        logits: Score of each image with each text over the temperature, (b, b); pairs on the
            diagonal.
        targets: How far each pair is believed to match, (b,), 0 to 1.
        negatives: True where an entry is a legitimate negative, (b, b), bool; by default all
            entries off the diagonal.

    Returns:
        Loss of each pair, the mean of the two directions, (b,); 0 without negatives.

    Raises:
        ValueError: If a shape does not fit.
    """
    mask = legitimate_negatives(logits, negatives)  # (b, b)
    if targets.shape != logits.shape[:1]:
        raise ValueError(
            f"targets has shape {tuple(targets.shape)}: give one per pair, ({len(logits)},)"
        )
    expected = logits.new_zeros(len(logits))  # (b,)
    for dim in (0, 1):
        log_probability = _log_softmax(logits, mask, dim)  # (b, b)
        n_negatives = mask.sum(dim=dim).clamp(min=1)  # (b,)
        others = log_probability.masked_fill(~mask, 0.0).sum(dim=dim) / n_negatives  # (b,)
        expected = expected + targets * log_probability.diagonal() + (1 - targets) * others
    return -0.5 * expected


def _log_softmax(logits: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Log-softmax over pair and negatives, -inf elsewhere; the pair keeps every line finite."""
    excluded = ~mask  # (b, b)
    excluded.fill_diagonal_(False)
    return logits.masked_fill(excluded, float("-inf")).log_softmax(dim=dim)  # (b, b)
