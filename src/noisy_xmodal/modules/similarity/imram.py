"""IMRAM: recurrent cross attention whose queries remember what they attended to.

Chen et al., "IMRAM: Iterative Matching with Recurrent Attention Memory for Cross-Modal Image-Text
Retrieval", CVPR 2020, section 3. For one pair with query tokens x_1..x_m and context tokens
c_1..c_n, the queries of the first of K steps are the tokens themselves, x_j^1 = x_j. A step is

    a_j = sum_i softmax_i(lambda s'_ij) c_i      attention of x_j^k, see `cross_attention.py`
    F_k = mean_j cos(x_j, a_j)                   score of the step
    g_j = sigmoid(W_g [x_j^k; a_j] + b_g)        gate
    o_j = tanh(W_o [x_j^k; a_j] + b_o)
    x_j^(k+1) = g_j * x_j^k + (1 - g_j) * o_j    memory distillation

and the score of the pair is the sum of all F_k. In Text-IMRAM the words are the queries, in
Image-IMRAM the regions; Full-IMRAM adds both scores, each direction with its own weights.

| symbol   | here            |
|----------|-----------------|
| K        | steps           |
| lambda   | lambda_softmax  |
| W_g, W_o | gate, candidate |

The published code departs from the paper: it clips affinities by a leaky ReLU, as SCAN does. Its
scripts train Text-IMRAM with 3 steps and lambda 11 on COCO, and Image-IMRAM with lambda 9 and a
single step, which has no memory, on Flickr30K; neither scales x^(k+1) to unit length.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...options import Rule
from ..encoded import Encoded
from .base import EPSILON, SimilarityHead, l2_normalize, masked_mean, split_for_cache
from .cross_attention import CrossAttention, weigh_context
from .sparse_gradients import sparse_gradient_scores
from .text_groups import TextGroup, group_by_length, ungroup


class RecurrentAttention(nn.Module):
    """The steps of one direction.

    Args:
        hidden_size: Width of the tokens.
        steps: K.
        smoothing: lambda.
        normalize: Whether the queries of later steps have unit length.
    """

    def __init__(self, hidden_size: int, steps: int, smoothing: float, normalize: bool) -> None:
        super().__init__()
        self.steps, self.smoothing, self.normalize = steps, smoothing, normalize
        if steps > 1:
            self.candidate = nn.Linear(2 * hidden_size, hidden_size)
            self.gate = nn.Linear(2 * hidden_size, hidden_size)

    def forward(self, query: Encoded, context: Encoded) -> Tensor:
        """Score every context with its own query sequences, or with the same ones.

        Args:
            query: Tokens (n_contexts or 1, n_queries, query_length, hidden_size), zeros where
                padded, and their mask (n_contexts or 1, n_queries, query_length).
            context: Tokens (n_contexts, context_length, hidden_size), zeros where padded, and their
                mask.

        Returns:
            Sum of the steps' scores, (n_contexts, n_queries).
        """
        state = query.tokens
        first = affinity = _affinity(state, context)  # (n_contexts, context_length, n_queries, ...)
        lengths = torch.linalg.vector_norm(state, dim=-1)  # (n_contexts or 1, n_queries, ...)
        scores = []
        for step in range(1, self.steps + 1):
            attention = weigh_context(affinity, context, self.smoothing)
            products = (attention.weights * first).sum(1)  # (n_contexts, n_queries, query_length)
            relevance = products / (attention.norms * lengths).clamp(min=EPSILON)
            scores.append(masked_mean(relevance, query.mask, dim=-1))
            if step < self.steps:
                state = self._distil(state, attention, context)
                state = state.masked_fill(~query.mask.unsqueeze(-1), 0)
                affinity = _affinity(state, context)
        return torch.stack(scores).sum(0)

    def _distil(self, query: Tensor, attention: CrossAttention, context: Encoded) -> Tensor:
        """Queries of the next step, (n_contexts, n_queries, query_length, hidden_size)."""
        weights = attention.weights.flatten(2).transpose(1, 2)  # (n_contexts, ..., context_length)

        def both(layer: nn.Linear) -> Tensor:
            # W [x; a] = W_1 x + W_2 a, where W_2 a is the attended vector of the W_2 c_i.
            of_query, of_context = layer.weight.to(query.dtype).chunk(2, dim=1)
            attended = weights @ (context.tokens @ of_context.T)
            own = functional.linear(query, of_query, layer.bias.to(query.dtype))
            return own + attended.unflatten(1, query.shape[1:3])

        gate = torch.sigmoid(both(self.gate))
        state = gate * query + (1 - gate) * torch.tanh(both(self.candidate))
        return l2_normalize(state) if self.normalize else state


def _affinity(query: Tensor, context: Encoded) -> Tensor:
    """Inner products, (n_contexts, context_length, n_queries, query_length)."""
    flat = query.flatten(1, 2)  # (n_contexts or 1, n_queries * query_length, hidden_size)
    flat = flat[0].T if len(flat) == 1 else flat.transpose(1, 2)
    return (context.tokens @ flat).unflatten(-1, query.shape[1:3])


class ImramSimilarity(SimilarityHead):
    """Sum of the scores of K steps of recurrent attention.

    Args:
        hidden_size: Width of the tokens.
        directions: "text" (the words are the queries), "image" (the regions are) or "full" (both).
        steps: K.
        lambda_softmax: Inverse temperature of the attention.
        normalize: Whether the queries of later steps have unit length.

    Raises:
        ValueError: If `directions` is unknown or `steps` is not positive.
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "normalize": Rule(
            lambda options: options.steps > 1, "a single step has no memory. Leave it out."
        )
    }

    def __init__(
        self,
        hidden_size: int,
        *,
        directions: str = "full",
        steps: int = 3,
        lambda_softmax: float = 9.0,
        normalize: bool = False,
    ) -> None:
        super().__init__(hidden_size)
        if directions not in ("text", "image", "full"):
            raise ValueError(f"directions must be text, image or full, found {directions!r}.")
        if steps < 1:
            raise ValueError(f"steps must be at least 1, found {steps}.")
        of_queries = ("text", "image") if directions == "full" else (directions,)
        settings = hidden_size, steps, lambda_softmax, normalize
        self.of_queries = nn.ModuleDict(
            {side: RecurrentAttention(*settings) for side in of_queries}
        )

    def forward(self, image: Encoded, text: Encoded) -> Tensor:
        real = Encoded(self.real_tokens(image), image.mask)
        groups = group_by_length(Encoded(self.real_tokens(text), text.mask))
        return self._score_all(real, groups)

    def _score_all(self, image: Encoded, groups: list[TextGroup]) -> Tensor:
        """Scores of all images with all texts, (n_images, n_texts)."""
        n_texts = sum(len(group.rows) for group in groups)
        n_words = sum(group.words.shape[:2].numel() for group in groups)
        n_queries = max(n_words, n_texts * image.mask.shape[1])
        parts = [
            ungroup([self._compare(part, group.words, 0) for group in groups], groups)
            for part in split_for_cache(image, n_queries * self.hidden_size)
        ]
        return torch.cat(parts)

    def _compare(self, image: Encoded, words: Tensor, dim: int) -> Tensor:
        """Compare images with texts of one length.

        Args:
            image: Tokens (n_images, n_regions, hidden_size), zeros where padded, and their mask.
            words: (n_texts, n_words, hidden_size).
            dim: 0 for every image with every text, 1 for image i with text i.

        Returns:
            (n_images, n_texts), or (n_pairs, 1) if `dim` is 1.
        """
        # Always in full precision, for the reason of `cross_attention`.
        dtype = torch.promote_types(words.dtype, torch.float)
        text = Encoded(words.to(dtype), words.new_ones(words.shape[:2], dtype=torch.bool))
        image = Encoded(image.tokens.to(dtype), image.mask)
        contexts = {"text": image, "image": text}
        queries = {
            side: Encoded(encoded.tokens.unsqueeze(dim), encoded.mask.unsqueeze(dim))
            for side, encoded in (("text", text), ("image", image))
        }
        with torch.autocast(words.device.type, enabled=False):
            scores = {
                side: attention(queries[side], contexts[side])
                for side, attention in self.of_queries.items()
            }
        if dim == 0 and "image" in scores:
            scores["image"] = scores["image"].T
        return torch.stack(list(scores.values())).sum(0)

    def sparse_gradient_scores(self, image: Encoded, text: Encoded) -> Tensor:
        """Score all pairs; see `SimilarityHead.sparse_gradient_scores`."""
        real = Encoded(self.real_tokens(image), image.mask)
        groups = group_by_length(Encoded(self.real_tokens(text), text.mask))
        lengths = text.mask.sum(1)  # (n_texts,)
        place = torch.empty_like(lengths)  # (n_texts,), of each text in its group
        for group in groups:
            place[group.rows] = torch.arange(len(group.rows), device=place.device)

        def score_all(*_: Tensor) -> Tensor:
            return self._score_all(real, groups)

        def score_some(rows: Tensor, columns: Tensor, tokens: Tensor, *words: Tensor) -> Tensor:
            scores = tokens.new_zeros(len(rows))  # (n_pairs,)
            for part in words:
                chosen = (lengths[columns] == part.shape[1]).nonzero().squeeze(1)  # (n_chosen,)
                images = Encoded(tokens[rows[chosen]], real.mask[rows[chosen]])
                own = part[place[columns[chosen]]]  # (n_chosen, n_words, hidden_size)
                scores = scores.index_put((chosen,), self._compare(images, own, 1).squeeze(1))
            return scores

        tensors = [real.tokens, *(group.words for group in groups)]
        weights = [weight for weight in self.parameters() if weight.requires_grad]
        return sparse_gradient_scores(score_all, score_some, tensors, weights)
