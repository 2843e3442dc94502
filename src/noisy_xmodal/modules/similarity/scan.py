"""SCAN: stacked cross attention, a score without trained weights.

Lee et al., "Stacked Cross Attention for Image-Text Matching", ECCV 2018, section 3.1.
After the attention of `cross_attention.py` every query token q_j has an attended vector v_j:

    r_j = cos(q_j, v_j)                                              relevance
    LSE score = log(sum_j exp(lambda_lse r_j)) / lambda_lse          "lse"
    AVG score = mean_j r_j                                           "mean"

ScanTextToImage: the words are the queries and the regions the context (t-i in the paper's tables).
ScanImageToText: the regions are the queries and the words the context (i-t).
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from ...options import Rule
from ..encoded import Encoded
from .base import EPSILON, SimilarityHead, l2_normalize, masked_mean, split_for_cache
from .cross_attention import cross_attention
from .text_groups import group_by_length, ungroup


def log_sum_exp(relevance: Tensor, mask: Tensor, sharpness: float) -> Tensor:
    """Smooth maximum over the last dimension, log(sum(exp(sharpness * r))) / sharpness.

    Args:
        relevance: (..., length).
        mask: True for real tokens, broadcastable to `relevance`.
        sharpness: lambda_lse of the paper.

    Returns:
        (...)
    """
    return (sharpness * relevance).masked_fill(~mask, -torch.inf).logsumexp(-1) / sharpness


def average(relevance: Tensor, mask: Tensor, sharpness: float) -> Tensor:
    """Mean over the last dimension.

    Args:
        relevance: (..., length).
        mask: True for real tokens, broadcastable to `relevance`.
        sharpness: Not used.

    Returns:
        (...)
    """
    return masked_mean(relevance, mask, dim=-1)


AGGREGATIONS = {"lse": log_sum_exp, "mean": average}


class _Scan(SimilarityHead):
    """Base of both directions."""

    rules: ClassVar[Mapping[str, Rule]] = {
        "lambda_lse": Rule(
            lambda options: options.aggregation == "lse",
            "only the aggregation lse has a sharpness. Leave it out.",
        )
    }

    def __init__(
        self, hidden_size: int, *, aggregation: str, lambda_softmax: float, lambda_lse: float
    ) -> None:
        super().__init__(hidden_size)
        if aggregation not in AGGREGATIONS:
            raise ValueError(
                f"aggregation must be one of {', '.join(AGGREGATIONS)}, found {aggregation!r}."
            )
        if lambda_lse <= 0:
            raise ValueError(f"lambda_lse must be positive, found {lambda_lse}.")
        self.aggregate = AGGREGATIONS[aggregation]
        self.lambda_softmax = lambda_softmax
        self.lambda_lse = lambda_lse

    def relevance(self, query: Tensor, context: Encoded) -> Tensor:
        """Cosine of each query token and its attended vector.

        Args:
            query: (n_queries, query_length, hidden_size), zeros in padded positions.
            context: Tokens (n_contexts, context_length, hidden_size), zeros in padded positions,
                and their mask.

        Returns:
            (n_contexts, n_queries, query_length)
        """
        attention = cross_attention(query, context, self.lambda_softmax)
        lengths = torch.linalg.vector_norm(query, dim=-1)  # (n_queries, query_length)
        return attention.products() / (attention.norms * lengths).clamp(min=EPSILON)

    def forward(self, image: Encoded, text: Encoded) -> Tensor:
        real = Encoded(self.real_tokens(image), image.mask)
        groups = group_by_length(Encoded(self.real_tokens(text), text.mask))
        n_words = sum(group.words.shape[:2].numel() for group in groups)
        parts = [
            ungroup([self.score(part, group.words) for group in groups], groups)
            for part in split_for_cache(real, n_words * image.mask.shape[1])
        ]
        return torch.cat(parts)  # (n_images, n_texts)

    @abstractmethod
    def pair_vectors(self, image: Encoded, text: Encoded) -> Tensor:
        """A vector of image i with text i whose sum is the AVG score, (n_pairs, hidden_size).

        It is the mean over the query tokens of q_j * v_j, entry by entry, at unit lengths.

        Args:
            image: Tokens (n_pairs, n_regions, hidden_size) and their mask.
            text: Tokens (n_pairs, n_words, hidden_size) and their mask.
        """

    def query_vectors(self, query: Encoded, context: Encoded) -> Tensor:
        """The mean over the tokens of query i of q_j * v_j with context i, (n_pairs, hidden)."""
        tokens = Encoded(self.real_tokens(context), context.mask)
        queries = self.real_tokens(query)  # (n_pairs, query_length, hidden_size)
        attention = cross_attention(queries, tokens, self.lambda_softmax)
        own = attention.weights.diagonal(dim1=0, dim2=2)  # (context_length, query_length, n_pairs)
        attended = torch.einsum("cqn,nch->nqh", own, tokens.tokens.to(own.dtype))
        products = l2_normalize(queries) * l2_normalize(attended)  # (n_pairs, query_length, hidden)
        return masked_mean(products, query.mask.unsqueeze(-1), dim=1)

    @abstractmethod
    def score(self, image: Encoded, words: Tensor) -> Tensor:
        """Score all images against texts of one length.

        Args:
            image: Tokens (n_images, n_regions, hidden_size), zeros where padded, and their mask.
            words: (n_texts, n_words, hidden_size).

        Returns:
            (n_images, n_texts)
        """


class ScanTextToImage(_Scan):
    """Each word attends to the regions (Text-Image Stacked Cross Attention).

    Args:
        hidden_size: Width of the tokens.
        aggregation: "lse" or "mean" over the words.
        lambda_softmax: Inverse temperature of the attention; 9 in the paper.
        lambda_lse: Sharpness of "lse"; 6 in the paper.

    Raises:
        ValueError: If the aggregation is unknown or `lambda_lse` is not positive.
    """

    def __init__(
        self,
        hidden_size: int,
        *,
        aggregation: str = "lse",
        lambda_softmax: float = 9.0,
        lambda_lse: float = 6.0,
    ) -> None:
        super().__init__(
            hidden_size,
            aggregation=aggregation,
            lambda_softmax=lambda_softmax,
            lambda_lse=lambda_lse,
        )

    def pair_vectors(self, image: Encoded, text: Encoded) -> Tensor:
        return self.query_vectors(text, image)

    def score(self, image: Encoded, words: Tensor) -> Tensor:
        relevance = self.relevance(words, image)  # (n_images, n_texts, n_words)
        real = words.new_ones(words.shape[:2], dtype=torch.bool)
        return self.aggregate(relevance, real, self.lambda_lse)  # (n_images, n_texts)


class ScanImageToText(_Scan):
    """Each region attends to the words (Image-Text Stacked Cross Attention).

    Args:
        hidden_size: Width of the tokens.
        aggregation: "lse" or "mean" over the regions.
        lambda_softmax: Inverse temperature of the attention; 4 in the paper.
        lambda_lse: Sharpness of "lse"; 5 in the paper for Flickr30K, 20 for COCO.

    Raises:
        ValueError: If the aggregation is unknown or `lambda_lse` is not positive.
    """

    def __init__(
        self,
        hidden_size: int,
        *,
        aggregation: str = "lse",
        lambda_softmax: float = 4.0,
        lambda_lse: float = 5.0,
    ) -> None:
        super().__init__(
            hidden_size,
            aggregation=aggregation,
            lambda_softmax=lambda_softmax,
            lambda_lse=lambda_lse,
        )

    def pair_vectors(self, image: Encoded, text: Encoded) -> Tensor:
        return self.query_vectors(image, text)

    def score(self, image: Encoded, words: Tensor) -> Tensor:
        real = words.new_ones(words.shape[:2], dtype=torch.bool)
        relevance = self.relevance(image.tokens, Encoded(words, real))
        return self.aggregate(relevance, image.mask, self.lambda_lse).T  # (n_images, n_texts)
