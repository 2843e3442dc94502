"""Base classes of the similarity heads, and masked arithmetic.

A head scores every (image, text) pair of a batch. Its scores must be

- chunk-invariant: in eval mode a pair's score depends on that pair alone, so that a large score
  matrix can be computed in blocks;
- padding-invariant: neither the number nor the values of padded positions affect them. Heads
  therefore read their tokens through `SimilarityHead.real_tokens`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...options import Rule
from ..encoded import Encoded

EPSILON = 1e-8

#: Maximum size of an intermediate result before a block of images is split (measured).
CACHED_BYTES = 8 * 2**20


def l2_normalize(vectors: Tensor, dim: int = -1) -> Tensor:
    """Divide by the Euclidean norm plus `EPSILON`, the convention of SCAN and SGRAF.

    Args:
        vectors: Any shape.
        dim: The dimension whose norm becomes 1; zero vectors stay zero.

    Returns:
        Same shape as `vectors`.
    """
    return vectors / (torch.linalg.vector_norm(vectors, dim=dim, keepdim=True) + EPSILON)


def masked_softmax(logits: Tensor, mask: Tensor, dim: int = -1) -> Tensor:
    """Softmax over the real positions; padded positions get exactly zero.

    Args:
        logits: Any shape.
        mask: True for real positions, broadcastable to `logits`; at least one True along `dim`.
        dim: The dimension that sums to 1.

    Returns:
        Same shape as `logits`.
    """
    return logits.masked_fill(~mask, torch.finfo(logits.dtype).min).softmax(dim)


def masked_mean(values: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Mean over the real positions.

    Args:
        values: Any shape.
        mask: True for real positions, broadcastable to `values`; at least one True along `dim`.
        dim: The dimension to average over.

    Returns:
        `values` without dimension `dim`.
    """
    total = values.masked_fill(~mask, 0).sum(dim)
    return total / mask.sum(dim).to(values.dtype)


def split_for_cache(image: Encoded, n_entries: int) -> list[Encoded]:
    """Split a block of images so that intermediate results fit the CPU cache.

    Memory-bound arithmetic is several times slower. The block stays whole with gradients, which
    keep all intermediate results, and on a GPU, which is faster with large blocks.

    Args:
        image: Tokens (n_images, n_regions, hidden_size) and their mask.
        n_entries: Number of entries of the largest intermediate result of one image.

    Returns:
        At least one part, in order.
    """
    if torch.is_grad_enabled() or image.tokens.device.type != "cpu":
        return [image]
    size = max(1, CACHED_BYTES // max(1, n_entries * image.tokens.element_size()))
    parts = zip(image.tokens.split(size), image.mask.split(size), strict=True)
    return [Encoded(*part) for part in parts]


class SimilarityHead(nn.Module, ABC):
    """Scores every image of a batch against every text of it.

    Attributes:
        is_two_tower: Whether the score is an inner product of an image embedding and a text
            embedding, so that a gallery can be embedded once and indexed.
        hidden_size: Width of the tokens.
        has_class_token: Whether the first token of an image is no region, but the class token of a
            `RegionTransformer`. A model sets it.
    """

    is_two_tower: bool = False
    has_class_token: bool = False
    #: Rules for constructor arguments that only have an effect in some configurations.
    rules: ClassVar[Mapping[str, Rule]] = {}
    #: Fields of a `MatchingConfig` that the scripts set for the head.
    config_fields: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size

    def encode_image(self, image: Encoded) -> Encoded:
        """What the head does to each image before it meets a text; by default nothing.

        `MatchingModel.encode_image` ends with it, so it runs once for an image, where `forward`
        runs once for each block of images and texts.

        Args:
            image: Tokens (n_images, n_regions, hidden_size) and their mask.
        """
        return image

    def encode_text(self, text: Encoded) -> Encoded:
        """The same for each text; tokens (n_texts, n_words, hidden_size) and their mask."""
        return text

    @abstractmethod
    def forward(self, image: Encoded, text: Encoded) -> Tensor:
        """Score all pairs.

        Args:
            image: Output of `encode_image`: tokens (n_images, n_regions, hidden_size) and mask.
            text: Output of `encode_text`: tokens (n_texts, n_words, hidden_size) and mask.

        Returns:
            Scores, (n_images, n_texts), higher where more similar.
        """

    def sparse_gradient_scores(self, image: Encoded, text: Encoded) -> Tensor:
        """Score all pairs for a loss with a sparse gradient; same scores as `forward`.

        A head whose pairs are independent may skip the backward pass of pairs without gradient.
        """
        return self(image, text)

    def real_tokens(self, encoded: Encoded) -> Tensor:
        """Tokens with zeros in the padded positions.

        Args:
            encoded: Tokens (n, length, hidden_size) and their mask (n, length).

        Returns:
            (n, length, hidden_size)

        Raises:
            ValueError: If the tokens are not `hidden_size` wide or the mask has another shape.
        """
        tokens, mask = encoded
        if tokens.ndim != 3 or tokens.shape[-1] != self.hidden_size:
            raise ValueError(
                f"{type(self).__name__} was built with hidden_size={self.hidden_size} and takes "
                f"tokens of shape (n, length, {self.hidden_size}), found {tuple(tokens.shape)}."
            )
        if mask.shape != tokens.shape[:2]:
            raise ValueError(
                f"The mask must have one entry per token, {tuple(tokens.shape[:2])}, "
                f"found {tuple(mask.shape)}."
            )
        if mask.device.type == "cpu" and bool(mask.all()):  # a GPU would wait for the answer
            return tokens
        return tokens.masked_fill(~mask.unsqueeze(-1), 0)  # (n, length, hidden_size)


class TwoTowerHead(SimilarityHead):
    """A head whose score is the inner product of an image vector and a text vector."""

    is_two_tower = True

    @abstractmethod
    def embed_image(self, image: Encoded) -> Tensor:
        """One unit vector per image, (n_images, hidden_size).

        Args:
            image: Tokens (n_images, n_regions, hidden_size) and their mask.
        """

    @abstractmethod
    def embed_text(self, text: Encoded) -> Tensor:
        """One unit vector per text, (n_texts, hidden_size).

        Args:
            text: Tokens (n_texts, n_words, hidden_size) and their mask.
        """

    def forward(self, image: Encoded, text: Encoded) -> Tensor:
        return self.embed_image(image) @ self.embed_text(text).T  # (n_images, n_texts)

    def pair_vectors(self, image: Encoded, text: Encoded) -> Tensor:
        """A vector of image i with text i whose sum is their score, (n_pairs, hidden_size)."""
        return self.embed_image(image) * self.embed_text(text)
