"""Cosine of pooled tokens: the two-tower head of VSE++, CLIP and similar models.

VSE++: Faghri et al., BMVC 2018 (text pooling "last", the final state of a GRU).
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ..encoded import Encoded
from .base import (
    TwoTowerHead,
    l2_normalize,
    masked_softmax,
)


class Pooling(nn.Module, ABC):
    """Pools the tokens of each image or text into one vector."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size

    @abstractmethod
    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Pool the real tokens.

        Args:
            tokens: (n, length, hidden_size), zero where padded.
            mask: True for real tokens, (n, length).

        Returns:
            (n, hidden_size)
        """


class MeanPooling(Pooling):
    """Mean of the real tokens."""

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return tokens.sum(dim=1) / mask.sum(dim=1, keepdim=True).to(tokens.dtype)


class MaxPooling(Pooling):
    """Largest value of each feature over the real tokens."""

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        lowest = torch.finfo(tokens.dtype).min
        return tokens.masked_fill(~mask.unsqueeze(-1), lowest).amax(dim=1)  # (n, hidden_size)


class AttentionPooling(Pooling):
    """Weighted mean; the weights are a softmax over one learned score per token."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.score = nn.Linear(hidden_size, 1)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        weights = masked_softmax(self.score(tokens).squeeze(-1), mask)  # (n, length)
        return torch.einsum("nl,nld->nd", weights, tokens)  # (n, hidden_size)


class LastPooling(Pooling):
    """The last real token, for a one-directional GRU its final state."""

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        positions = torch.arange(mask.shape[1], device=mask.device)  # (length,)
        last = (positions * mask).amax(dim=1)  # (n,)
        return tokens[torch.arange(len(tokens), device=mask.device), last]  # (n, hidden_size)


POOLINGS: dict[str, type[Pooling]] = {
    "mean": MeanPooling,
    "max": MaxPooling,
    "attention": AttentionPooling,
    "last": LastPooling,
}


def build_pooling(argument: str, name: str, hidden_size: int) -> Pooling:
    """Build the pooling of a name that the argument of a head has.

    Raises:
        ValueError: If it is unknown.
    """
    if name not in POOLINGS:
        raise ValueError(f"{argument} must be one of {', '.join(POOLINGS)}, found {name!r}.")
    return POOLINGS[name](hidden_size)


def _perceptron(hidden_size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(hidden_size, hidden_size), nn.GELU(), nn.Linear(hidden_size, hidden_size)
    )


def _unit_vectors(pooled: Tensor, projection: nn.Module, shortcut: nn.Module | None) -> Tensor:
    """Project pooled vectors and scale them to unit length, (n, hidden_size)."""
    vectors = projection(pooled)
    return l2_normalize(vectors if shortcut is None else vectors + shortcut(pooled))


class CosineSimilarity(TwoTowerHead):
    """Cosine between one pooled vector per image and one per text.

    A shortcut is the projection shortcut of He et al., "Deep Residual Learning for Image
    Recognition", CVPR 2016: it learns what needs no depth, and less is learnt by heart.

    Args:
        hidden_size: Width of the tokens.
        image_pooling: Pooling of the region vectors: "mean", "max", "attention" or "last".
        text_pooling: The same for word vectors.
        projection: Whether a two-layer perceptron follows the pooling on both sides. It adds depth
            to shallow encoders at the cost of one token.
        shortcut: Whether a linear layer beside each perceptron is added to its output.

    Raises:
        ValueError: If a pooling is unknown, or there is a shortcut and no perceptron.
    """

    def __init__(
        self,
        hidden_size: int,
        *,
        image_pooling: str = "mean",
        text_pooling: str = "mean",
        projection: bool = False,
        shortcut: bool = False,
    ) -> None:
        super().__init__(hidden_size)
        if shortcut and not projection:
            raise ValueError("shortcut is true, but projection is not: set both, or neither.")
        self.image_pooling = build_pooling("image_pooling", image_pooling, hidden_size)
        self.text_pooling = build_pooling("text_pooling", text_pooling, hidden_size)
        self.image_projection = _perceptron(hidden_size) if projection else nn.Identity()
        self.text_projection = _perceptron(hidden_size) if projection else nn.Identity()
        self.image_shortcut = nn.Linear(hidden_size, hidden_size) if shortcut else None
        self.text_shortcut = nn.Linear(hidden_size, hidden_size) if shortcut else None

    def embed_image(self, image: Encoded) -> Tensor:
        """One unit vector per image.

        Args:
            image: Tokens (n_images, n_regions, hidden_size) and their mask.

        Returns:
            (n_images, hidden_size), L2-normalised.
        """
        pooled = self.image_pooling(self.real_tokens(image), image.mask)  # (n_images, hidden_size)
        return _unit_vectors(pooled, self.image_projection, self.image_shortcut)

    def embed_text(self, text: Encoded) -> Tensor:
        """One unit vector per text.

        Args:
            text: Tokens (n_texts, n_words, hidden_size) and their mask.

        Returns:
            (n_texts, hidden_size), L2-normalised.
        """
        pooled = self.text_pooling(self.real_tokens(text), text.mask)  # (n_texts, hidden_size)
        return _unit_vectors(pooled, self.text_projection, self.text_shortcut)
