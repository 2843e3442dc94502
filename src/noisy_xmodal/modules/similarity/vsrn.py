"""VSRN: one vector of an image by reasoning over its regions.

Li et al., "Visual Semantic Reasoning for Image-Text Matching", ICCV 2019, sections 3.2 and 3.3. An
image has n regions, the rows of V:

    V' = N(V)                                                        see below
    V' <- V' + BN(W_r ((W_theta V')(W_phi V')' / n) (W_g V'))        `layers` times, Eq. 2-3
    V* = N(V')
    image vector = last state of a GRU over the rows of V*, at unit length      Eq. 4-7
    text vector  = last state of the text encoder's GRU, at unit length

| symbol         | here                     |
|----------------|--------------------------|
| W_theta, W_phi | query, key               |
| W_g, W_r, BN   | value, update, norm      |
| V*             | output of `encode_image` |

The published code departs from the paper:

* N divides each feature by its norm over the regions of the image, since the code normalises
  dimension 1 of a tensor (n_images, n_regions, size). The paper normalises nothing but the vectors.
* The batch norm starts with a weight of 0, so that a new network reasons nothing.
* For Flickr30K it leaves the first N out, and a batch norm precedes the unit length of the image
  vector (`batch_norm`).

The loss of the captions is that of `captioner.py`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

from ..encoded import Encoded
from .base import TwoTowerHead, l2_normalize
from .cosine import build_pooling


class RegionReasoning(nn.Module):
    """One layer of reasoning over the complete graph of the regions of an image."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        self.update = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.BatchNorm1d(hidden_size)

    def forward(self, regions: Tensor, mask: Tensor) -> Tensor:
        """Update the regions.

        Args:
            regions: (n_images, n_regions, hidden_size), zeros where padded.
            mask: True for real regions, (n_images, n_regions).

        Returns:
            (n_images, n_regions, hidden_size), zeros where padded.
        """
        edges = self.query(regions) @ self.key(regions).transpose(1, 2)
        edges = edges / mask.sum(dim=1)[:, None, None]  # (n_images, n_regions, n_regions)
        values = self.value(regions).masked_fill(~mask.unsqueeze(-1), 0)
        updates = batch_normalize(self.norm, self.update(edges @ values)[mask])  # (n_real, ...)
        reasoned = regions.clone()
        reasoned[mask] += updates.to(regions.dtype)
        return reasoned


def batch_normalize(norm: nn.BatchNorm1d, rows: Tensor) -> Tensor:
    """Batch norm over rows (n, size); a single row has no variance and takes the running one."""
    if len(rows) > 1 or not norm.training:
        return norm(rows)
    return functional.batch_norm(
        rows, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
    )


class VsrnSimilarity(TwoTowerHead):
    """Cosine of the last states of two GRUs, one over reasoned regions and one over words.

    Regions and words must be padded on the right.

    Args:
        hidden_size: Width of the tokens.
        layers: Layers of reasoning.
        batch_norm: Whether a batch norm precedes the unit length of the image vector, in place of
            the first normalisation of the regions, as in the published Flickr30K model.
        text_pooling: Pooling of the words: "last" with the text encoder "gru"; others, see
            `CosineSimilarity`, suit other text encoders.

    Raises:
        ValueError: If the pooling is unknown.
    """

    config_fields: ClassVar[Mapping[str, Any]] = {"normalize_tokens": False, "word_encoder": "gru"}

    def __init__(
        self,
        hidden_size: int,
        *,
        layers: int = 4,
        batch_norm: bool = False,
        text_pooling: str = "last",
    ) -> None:
        super().__init__(hidden_size)
        self.reasoning = nn.ModuleList(RegionReasoning(hidden_size) for _ in range(layers))
        self.memory = nn.GRU(hidden_size, hidden_size, batch_first=True)
        self.norm = nn.BatchNorm1d(hidden_size) if batch_norm else None
        self.text_pooling = build_pooling("text_pooling", text_pooling, hidden_size)

    def encode_image(self, image: Encoded) -> Encoded:
        """Reason over the regions; see `SimilarityHead.encode_image`."""
        regions = self.real_tokens(image)  # (n_images, n_regions, hidden_size)
        if self.norm is None:
            regions = l2_normalize(regions, dim=1)
        for layer in self.reasoning:
            regions = layer(regions, image.mask)
        return Encoded(l2_normalize(regions, dim=1), image.mask)

    def embed_image(self, image: Encoded) -> Tensor:
        """One unit vector per image.

        Args:
            image: Reasoned tokens (n_images, n_regions, hidden_size) and their mask.

        Returns:
            (n_images, hidden_size), L2-normalised.
        """
        regions, lengths = self.real_tokens(image), image.mask.sum(dim=1).cpu()
        packed = pack_padded_sequence(regions, lengths, batch_first=True, enforce_sorted=False)
        vectors = self.memory(packed)[1].squeeze(0)  # (n_images, hidden_size)
        return l2_normalize(vectors if self.norm is None else batch_normalize(self.norm, vectors))

    def embed_text(self, text: Encoded) -> Tensor:
        """One unit vector per text.

        Args:
            text: Tokens (n_texts, n_words, hidden_size) and their mask.

        Returns:
            (n_texts, hidden_size), L2-normalised.
        """
        return l2_normalize(self.text_pooling(self.real_tokens(text), text.mask))
