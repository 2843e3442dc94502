"""SGRAF: similarity graph reasoning (SGR), attention filtration (SAF), and both in one network.

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
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..encoded import Encoded
from .alignment import AlignmentNodes
from .base import EPSILON, SimilarityHead, l2_normalize, split_for_cache
from .sparse_gradients import sparse_gradient_scores
from .text_groups import TextGroup, group_by_length, ungroup


class GraphReasoning(nn.Module):
    """One step of reasoning over the complete graph of the nodes of a pair."""

    def __init__(self, similarity_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(similarity_size, similarity_size)
        self.key = nn.Linear(similarity_size, similarity_size)
        self.update = nn.Linear(similarity_size, similarity_size)
        # The bias adds a constant to all edges of a node, which the softmax cancels.
        self.key.bias.requires_grad_(False)

    def query_map(self) -> tuple[Tensor, Tensor]:
        """Weight (similarity_size, similarity_size) and bias of queries that include the key map.

        (W_in s_p + b) . W_out s_q = (W_out' W_in s_p + W_out' b) . s_q: one product per node.
        """
        return self.key.weight.T @ self.query.weight, self.query.bias @ self.key.weight

    def forward(
        self, nodes: Tensor, query_map: tuple[Tensor, Tensor], only_global: bool = False
    ) -> Tensor:
        """Update the nodes of each pair.

        Args:
            nodes: (n_images, n_texts, n_nodes, similarity_size), the global one first.
            query_map: Output of `query_map`, computed once for many calls.
            only_global: Whether to update only the global nodes.

        Returns:
            (n_images, n_texts, n_nodes, similarity_size), with one node if `only_global`.
        """
        queries = nn.functional.linear(nodes[:, :, :1] if only_global else nodes, *query_map)
        edges = (queries @ nodes.transpose(-1, -2)).softmax(-1)
        return torch.relu(self.update(edges @ nodes))


class AttentionFiltration(nn.Module):
    """Weighted mean of the nodes of a pair; a gate weights each node."""

    def __init__(self, similarity_size: int) -> None:
        super().__init__()
        self.gate = nn.Linear(similarity_size, 1)
        self.gate_norm = nn.BatchNorm1d(1)

    def forward(self, groups: list[Tensor]) -> list[Tensor]:
        """Average the nodes of each pair.

        Args:
            groups: Nodes of texts of one length, (n_images, n_texts, n_nodes, similarity_size).

        Returns:
            For each group, (n_images, n_texts, similarity_size), L2-normalised.
        """
        logits = [self.gate(nodes) for nodes in groups]  # (n_images, n_texts, n_nodes, 1)
        # The batch norm covers the nodes of all pairs.
        flat = torch.cat([part.flatten() for part in logits]).unsqueeze(1)
        gates = torch.sigmoid(self.gate_norm(flat)).split([part.numel() for part in logits])
        return [
            self._mean(nodes, gate.view_as(part))
            for nodes, gate, part in zip(groups, gates, logits, strict=True)
        ]

    @staticmethod
    def _mean(nodes: Tensor, gates: Tensor) -> Tensor:
        weights = gates / (gates.sum(2, keepdim=True) + EPSILON)
        return l2_normalize((weights.transpose(2, 3) @ nodes).squeeze(2))


class _AlignmentHead(SimilarityHead):
    """Base of SAF and SGR: nodes, one similarity vector per pair, one score."""

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

    @property
    def pairs_are_independent(self) -> bool:
        """Whether a pair's score depends only on that pair, so that blocks can be scored alone."""
        return True

    @abstractmethod
    def similarity_vectors(self, groups: list[Tensor]) -> list[Tensor]:
        """Reduce the nodes of each pair to one vector.

        Args:
            groups: Nodes of texts of one length, (n_images, n_texts, n_nodes, similarity_size).

        Returns:
            For each group, (n_images, n_texts, similarity_size).
        """

    def forward(self, image: Encoded, text: Encoded) -> Tensor:
        real = Encoded(self.real_tokens(image), image.mask)
        groups = group_by_length(Encoded(self.real_tokens(text), text.mask))
        image_vectors = self.alignment.image_vectors(real)  # (n_images, hidden_size)
        texts = [(group.words, self.alignment.text_vectors(group.words)) for group in groups]
        return torch.sigmoid(self._logits(real, image_vectors, groups, texts))

    def _logits(
        self,
        image: Encoded,
        image_vectors: Tensor,
        groups: list[TextGroup],
        texts: list[tuple[Tensor, Tensor]],
    ) -> Tensor:
        """Logits of all images with all texts, (n_images, n_texts)."""
        n_nodes = max(words.shape[:2].numel() + len(words) for words, _ in texts)
        parts = [image]
        if self.pairs_are_independent:
            parts = split_for_cache(image, n_nodes * self.score.in_features)
        logits = [
            ungroup(self._group_logits(part, vectors, texts), groups)
            for part, vectors in zip(parts, image_vectors.split(len(parts[0].mask)), strict=True)
        ]
        return torch.cat(logits)

    def _group_logits(
        self, image: Encoded, image_vectors: Tensor, texts: list[tuple[Tensor, Tensor]]
    ) -> list[Tensor]:
        """Logits of some images with each group of texts, (n_images, n_texts of the group)."""
        nodes = [self.alignment(image, image_vectors, words, vectors) for words, vectors in texts]
        return [self.score(vectors).squeeze(-1) for vectors in self.similarity_vectors(nodes)]


