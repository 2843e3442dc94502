"""SGRAF: similarity graph reasoning (SGR), attention filtration (SAF), and their ensemble.

Diao et al., "Similarity Reasoning and Filtration for Image-Text Matching", AAAI 2021, sections
"Similarity Graph Reasoning" and "Similarity Attention Filtration"; the backbone of NCR (Huang et
al., NeurIPS 2021) and of most later work on noisy correspondence. For one pair with the nodes
s_p of `alignment.py`:

    SGR   e_pq = softmax_q((W_in s_p) . (W_out s_q))      edges, not scaled
          s_p <- relu(W_r sum_q e_pq s_q)                 `steps` times; then the global node
    SAF   b_p = sigmoid(BN(W_f s_p)) / sum_q sigmoid(BN(W_f s_q))
          s = l2(sum_p b_p s_p)
    score = sigmoid(w . s + c)                            in (0, 1), as in NCR

| symbol              | here                        |
|---------------------|-----------------------------|
| W_in, W_out, W_r    | query, key, update          |
| W_f, BN             | gate, gate_norm             |
| w, c                | score                       |
"""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from ..encoded import Encoded
from .alignment import AlignmentNodes, NodeLayout
from .base import (
    EPSILON,
    SimilarityHead,
    l2_normalize,
    masked_softmax,
)


