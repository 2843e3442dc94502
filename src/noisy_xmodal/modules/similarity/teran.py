"""TERAN: transformers on both sides, and the best region of every word.

Messina et al., "Fine-grained Visual Textual Alignment for Cross-Modal Retrieval using Transformer
Encoders", TOMM 2021, sections 4 and 5. Both sides pass through transformer layers of their own and
get unit length. With A_ij the cosine of region i and word j:

    MrSw    sum_j max_i A_ij      the best region of each word; the paper's choice
    MrAVGw  mean_j max_i A_ij
    MwSr    sum_i max_j A_ij      the best word of each region
    symm    MrSw + MwSr

Class tokens and the tokens at the ends of a text take part in the layers and not in A. The layers
over the region features with their boxes are in `modules/region_transformer.py`.

The published code departs from the paper: it leaves out the last two tokens of a text, so that the
last word goes with the end token (`skip_last=2`; it is the full stop of most captions). It gives
padded words and regions the cosine 0, which is larger than that of a bad match, so that MwSr, symm
and images with fewer regions depend on the batch. Here padding is never the best match.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..encoded import Encoded
from ..transformer_layers import TransformerLayers
from .base import SimilarityHead, l2_normalize, split_for_cache
from .text_groups import group_by_length, ungroup


def best_regions(cosines: Tensor, mask: Tensor) -> Tensor:
    """Largest cosine of each word.

    Args:
        cosines: (n_images, n_regions, n_texts, n_words), all words real.
        mask: True for real regions, (n_images, n_regions).

    Returns:
        (n_images, n_texts, n_words)
    """
    return cosines.masked_fill(~mask[:, :, None, None], -torch.inf).amax(dim=1)


def best_words(cosines: Tensor, mask: Tensor) -> Tensor:
    """Sum over the real regions of the largest cosine of each, (n_images, n_texts)."""
    return cosines.amax(dim=-1).masked_fill(~mask[:, :, None], 0).sum(dim=1)


#: Scores (n_images, n_texts) of cosines (n_images, n_regions, n_texts, n_words) and the regions'
#: mask (n_images, n_regions).
AGGREGATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "MrSw": lambda cosines, mask: best_regions(cosines, mask).sum(dim=-1),
    "MrAVGw": lambda cosines, mask: best_regions(cosines, mask).mean(dim=-1),
    "MwSr": best_words,
    "symm": lambda cosines, mask: (
        best_regions(cosines, mask).sum(dim=-1) + best_words(cosines, mask)
    ),
}


def _inner(mask: Tensor, skip_first: int, skip_last: int) -> Tensor:
    """Mask of the tokens between both ends of each row; of the whole row if there are none."""
    place = mask.cumsum(dim=1)  # (n, length), from 1
    inner = mask & (place > skip_first) & (place <= place[:, -1:] - skip_last)  # (n, length)
    return torch.where(inner.any(dim=1, keepdim=True), inner, mask)


class TeranSimilarity(SimilarityHead):
    """Sum of the cosines of every word with its best region, after transformer layers.

    Args:
        hidden_size: Width of the tokens, a multiple of `heads`.
        aggregation: "MrSw", "MrAVGw", "MwSr" or "symm".
        layers: Transformer layers of each side.
        heads: Heads of attention.
        dropout: In the layers.
        skip_first: Number of tokens at the start of a text that are no words.
        skip_last: The same at its end. An image or text without other tokens is compared whole.

    Raises:
        ValueError: If the aggregation is unknown, or `heads` does not divide `hidden_size`.
    """

    config_fields: ClassVar[Mapping[str, Any]] = {"normalize_tokens": False}

    def __init__(
        self,
        hidden_size: int,
        *,
        aggregation: str = "MrSw",
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        skip_first: int = 1,
        skip_last: int = 1,
    ) -> None:
        super().__init__(hidden_size)
        if aggregation not in AGGREGATIONS:
            raise ValueError(
                f"aggregation must be one of {', '.join(AGGREGATIONS)}, found {aggregation!r}."
            )
        self.aggregate = AGGREGATIONS[aggregation]
        self.skip_first, self.skip_last = skip_first, skip_last
        sizes = hidden_size, layers, heads, 2 * hidden_size, dropout
        self.image_layers, self.text_layers = TransformerLayers(*sizes), TransformerLayers(*sizes)

    def encode_image(self, image: Encoded) -> Encoded:
        """Contextualised regions of unit length; see `SimilarityHead.encode_image`."""
        tokens = l2_normalize(self.image_layers(self.real_tokens(image), image.mask))
        return Encoded(tokens, _inner(image.mask, int(self.has_class_token), 0))

    def encode_text(self, text: Encoded) -> Encoded:
        """Contextualised words of unit length, and which of them are compared."""
        tokens = l2_normalize(self.text_layers(self.real_tokens(text), text.mask))
        return Encoded(tokens, _inner(text.mask, self.skip_first, self.skip_last))

    def forward(self, image: Encoded, text: Encoded) -> Tensor:
        real = Encoded(self.real_tokens(image), image.mask)
        groups = group_by_length(Encoded(self.real_tokens(text), text.mask))
        n_words = sum(group.words.shape[:2].numel() for group in groups)
        parts = [
            ungroup([self._score(part, group.words) for group in groups], groups)
            for part in split_for_cache(real, n_words * image.mask.shape[1])
        ]
        return torch.cat(parts)  # (n_images, n_texts)

    def _score(self, image: Encoded, words: Tensor) -> Tensor:
        """Scores of images with texts of one length, (n_images, n_texts)."""
        cosines = image.tokens @ words.flatten(0, 1).T  # (n_images, n_regions, n_texts * n_words)
        return self.aggregate(cosines.unflatten(-1, words.shape[:2]), image.mask)
