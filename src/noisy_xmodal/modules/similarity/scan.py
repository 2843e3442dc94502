"""SCAN: stacked cross attention, a score without weights of its own.

Lee et al., "Stacked Cross Attention for Image-Text Matching", ECCV 2018, section 3.1.
After the attention of `cross_attention.py` every query token q_j has an attended vector v_j:

    r_j = cos(q_j, v_j)                                              relevance
    LSE score = log(sum_j exp(lambda_lse r_j)) / lambda_lse          "lse"
    AVG score = mean_j r_j                                           "mean"

ScanTextToImage: the words are the queries and the regions their context (t-i in the paper's
tables). ScanImageToText: the other way round (i-t).
"""

import torch
from torch import Tensor

from ..encoded import Encoded
from .base import EPSILON, SimilarityHead, masked_mean
from .cross_attention import cross_attention


def log_sum_exp(relevance: Tensor, mask: Tensor, sharpness: float) -> Tensor:
    """Smooth maximum over the last dimension, log(sum(exp(sharpness * r))) / sharpness.

    Args:
        relevance: (..., length).
        mask: True where real, broadcastable to `relevance`.
        sharpness: lambda_lse of the paper.

    Returns:
        (...)
    """
    return (sharpness * relevance).masked_fill(~mask, -torch.inf).logsumexp(-1) / sharpness


def average(relevance: Tensor, mask: Tensor, sharpness: float) -> Tensor:
    """Mean over the last dimension; `sharpness` plays no part.

    Args:
        relevance: (..., length).
        mask: True where real, broadcastable to `relevance`.
        sharpness: Not used.

    Returns:
        (...)
    """
    return masked_mean(relevance, mask, dim=-1)


AGGREGATIONS = {"lse": log_sum_exp, "mean": average}


class _Scan(SimilarityHead):
    """The part that both directions share."""

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

    def score(self, query: Encoded, context: Encoded) -> Tensor:
        """Relevance of each query token to its attended vector, aggregated.

        Args:
            query: Tokens (n_queries, query_length, hidden_size) and their mask.
            context: Tokens (n_contexts, context_length, hidden_size) and their mask.

        Returns:
            (n_contexts, n_queries)
        """
        tokens = self.real_tokens(query)
        attention = cross_attention(
            tokens, self.real_tokens(context), context.mask, self.lambda_softmax
        )
        lengths = torch.linalg.vector_norm(tokens, dim=-1)  # (n_queries, query_length)
        norms = (attention.norms * lengths).clamp(min=EPSILON)
        relevance = attention.products / norms  # (n_contexts, n_queries, query_length)
        return self.aggregate(relevance, query.mask, self.lambda_lse)  # (n_contexts, n_queries)


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

    def forward(self, image: Encoded, text: Encoded) -> Tensor:
        return self.score(query=text, context=image)  # (n_images, n_texts)


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

    def forward(self, image: Encoded, text: Encoded) -> Tensor:
        return self.score(query=image, context=text).T  # (n_images, n_texts)