class GraphReasoning(nn.Module):
    """One step of reasoning over the complete graph of a pair's nodes."""

    def __init__(self, similarity_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(similarity_size, similarity_size)
        self.key = nn.Linear(similarity_size, similarity_size)
        self.update = nn.Linear(similarity_size, similarity_size)

    def forward(self, nodes: Tensor, layout: NodeLayout, only_global: bool = False) -> Tensor:
        """Updates the nodes of each pair from one another.

        Args:
            nodes: (n_images, n_nodes, similarity_size).
            layout: Which node belongs to which text.
            only_global: Whether to update the global nodes alone.

        Returns:
            (n_images, n_nodes, similarity_size), or (n_images, n_texts, similarity_size) if
            `only_global`.
        """
        n_texts = len(layout.mask)
        if only_global:
            queries = self.query(nodes[:, :n_texts]).unsqueeze(2)
        else:
            queries = layout.pad(self.query(nodes))
        keys = layout.pad(self.key(nodes))  # (n_images, n_texts, 1 + n_words, similarity_size)
        edges = masked_softmax(queries @ keys.transpose(-1, -2), layout.mask.unsqueeze(1))
        mixed = edges @ layout.pad(nodes)  # (n_images, n_texts, 1 or 1 + n_words, similarity_size)
        mixed = mixed.squeeze(2) if only_global else layout.pack(mixed)
        return torch.relu(self.update(mixed))


class AttentionFiltration(nn.Module):
    """Mean of a pair's nodes under gates that can shut each node out."""

    def __init__(self, similarity_size: int) -> None:
        super().__init__()
        self.gate = nn.Linear(similarity_size, 1)
        self.gate_norm = nn.BatchNorm1d(1)

    def forward(self, nodes: Tensor, layout: NodeLayout) -> Tensor:
        """Sums each pair's nodes under their gates.

        Args:
            nodes: (n_images, n_nodes, similarity_size).
            layout: Which node belongs to which text.

        Returns:
            (n_images, n_texts, similarity_size), L2-normalised.
        """
        logits = self.gate(nodes)  # (n_images, n_nodes, 1)
        # One batch of all pairs' nodes; the layout holds no padding that could enter its
        # statistics.
        gates = torch.sigmoid(self.gate_norm(logits.flatten(0, 1))).view(logits.shape[:2])
        texts = torch.arange(len(layout.mask), device=nodes.device)
        own = texts.unsqueeze(1) == layout.text  # (n_texts, n_nodes)
        weights = gates.unsqueeze(1) * own  # (n_images, n_texts, n_nodes)
        weights = weights / (weights.sum(-1, keepdim=True) + EPSILON)
        return l2_normalize(weights @ nodes)


class _AlignmentHead(SimilarityHead):
    """Nodes, one similarity vector a pair, one score: what SAF and SGR share."""

    def __init__(
        self,
        hidden_size: int,
        *,
        similarity_size: int,
        smoothing: float,
        dropout: float,
        num_regions: int | None,
    ) -> None:
        super().__init__(hidden_size)
        self.alignment = AlignmentNodes(
            hidden_size, similarity_size, smoothing, dropout, num_regions
        )
        self.score = nn.Linear(similarity_size, 1)

    @abstractmethod
    def similarity_vector(self, nodes: Tensor, layout: NodeLayout) -> Tensor:
        """Sums up a pair's nodes.

        Args:
            nodes: (n_images, n_nodes, similarity_size).
            layout: Which node belongs to which text.

        Returns:
            (n_images, n_texts, similarity_size)
        """

    def forward(self, image: Encoded, text: Encoded) -> Tensor:
        nodes, layout = self.alignment(
            self.real_tokens(image), image.mask, self.real_tokens(text), text.mask
        )
        vectors = self.similarity_vector(nodes, layout)  # (n_images, n_texts, similarity_size)
        return torch.sigmoid(self.score(vectors).squeeze(-1))  # (n_images, n_texts)


class SafSimilarity(_AlignmentHead):
    """Similarity attention filtration.

    Args:
        hidden_size: Width of the tokens.
        similarity_size: Width of the similarity vectors.
        smoothing: Inverse temperature of the word-to-region attention.
        dropout: In the two global attentions.
        num_regions: Number of regions that every image has (36 in the paper), which turns the
            published batch norms on; None for any number.
    """

    def __init__(
        self,
        hidden_size: int,
        *,
        similarity_size: int = 256,
        smoothing: float = 9.0,
        dropout: float = 0.4,
        num_regions: int | None = None,
    ) -> None:
        super().__init__(
            hidden_size,
            similarity_size=similarity_size,
            smoothing=smoothing,
            dropout=dropout,
            num_regions=num_regions,
        )
        self.filtration = AttentionFiltration(similarity_size)

    def similarity_vector(self, nodes: Tensor, layout: NodeLayout) -> Tensor:
        return self.filtration(nodes, layout)  # (n_images, n_texts, similarity_size)


class SgrSimilarity(_AlignmentHead):
    """Similarity graph reasoning.

    Args:
        hidden_size: Width of the tokens.
        similarity_size: Width of the similarity vectors.
        steps: Reasoning steps, each with its own weights.
        smoothing: Inverse temperature of the word-to-region attention.
        dropout: In the two global attentions.
        num_regions: Number of regions that every image has (36 in the paper), which turns the
            published batch norms on; None for any number.

    Raises:
        ValueError: If `steps` is not positive.
    """

    def __init__(
        self,
        hidden_size: int,
        *,
        similarity_size: int = 256,
        steps: int = 3,
        smoothing: float = 9.0,
        dropout: float = 0.4,
        num_regions: int | None = None,
    ) -> None:
        super().__init__(
            hidden_size,
            similarity_size=similarity_size,
            smoothing=smoothing,
            dropout=dropout,
            num_regions=num_regions,
        )
        if steps < 1:
            raise ValueError(f"steps must be at least 1, found {steps}.")
        self.reasoning = nn.ModuleList(GraphReasoning(similarity_size) for _ in range(steps))

    def similarity_vector(self, nodes: Tensor, layout: NodeLayout) -> Tensor:
        *earlier, last = self.reasoning
        for step in earlier:
            nodes = step(nodes, layout)
        # The score reads the global nodes alone, so the last step updates no other.
        return last(nodes, layout, only_global=True)  # (n_images, n_texts, similarity_size)


class SgrafSimilarity(SimilarityHead):
    """Mean of an SGR and an SAF score, each with its own weights (the paper's "independent" one).

    Args:
        hidden_size: Width of the tokens.
        similarity_size: Width of the similarity vectors.
        steps: Reasoning steps of SGR.
        smoothing: Inverse temperature of the word-to-region attention.
        dropout: In the global attentions.
        num_regions: Number of regions that every image has (36 in the paper), which turns the
            published batch norms on; None for any number.
    """

    def __init__(
        self,
        hidden_size: int,
        *,
        similarity_size: int = 256,
        steps: int = 3,
        smoothing: float = 9.0,
        dropout: float = 0.4,
        num_regions: int | None = None,
    ) -> None:
        super().__init__(hidden_size)
        shared: dict[str, Any] = {
            "similarity_size": similarity_size,
            "smoothing": smoothing,
            "dropout": dropout,
            "num_regions": num_regions,
        }
        self.saf = SafSimilarity(hidden_size, **shared)
        self.sgr = SgrSimilarity(hidden_size, steps=steps, **shared)

    def forward(self, image: Encoded, text: Encoded) -> Tensor:
        return (self.saf(image, text) + self.sgr(image, text)) / 2  # (n_images, n_texts)
