"""Sequences of a start token, image tokens and text tokens, for pairs of images and texts."""

import torch
from torch import Tensor

#: Tokens per joint pass of scoring; more are slower on a CPU because its caches are small.
SCORE_TOKENS = {"cpu": 4096, "default": 131072}


def all_pairs(n_images: int, n_texts: int) -> Tensor:
    """Positions of every image with every text, (n_images * n_texts, 2).

    Args:
        n_images: Number of images.
        n_texts: Number of texts.
    """
    return torch.cartesian_prod(torch.arange(n_images), torch.arange(n_texts)).view(-1, 2)


def sequences(
    sides: tuple[Tensor, ...],
    i: Tensor,
    t: Tensor,
    n_regions: int | None = None,
    n_words: int | None = None,
) -> Tensor:
    """Concatenate the start token, image i and text t, (n_pairs, length, size).

    Args:
        sides: The start token (1, size), image tokens (n_images, n_tokens, size) and text tokens
            (n_texts, n_tokens, size).
        i: Positions of the images, (n_pairs,).
        t: Positions of the texts, (n_pairs,).
        n_regions: Number of image tokens that are used; all by default.
        n_words: Likewise of text tokens.
    """
    start, images, texts = sides
    parts = [start.expand(len(i), 1, -1), images[i, :n_regions], texts[t, :n_words]]
    return torch.cat(parts, dim=1)


def joint_mask(image_mask: Tensor, text_mask: Tensor) -> Tensor:
    """Mask of the sequences, (n_pairs, 1 + n_regions + n_words).

    Args:
        image_mask: True for real image tokens, (n_pairs, n_regions).
        text_mask: True for real text tokens, (n_pairs, n_words).
    """
    return torch.cat([torch.ones_like(text_mask[:, :1]), image_mask, text_mask], dim=1)


def _lengths(mask: Tensor) -> Tensor:
    """One more than the position of the last real token, (n,), on the CPU."""
    return (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).amax(dim=1).cpu()


def similar_lengths(
    image_mask: Tensor, text_mask: Tensor, pairs: Tensor
) -> list[tuple[Tensor, int, int]]:
    """Divide pairs into joint passes over sequences of similar length.

    Args:
        image_mask: True for real image tokens, (n_images, n_tokens).
        text_mask: True for real text tokens, (n_texts, n_tokens).
        pairs: Positions of an image and of a text, (n_pairs, 2).

    Returns:
        For each pass positions in `pairs`, and the lengths of its longest image and text.
    """
    pairs = pairs.cpu()
    regions, words = _lengths(image_mask)[pairs[:, 0]], _lengths(text_mask)[pairs[:, 1]]
    order = torch.argsort(words * (image_mask.shape[1] + 1) + regions, stable=True)
    budget = SCORE_TOKENS.get(image_mask.device.type, SCORE_TOKENS["default"])
    longest = 1 + image_mask.shape[1] + text_mask.shape[1]
    return [
        (block, int(regions[block].max()), int(words[block].max()))
        for block in order.split(max(1, budget // longest))
        if len(block)
    ]
