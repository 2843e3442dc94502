"""What every similarity head is, and the masked arithmetic that heads share.

A head gives one score to every (image, text) pair of a batch. It must be

- chunk-invariant: in eval mode a pair's score depends on that pair alone, so that a large score
  matrix can be computed block by block;
- padding-invariant: what stands in padded positions, and how many of them there are, changes
  nothing. Heads therefore read their tokens through `SimilarityHead.real_tokens`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...options import Rule
from ..encoded import Encoded

EPSILON = 1e-8

#: Size that an intermediate result may have before a block of images is split; by measurement.
CACHED_BYTES = 8 * 2**20


def l2_normalize(vectors: Tensor, dim: int = -1) -> Tensor:
    """Divides by the Euclidean norm plus `EPSILON`, the convention of SCAN and SGRAF.

    Args:
        vectors: Any shape.
        dim: The dimension whose norm becomes 1; null vectors stay null.

    Returns:
        Same shape as `vectors`.
    """
    return vectors / (torch.linalg.vector_norm(vectors, dim=dim, keepdim=True) + EPSILON)


def masked_softmax(logits: Tensor, mask: Tensor, dim: int = -1) -> Tensor:
    """Softmax over the real positions; padded positions get exactly zero.

    Args:
        logits: Any shape.
        mask: True where real, broadcastable to `logits`; at least one True along `dim`.
        dim: The dimension that sums to 1.

    Returns:
        Same shape as `logits`.
    """
    return logits.masked_fill(~mask, torch.finfo(logits.dtype).min).softmax(dim)


def masked_mean(values: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Mean over the real positions.

    Args:
        values: Any shape.
        mask: True where real, broadcastable to `values`; at least one True along `dim`.
        dim: The dimension that is averaged away.

    Returns:
        `values` without dimension `dim`.
    """
    total = values.masked_fill(~mask, 0).sum(dim)
    return total / mask.sum(dim).to(values.dtype)


def in_cached_parts(image: Encoded, numbers: int) -> list[Encoded]:
    """Splits a block of images so that what is computed of a part stays in a CPU's caches.

    Arithmetic that waits for memory takes several times as long. With gradients everything has to
    be kept, and a GPU wants all work at once: there the block stays whole.

    Args:
        image: Tokens (n_images, n_regions, hidden_size) and their mask.
        numbers: Size of the largest intermediate result of one image.

    Returns:
        At least one part, in order.
    """
    if torch.is_grad_enabled() or image.tokens.device.type != "cpu":
        return [image]
    size = max(1, CACHED_BYTES // max(1, numbers * image.tokens.element_size()))
    parts = zip(image.tokens.split(size), image.mask.split(size), strict=True)
    return [Encoded(*part) for part in parts]


class SimilarityHead(nn.Module, ABC):
    """Scores every image of a batch against every text of it.

    Attributes:
        is_two_tower: True if the score is a product of two embeddings that never see each other,
            so that a gallery can be embedded once and indexed.
        hidden_size: Width of the tokens that the head takes.
    """

    is_two_tower: bool = False
    #: When an argument of the constructor is read, where it is not always.
    rules: ClassVar[Mapping[str, Rule]] = {}

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size

    @abstractmethod
    def forward(self, image: Encoded, text: Encoded) -> Tensor:
        """Scores all pairs.

        Args:
            image: Tokens (n_images, n_regions, hidden_size) and their mask.
            text: Tokens (n_texts, n_words, hidden_size) and their mask.

        Returns:
            Scores, (n_images, n_texts), higher where more similar.
        """

    def scores_for_few(self, image: Encoded, text: Encoded) -> Tensor:
        """Scores all pairs for a loss whose gradient reaches few of them; same as `forward`.

        A head whose scores of pairs are independent may save the others' backward pass.
        """
        return self(image, text)

    def real_tokens(self, encoded: Encoded) -> Tensor:
        """Tokens with zeros in the padded positions, whatever stood there before.

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
                f"The mask must have one entry a token, {tuple(tokens.shape[:2])}, "
                f"found {tuple(mask.shape)}."
            )
        return tokens.masked_fill(~mask.unsqueeze(-1), 0)  # (n, length, hidden_size)


class TwoTowerHead(SimilarityHead):
    """A head whose score is the inner product of one vector an image and one vector a text."""

    is_two_tower = True

    @abstractmethod
    def embed_image(self, image: Encoded) -> Tensor:
        """One unit vector an image, (n_images, hidden_size).

        Args:
            image: Tokens (n_images, n_regions, hidden_size) and their mask.
        """

    @abstractmethod
    def embed_text(self, text: Encoded) -> Tensor:
        """One unit vector a text, (n_texts, hidden_size).

        Args:
            text: Tokens (n_texts, n_words, hidden_size) and their mask.
        """

    def forward(self, image: Encoded, text: Encoded) -> Tensor:
        return self.embed_image(image) @ self.embed_text(text).T  # (n_images, n_texts)
