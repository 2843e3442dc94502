"""The similarity vectors of SGRAF, the nodes of an image-text pair.

Diao et al., "Similarity Reasoning and Filtration for Image-Text Matching", AAAI 2021, section
"Similarity Representation Learning". Published code: joint width 1024, m = 256.

    s(x, y; W) = l2(W |x - y|^2)                      similarity vector
    global node  s^g = s(v_bar, t_bar; W_g)           self-attended image and text
    local nodes  s^l_j = s(l2(a_j), t_j; W_l)         word j and its attended regions a_j

| symbol       | here                   | shape                                           |
|--------------|------------------------|-------------------------------------------------|
| v_bar, t_bar | GlobalAttention        | (n_images, hidden_size), (n_texts, hidden_size) |
| W_g, W_l     | global_map, local_map  | hidden_size -> similarity_size (m)              |
| nodes        | [s^g; s^l_1 .. s^l_L]  | (n_images, n_texts, 1 + n_words, m)             |
"""

import torch
from torch import Tensor, nn

from ..dropout import Dropout
from ..encoded import Encoded
from .base import l2_normalize, masked_mean, masked_softmax
from .cross_attention import cross_attention
from .squared_difference import squared_difference_map


class GlobalAttention(nn.Module):
    """Weighted mean of tokens; the weights are computed from each token and the plain mean.

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
        self.dropout = Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Pool the real tokens.

        Args:
            tokens: (n, length, hidden_size), zeros in padded positions.
            mask: True for real tokens, (n, length).

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
        # The published BatchNorm1d(num_regions) has statistics for each region position and needs
        # the same number of regions in every image. LayerNorm works for any number of regions and
        # for batches of one image.
        token_norm: nn.Module = nn.LayerNorm(hidden_size)
        mean_norm: nn.Module = nn.LayerNorm(hidden_size)
        if num_regions is not None:
            token_norm, mean_norm = nn.BatchNorm1d(num_regions), nn.BatchNorm1d(hidden_size)
        self.image_attention = GlobalAttention(hidden_size, dropout, token_norm, mean_norm)
        self.text_attention = GlobalAttention(hidden_size, dropout, nn.Identity(), nn.Identity())
        self.global_map = nn.Linear(hidden_size, similarity_size)
        self.local_map = nn.Linear(hidden_size, similarity_size)

    def image_vectors(self, image: Encoded) -> Tensor:
        """The self-attended images v_bar, which do not depend on the texts.

        Args:
            image: Tokens (n_images, n_regions, hidden_size), zeros where padded, and their mask.

        Returns:
            (n_images, hidden_size), L2-normalised.

        Raises:
            ValueError: If `num_regions` is set and an image has another number of regions.
        """
        self._check_region_count(image.mask)
        return self.image_attention(image.tokens, image.mask)

    def text_vectors(self, words: Tensor) -> Tensor:
        """The self-attended texts t_bar, which do not depend on the images.

        Args:
            words: Texts of one length, without padding, (n_texts, n_words, hidden_size).

        Returns:
            (n_texts, hidden_size), L2-normalised.
        """
        real = words.new_ones(words.shape[:2], dtype=torch.bool)
        return self.text_attention(words, real)

    def forward(
        self, image: Encoded, image_vectors: Tensor, words: Tensor, text_vectors: Tensor
    ) -> Tensor:
        """Compute the global node and the word nodes of every image with every text.

        Args:
            image: Tokens (n_images, n_regions, hidden_size), zeros where padded, and their mask.
            image_vectors: Output of `image_vectors`, (n_images, hidden_size).
            words: Texts of one length, without padding, (n_texts, n_words, hidden_size).
            text_vectors: Output of `text_vectors`, (n_texts, hidden_size).

        Returns:
            Nodes, the global one first, (n_images, n_texts, 1 + n_words, similarity_size).
        """
        ones = image_vectors.new_ones(len(image_vectors), 1, len(text_vectors))
        global_node = squared_difference_map(
            ones, image_vectors.unsqueeze(1), text_vectors, self.global_map
        )  # (n_images, n_texts, similarity_size)
        nodes = torch.cat([global_node.unsqueeze(2), self._local_nodes(image, words)], dim=2)
        return l2_normalize(nodes)

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

    def _local_nodes(self, image: Encoded, words: Tensor) -> Tensor:
        attention = cross_attention(words, image, self.smoothing)
        # With weights divided by the attended norm, the attended region vectors have unit length.
        unit = (attention.weights / attention.norms.unsqueeze(1)).flatten(2)
        flat = squared_difference_map(
            unit, image.tokens, words.flatten(0, 1), self.local_map
        )  # (n_images, n_texts * n_words, similarity_size)
        return flat.unflatten(1, words.shape[:2])
