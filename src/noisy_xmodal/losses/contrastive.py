"""Contrastive losses over the negatives of a batch, one value per pair.

Source: van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018,
Eq. 4 (InfoNCE), in both directions as in Radford et al., "Learning Transferable Visual Models From
Natural Language Supervision", ICML 2021, Figure 3. Across and within modalities: Hu et al.,
"Learning Cross-Modal Retrieval with Noisy Labels" (MRL), CVPR 2021, which is Eq. 7 of Ding et al.,
"Dual-Mix for Cross-Modal Retrieval with Noisy Labels" (DMCM).

| symbol        | in the code                                                           |
|---------------|-----------------------------------------------------------------------|
| S_ij / tau    | logits[i, j], scores already divided by the temperature               |
| y_i, T_ij     | targets[i], targets[i, j], probabilities of the target                |
| z_j^i (DMCM)  | image_embeds[j] or text_embeds[j], by modality i (l)                  |
| N, m (DMCM)   | n, 2                                                                  |
| tau_2 (DMCM)  | temperature                                                           |

Entries that are neither a pair nor a negative are excluded from every softmax.
"""

import torch
from torch import Tensor

from .negatives import legitimate_negatives


def log_match_probabilities(logits: Tensor, negatives: Tensor | None = None) -> Tensor:
    """Log-probability that each text is the one of an image, and each image the one of a text.

    Args:
        logits: Score of each image with each text over the temperature, (b, b); pairs on the
            diagonal.
        negatives: True where an entry is a legitimate negative, (b, b), bool; by default all
            entries off the diagonal.

    Returns:
        (2, b, b): first of the texts (columns) of each image, then of the images (columns) of each
        text. Pairs are on both diagonals; what is neither a pair nor a negative is -inf.

    Raises:
        ValueError: If a shape does not fit.
    """
    mask = legitimate_negatives(logits, negatives)  # (b, b)
    return torch.stack([_log_softmax(logits, mask, dim=1), _log_softmax(logits, mask, dim=0).T])


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
    terms = log_match_probabilities(logits, negatives).diagonal(dim1=1, dim2=2)  # (2, b)
    return -terms.mean(dim=0)


def soft_info_nce_loss(logits: Tensor, targets: Tensor, negatives: Tensor | None = None) -> Tensor:
    """Symmetric cross-entropy against soft targets.

    The target distribution of anchor i gives its pair the probability targets[i] and spreads the
    rest evenly over its negatives; with targets of 1 this is `info_nce_loss`.

    Args:
        logits: Score of each image with each text over the temperature, (b, b); pairs on the
            diagonal.
        targets: Degree to which each pair is believed to match, (b,), 0 to 1.
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


def multimodal_contrastive_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    temperature: float = 1.0,
    self_similarity: bool = False,
) -> Tensor:
    """InfoNCE across and within the modalities (DMCM Eq. 7, MRL).

    The positive of an embedding is the other embedding of its pair. All other embeddings of the
    batch, of both modalities, are negatives. The mean over the pairs is Eq. 7.

    Args:
        image_embeds: Embedding of each image, (n, d), of unit length.
        text_embeds: Embedding of the text of each image, (n, d), of unit length.
        temperature: Divides the similarities, positive.
        self_similarity: Whether numerator and denominator include the similarity of an embedding
            with itself, as printed; by default they do not, as in the published code.

    Returns:
        Loss of each pair, the sum of the losses of its two embeddings, (n,); 0 for a single pair.

    Raises:
        ValueError: If a shape does not fit or the temperature is not positive.
    """
    if image_embeds.ndim != 2 or image_embeds.shape != text_embeds.shape:
        raise ValueError(
            f"image_embeds has shape {tuple(image_embeds.shape)} and text_embeds "
            f"{tuple(text_embeds.shape)}: give one row of each per pair, (n, d)"
        )
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}: give a positive number")
    n = len(image_embeds)
    embeds = torch.cat([image_embeds, text_embeds])  # (2n, d)
    embeds = embeds.to(torch.promote_types(embeds.dtype, torch.float32))
    with torch.autocast(embeds.device.type, enabled=False):  # a low temperature needs precision
        logits = embeds @ embeds.T / temperature  # (2n, 2n)
    positives = logits.diagonal(n).repeat(2)  # (2n,)
    if self_similarity:
        positives = torch.logaddexp(logits.diagonal(), positives)
    else:
        logits = logits.masked_fill(
            torch.eye(2 * n, dtype=torch.bool, device=logits.device), float("-inf")
        )
    losses = logits.logsumexp(dim=1) - positives  # (2n,)
    return losses[:n] + losses[n:]  # (n,)


def _log_softmax(logits: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Log-softmax over the pair and its negatives, (b, b); -inf elsewhere."""
    excluded = ~mask  # (b, b)
    excluded.fill_diagonal_(False)
    return logits.masked_fill(excluded, float("-inf")).log_softmax(dim=dim)  # (b, b)
