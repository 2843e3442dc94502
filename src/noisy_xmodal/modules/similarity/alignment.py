"""The similarity vectors of SGRAF: how an image and a text align, as a set of nodes.

Diao et al., "Similarity Reasoning and Filtration for Image-Text Matching", AAAI 2021, section
"Similarity Representation Learning". Published code: joint width 1024, m = 256.

    s(x, y; W) = l2(W |x - y|^2)                      similarity vector
    global node  s^g = s(v_bar, t_bar; W_g)           self-attended image and text
    local nodes  s^l_j = s(l2(a_j), t_j; W_l)         word j and its attended regions a_j

| symbol       | here                   | shape                                           |
|--------------|------------------------|-------------------------------------------------|
| v_bar, t_bar | GlobalAttention        | (n_images, hidden_size), (n_texts, hidden_size) |
| l2(a_j)-t_j  | difference             | (n_images, n_real_words, hidden_size)           |
| W_g, W_l     | global_map, local_map  | hidden_size -> similarity_size (m)              |
| nodes        | [s^g; s^l_1 .. s^l_L]  | (n_images, n_nodes, m), see NodeLayout          |
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .base import l2_normalize, masked_mean, masked_softmax
from .cross_attention import cross_attention


class NodeLayout(NamedTuple):
    """Which node belongs to which text.

    The nodes of all texts stand one after the other, first the global ones, (n_images, n_nodes,
    m) with n_nodes = n_texts + the number of real words: captions differ so much in length that
    more than half of a padded layout would be padding.

    Attributes:
        mask: True where a padded place holds a node, (n_texts, 1 + n_words).
        nodes: The node of each padded place, (n_texts, 1 + n_words); any node where padded.
        places: The padded place of each node, (n_nodes,), as an index into the flat `mask`.
    """

    mask: Tensor
    nodes: Tensor
    places: Tensor

    @classmethod
    def of(cls, word_mask: Tensor) -> "NodeLayout":
        """Lays out one global node a text and one local node a real word.

        Args:
            word_mask: True where real, (n_texts, n_words).
        """
        n_texts = len(word_mask)
        mask = torch.cat([torch.ones_like(word_mask[:, :1]), word_mask], dim=1)
        texts = torch.arange(n_texts, device=mask.device).unsqueeze(1)  # (n_texts, 1)
        words = n_texts - 1 + word_mask.flatten().cumsum(0).view_as(word_mask)
        flat = torch.arange(mask.numel(), device=mask.device).view_as(mask)
        return cls(
            mask=mask,
            nodes=torch.cat([texts, words], dim=1),
            places=torch.cat([flat[:, 0], flat[:, 1:][word_mask]]),
        )

    @property
    def text(self) -> Tensor:
        """The text of each node, (n_nodes,)."""
        return self.places // self.mask.shape[1]

    def pad(self, nodes: Tensor) -> Tensor:
        """(n_images, n_nodes, m) -> (n_images, n_texts, 1 + n_words, m), any where padded."""
        return nodes.index_select(1, self.nodes.flatten()).unflatten(1, self.mask.shape)

    def pack(self, padded: Tensor) -> Tensor:
        """(n_images, n_texts, 1 + n_words, m) -> (n_images, n_nodes, m)."""
        return padded.flatten(1, 2).index_select(1, self.places)


class GlobalAttention(nn.Module):
    """Weighted mean of tokens, each weighed by how it goes with their plain mean.

    Args:
        hidden_size: Width of the tokens.
        dropout: Applied to both branches.
        token_norm: Normalises the token branch, (n, length, hidden_size).
        mean_norm: Normalises the branch of the mean, (n, hidden_size).
    """

    def __init__(
        self, hidden_size: int, dropout: float, token_norm: nn.Module, mean_norm: nn.Module
    ) -> None:
        super().__init__()
        self.token_map = nn.Linear(hidden_size, hidden_size)
        self.token_norm = token_norm
        self.mean_map = nn.Linear(hidden_size, hidden_size)
        self.mean_norm = mean_norm
        self.score = nn.Linear(hidden_size, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Pools the real tokens.

        Args:
            tokens: (n, length, hidden_size), zeros in padded positions.
            mask: True where real, (n, length).

        Returns:
            (n, hidden_size), L2-normalised.
        """
        mean = masked_mean(tokens, mask.unsqueeze(-1), dim=1)  # (n, hidden_size)
        mean = self.dropout(torch.tanh(self.mean_norm(self.mean_map(mean))))
        local = self.dropout(torch.tanh(self.token_norm(self.token_map(tokens))))
        logits = self.score(local * mean.unsqueeze(1)).squeeze(-1)  # (n, length)
        weights = masked_softmax(logits, mask)
        return l2_normalize(torch.einsum("nl,nld->nd", weights, tokens))  # (n, hidden_size)


