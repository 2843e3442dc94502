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
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..encoded import Encoded
from .alignment import AlignmentNodes
from .base import EPSILON, SimilarityHead, in_cached_parts, l2_normalize
from .few_pairs import scores_for_few
from .text_groups import TextGroup, by_length, in_order


class GraphReasoning(nn.Module):
    """One step of reasoning over the complete graph of a pair's nodes."""

    def __init__(self, similarity_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(similarity_size, similarity_size)
        self.key = nn.Linear(similarity_size, similarity_size)
        self.update = nn.Linear(similarity_size, similarity_size)
        # It adds the same to all edges of a node, and the softmax takes it out again.
        self.key.bias.requires_grad_(False)

    def asking(self) -> tuple[Tensor, Tensor]:
        """Weight (similarity_size, similarity_size) and bias of queries that meet bare nodes.

        (W_in s_p + b) . W_out s_q = (W_out' W_in s_p + W_out' b) . s_q: one product a node.
        """
        return self.key.weight.T @ self.query.weight, self.query.bias @ self.key.weight

    def forward(
        self, nodes: Tensor, asking: tuple[Tensor, Tensor], only_global: bool = False
    ) -> Tensor:
        """Updates the nodes of each pair from one another.

        Args:
            nodes: (n_images, n_texts, n_nodes, similarity_size), the global one first.
            asking: What `asking` returns, made once for many calls.
            only_global: Whether to update the global nodes alone.

        Returns:
            (n_images, n_texts, n_nodes, similarity_size), with one node if `only_global`.
        """
        queries = nn.functional.linear(nodes[:, :, :1] if only_global else nodes, *asking)
        edges = (queries @ nodes.transpose(-1, -2)).softmax(-1)
        return torch.relu(self.update(edges @ nodes))


class AttentionFiltration(nn.Module):
    """Mean of a pair's nodes under gates that can shut each node out."""

    def __init__(self, similarity_size: int) -> None:
        super().__init__()
        self.gate = nn.Linear(similarity_size, 1)
        self.gate_norm = nn.BatchNorm1d(1)

    def forward(self, groups: list[Tensor]) -> list[Tensor]:
        """Sums each pair's nodes under their gates.

        Args:
            groups: Nodes of texts of one length, (n_images, n_texts, n_nodes, similarity_size).

        Returns:
            For each group, (n_images, n_texts, similarity_size), L2-normalised.
        """
        logits = [self.gate(nodes) for nodes in groups]  # (n_images, n_texts, n_nodes, 1)
        # One batch of all pairs' nodes, whatever the lengths of their texts.
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

    @property
    def pairs_are_independent(self) -> bool:
        """Whether a pair's score depends on that pair alone, so that parts can be scored apart."""
        return True

    @abstractmethod
    def similarity_vectors(self, groups: list[Tensor]) -> list[Tensor]:
        """Sums up each pair's nodes.

        Args:
            groups: Nodes of texts of one length, (n_images, n_texts, n_nodes, similarity_size).

        Returns:
            For each group, (n_images, n_texts, similarity_size).
        """

    def forward(self, image: Encoded, text: Encoded) -> Tensor:
        real = Encoded(self.real_tokens(image), image.mask)
        groups = by_length(Encoded(self.real_tokens(text), text.mask))
        wholes = self.alignment.image_vectors(real)  # (n_images, hidden_size)
        texts = [(group.words, self.alignment.text_vectors(group.words)) for group in groups]
        return torch.sigmoid(self._logits(real, wholes, groups, texts))  # (n_images, n_texts)

    def _logits(
        self,
        image: Encoded,
        wholes: Tensor,
        groups: list[TextGroup],
        texts: list[tuple[Tensor, Tensor]],
    ) -> Tensor:
        """Logits of all images with all texts, (n_images, n_texts)."""
        n_nodes = max(words.shape[:2].numel() + len(words) for words, _ in texts)
        parts = [image]
        if self.pairs_are_independent:
            parts = in_cached_parts(image, n_nodes * self.score.in_features)
        logits = [
            in_order(self._compare(part, whole, texts), groups)
            for part, whole in zip(parts, wholes.split(len(parts[0].mask)), strict=True)
        ]
        return torch.cat(logits)

    def _compare(
        self, image: Encoded, wholes: Tensor, texts: list[tuple[Tensor, Tensor]]
    ) -> list[Tensor]:
        """Logits of some images with each group of texts, (n_images, n_texts of the group)."""
        nodes = [self.alignment(image, wholes, words, vectors) for words, vectors in texts]
        return [self.score(vectors).squeeze(-1) for vectors in self.similarity_vectors(nodes)]


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

    @property
    def pairs_are_independent(self) -> bool:
        """Not in training mode: the batch norm of the gates is one over all pairs."""
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

    def similarity_vectors(self, groups: list[Tensor]) -> list[Tensor]:
        steps = cast("list[GraphReasoning]", list(self.reasoning))
        asking = [step.asking() for step in steps]
        return [self._reason(nodes, asking) for nodes in groups]

    def scores_for_few(self, image: Encoded, text: Encoded) -> Tensor:
        """Scores all pairs; see `SimilarityHead.scores_for_few`.

        What belongs to an image or a text alone is computed once, with its dropout; beyond it no
        pair knows of another.
        """
        real = Encoded(self.real_tokens(image), image.mask)
        groups = by_length(Encoded(self.real_tokens(text), text.mask))
        wholes = self.alignment.image_vectors(real)  # (n_images, hidden_size)
        words = [group.words for group in groups]
        vectors = [self.alignment.text_vectors(group.words) for group in groups]
        place = {
            row: (at, position)
            for at, group in enumerate(groups)
            for position, row in enumerate(group.rows.tolist())
        }

        def score_all(tokens: Tensor, wholes: Tensor, *texts: Tensor) -> Tensor:
            return self._logits(Encoded(tokens, real.mask), wholes, groups, _paired(texts))

        def score_some(
            rows: Tensor, columns: Tensor, tokens: Tensor, wholes: Tensor, *texts: Tensor
        ) -> Tensor:
            pairs = _paired(texts)
            found, counts = torch.unique_consecutive(columns, return_counts=True)
            parts = [
                part.split(counts.tolist())
                for part in (tokens[rows], real.mask[rows], wholes[rows])
            ]
            nodes = []
            for text, own, mask, whole in zip(found.tolist(), *parts, strict=True):
                at, i = place[text]
                words, vectors = (part[i : i + 1] for part in pairs[at])
                nodes.append(self.alignment(Encoded(own, mask), whole, words, vectors))
            found_vectors = [vectors.squeeze(1) for vectors in self.similarity_vectors(nodes)]
            return self.score(torch.cat(found_vectors)).squeeze(-1)  # (n_pairs,)

        shared = (self.alignment.local_map, self.alignment.global_map, self.reasoning, self.score)
        weights = [p for module in shared for p in module.parameters() if p.requires_grad]
        tensors = [real.tokens, wholes, *words, *vectors]
        return torch.sigmoid(scores_for_few(score_all, score_some, tensors, weights))

    def _reason(self, nodes: Tensor, asking: list[tuple[Tensor, Tensor]]) -> Tensor:
        for step, queries in zip(self.reasoning[:-1], asking[:-1], strict=True):
            nodes = step(nodes, queries)
        # The score reads the global nodes alone, so the last step updates no other.
        return self.reasoning[-1](nodes, asking[-1], only_global=True).squeeze(2)


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

    def scores_for_few(self, image: Encoded, text: Encoded) -> Tensor:
        """Scores all pairs; SAF's batch norm has all of them know of each other."""
        return (self.saf(image, text) + self.sgr.scores_for_few(image, text)) / 2


def _paired(texts: tuple[Tensor, ...]) -> list[tuple[Tensor, Tensor]]:
    """Words and vectors of each group, from all words and then all vectors."""
    middle = len(texts) // 2
    return list(zip(texts[:middle], texts[middle:], strict=True))