class SafSimilarity(_AlignmentHead):
    """Similarity attention filtration.

    Args:
        hidden_size: Width of the tokens.
        similarity_size: Width of the similarity vectors.
        smoothing: Inverse temperature of the word-to-region attention.
        dropout: In the two global attentions.
        num_regions: Number of regions of every image (36 in the paper), for the published batch
            norms; None for any number.
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

    @property
    def pairs_are_independent(self) -> bool:
        """False in training mode: the batch norm of the gates covers all pairs."""
        return not self.training

    def similarity_vectors(self, groups: list[Tensor]) -> list[Tensor]:
        return self.filtration(groups)  # (n_images, n_texts, similarity_size) each


class SgrSimilarity(_AlignmentHead):
    """Similarity graph reasoning.

    Args:
        hidden_size: Width of the tokens.
        similarity_size: Width of the similarity vectors.
        steps: Reasoning steps, each with its own weights.
        smoothing: Inverse temperature of the word-to-region attention.
        dropout: In the two global attentions.
        num_regions: Number of regions of every image (36 in the paper), for the published batch
            norms; None for any number.

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

    def similarity_vectors(self, groups: list[Tensor]) -> list[Tensor]:
        steps = cast("list[GraphReasoning]", list(self.reasoning))
        maps = [step.query_map() for step in steps]
        return [self._reason(nodes, maps) for nodes in groups]

    def sparse_gradient_scores(self, image: Encoded, text: Encoded) -> Tensor:
        """Score all pairs; see `SimilarityHead.sparse_gradient_scores`.

        Image and text vectors are computed once, with dropout; the rest is independent per pair.
        """
        real = Encoded(self.real_tokens(image), image.mask)
        groups = group_by_length(Encoded(self.real_tokens(text), text.mask))
        image_vectors = self.alignment.image_vectors(real)  # (n_images, hidden_size)
        words = [group.words for group in groups]
        text_vectors = [self.alignment.text_vectors(group.words) for group in groups]
        place = {
            row: (number, position)
            for number, group in enumerate(groups)
            for position, row in enumerate(group.rows.tolist())
        }

        def score_all(tokens: Tensor, image_vectors: Tensor, *texts: Tensor) -> Tensor:
            return self._logits(Encoded(tokens, real.mask), image_vectors, groups, _zip_half(texts))

        def score_some(
            rows: Tensor, columns: Tensor, tokens: Tensor, image_vectors: Tensor, *texts: Tensor
        ) -> Tensor:
            pairs = _zip_half(texts)
            unique, counts = torch.unique_consecutive(columns, return_counts=True)
            parts = [
                part.split(counts.tolist())
                for part in (tokens[rows], real.mask[rows], image_vectors[rows])
            ]
            nodes = []
            for text, part_tokens, mask, vectors in zip(unique.tolist(), *parts, strict=True):
                number, i = place[text]
                word, text_vector = (part[i : i + 1] for part in pairs[number])
                image_part = Encoded(part_tokens, mask)
                nodes.append(self.alignment(image_part, vectors, word, text_vector))
            similarity = [vectors.squeeze(1) for vectors in self.similarity_vectors(nodes)]
            return self.score(torch.cat(similarity)).squeeze(-1)  # (n_pairs,)

        shared = (self.alignment.local_map, self.alignment.global_map, self.reasoning, self.score)
        weights = [p for module in shared for p in module.parameters() if p.requires_grad]
        tensors = [real.tokens, image_vectors, *words, *text_vectors]
        return torch.sigmoid(sparse_gradient_scores(score_all, score_some, tensors, weights))

    def _reason(self, nodes: Tensor, maps: list[tuple[Tensor, Tensor]]) -> Tensor:
        for step, query_map in zip(self.reasoning[:-1], maps[:-1], strict=True):
            nodes = step(nodes, query_map)
        # The score only uses the global nodes, so the last step updates only them.
        return self.reasoning[-1](nodes, maps[-1], only_global=True).squeeze(2)


class JointSgrafSimilarity(SimilarityHead):
    """Mean of an SGR and an SAF score with separate weights, trained together.

    The published SGRAF is not this head: it averages the scores of two networks that were trained
    apart, see `evaluation.AverageEvaluator`. Here both share the encoders and the loss.

    Args:
        hidden_size: Width of the tokens.
        similarity_size: Width of the similarity vectors.
        steps: Reasoning steps of SGR.
        smoothing: Inverse temperature of the word-to-region attention.
        dropout: In the global attentions.
        num_regions: Number of regions of every image (36 in the paper), for the published batch
            norms; None for any number.
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

    def sparse_gradient_scores(self, image: Encoded, text: Encoded) -> Tensor:
        """Score all pairs; only SGR skips pairs, since SAF's batch norm covers all of them."""
        return (self.saf(image, text) + self.sgr.sparse_gradient_scores(image, text)) / 2


def _zip_half(texts: tuple[Tensor, ...]) -> list[tuple[Tensor, Tensor]]:
    """Words and vectors of each group; the first half of `texts` are words, the second vectors."""
    middle = len(texts) // 2
    return list(zip(texts[:middle], texts[middle:], strict=True))