class AlignmentNodes(nn.Module):
    """The nodes of all image-text pairs.

    Args:
        hidden_size: Width of the tokens.
        similarity_size: Width m of the similarity vectors.
        smoothing: Inverse temperature of the word-to-region attention.
        dropout: In the two global attentions.
        num_regions: Number of regions that every image has, or None for any number.
    """

    def __init__(
        self,
        hidden_size: int,
        similarity_size: int,
        smoothing: float,
        dropout: float,
        num_regions: int | None,
    ) -> None:
        super().__init__()
        self.smoothing = smoothing
        self.num_regions = num_regions
        # The published BatchNorm1d(num_regions) keeps statistics for each region position and
        # needs them all in every image. LayerNorm, our substitute, looks at one vector at a
        # time: regions may differ in number, and a batch may hold a single image.
        token_norm: nn.Module = nn.LayerNorm(hidden_size)
        mean_norm: nn.Module = nn.LayerNorm(hidden_size)
        if num_regions is not None:
            token_norm, mean_norm = nn.BatchNorm1d(num_regions), nn.BatchNorm1d(hidden_size)
        self.image_attention = GlobalAttention(hidden_size, dropout, token_norm, mean_norm)
        self.text_attention = GlobalAttention(hidden_size, dropout, nn.Identity(), nn.Identity())
        self.global_map = nn.Linear(hidden_size, similarity_size)
        self.local_map = nn.Linear(hidden_size, similarity_size)

    def forward(
        self, regions: Tensor, region_mask: Tensor, words: Tensor, word_mask: Tensor
    ) -> tuple[Tensor, NodeLayout]:
        """Aligns every image with every text, as a whole and word by word.

        Args:
            regions: (n_images, n_regions, hidden_size), zeros in padded positions.
            region_mask: (n_images, n_regions).
            words: (n_texts, n_words, hidden_size), zeros in padded positions.
            word_mask: (n_texts, n_words).

        Returns:
            Nodes (n_images, n_nodes, similarity_size) and whose they are.

        Raises:
            ValueError: If `num_regions` is set and an image has another number of regions.
        """
        self._check_region_count(region_mask)
        whole = self.global_node(regions, region_mask, words, word_mask)
        local = self.local_nodes(regions, region_mask, words, word_mask)
        return torch.cat([whole, local], dim=1), NodeLayout.of(word_mask)

    def _check_region_count(self, region_mask: Tensor) -> None:
        if self.num_regions is None:
            return
        if region_mask.shape[1] != self.num_regions or not bool(region_mask.all()):
            counts = region_mask.sum(1)
            raise ValueError(
                f"The head was built with num_regions={self.num_regions}, found images with "
                f"{int(counts.min())} to {int(counts.max())} regions padded to "
                f"{region_mask.shape[1]}. Build it with num_regions=None for any number."
            )

    def global_node(
        self, regions: Tensor, region_mask: Tensor, words: Tensor, word_mask: Tensor
    ) -> Tensor:
        """Similarity vector of the whole image and the whole text; arguments as in `forward`.

        Returns:
            (n_images, n_texts, similarity_size)
        """
        image = self.image_attention(regions, region_mask)  # (n_images, hidden_size)
        text = self.text_attention(words, word_mask)  # (n_texts, hidden_size)
        squares = (image.unsqueeze(1) - text).square()  # (n_images, n_texts, hidden_size)
        return l2_normalize(self.global_map(squares))

    def local_nodes(
        self, regions: Tensor, region_mask: Tensor, words: Tensor, word_mask: Tensor
    ) -> Tensor:
        """Similarity vector of each word and its attended regions; arguments as in `forward`.

        Returns:
            (n_images, n_real_words, similarity_size), text by text
        """
        attention = cross_attention(words, regions, region_mask, self.smoothing)
        # Weights over the norm of what they attend to: their sum of regions has unit length.
        unit = attention.weights / attention.norms.unsqueeze(1)
        real = word_mask.flatten().nonzero().squeeze(1)  # (n_real_words,)
        unit = unit.flatten(2).index_select(2, real)  # (n_images, n_regions, n_real_words)
        queries = words[word_mask].expand(len(regions), -1, -1)
        difference = torch.baddbmm(
            queries, unit.to(regions.dtype).transpose(1, 2), regions, beta=-1
        )  # (n_images, n_real_words, hidden_size)
        return l2_normalize(self.local_map(difference.square()))
