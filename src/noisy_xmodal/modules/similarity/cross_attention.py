"""The parameter-free cross attention of SCAN ("clipped_l2norm"), also used by SGRAF.

Lee et al., "Stacked Cross Attention for Image-Text Matching", ECCV 2018, section 3.1.
Query tokens attend to context tokens: words to regions (text-image), or regions to words
(image-text). For one query sequence q_1..q_m and one context sequence c_1..c_n:

    s_ij = leaky_relu(c_i . q_j)                        affinity
    s'_ij = s_ij / sqrt(sum_j s_ij^2)                   each context token, over the QUERY tokens
    a_ij = exp(smoothing s'_ij) / sum_i exp(...)        each query token, over the CONTEXT tokens
    v_j = sum_i a_ij c_i                                the attended vector of query token j

The paper clips affinities at zero; its published code, followed here, uses a leaky ReLU with slope
0.1.

The norm of an attended vector follows from the Gram matrix G = C C' of the context,
|v_j|^2 = a_j' G a_j, so the scores of SCAN need no (pairs, tokens, hidden_size) tensor. IMRAM has
queries that differ from context to context, and weighs the context by their affinities.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..encoded import Encoded
from .base import EPSILON, l2_normalize, masked_softmax

NEGATIVE_SLOPE = 0.1


class CrossAttention(NamedTuple):
    """Attention of every query sequence over every context sequence.

    Attributes:
        weights: a_ij, (n_contexts, context_length, n_queries, query_length); sums to 1 over the
            real context tokens, zero at padded ones.
        affinity: s_ij before the leaky ReLU, of the same shape.
        norms: |v_j|, at least `EPSILON`, (n_contexts, n_queries, query_length).
    """

    weights: Tensor
    affinity: Tensor
    norms: Tensor

    def products(self) -> Tensor:
        """q_j . v_j, (n_contexts, n_queries, query_length)."""
        return (self.weights * self.affinity).sum(1)


def cross_attention(query: Tensor, context: Encoded, smoothing: float) -> CrossAttention:
    """Attend from all query sequences to all context sequences.

    Args:
        query: (n_queries, query_length, hidden_size), zeros in padded positions, which add nothing
            to the norm over the query tokens.
        context: Tokens (n_contexts, context_length, hidden_size), zeros in padded positions, and
            their mask.
        smoothing: Inverse temperature of the softmax.

    Returns:
        The attention; its entries at padded query tokens are finite and arbitrary.
    """
    # Always in full precision: the squares below could cancel half of the mantissa.
    dtype = torch.promote_types(torch.promote_types(query.dtype, context.tokens.dtype), torch.float)
    with torch.autocast(query.device.type, enabled=False):
        query, real = query.to(dtype), Encoded(context.tokens.to(dtype), context.mask)
        flat = real.tokens @ query.flatten(0, 1).T  # (n_contexts, length, n_queries * query_length)
        return weigh_context(flat.unflatten(-1, query.shape[:2]), real, smoothing)


def weigh_context(affinity: Tensor, context: Encoded, smoothing: float) -> CrossAttention:
    """The attention that follows from affinities.

    Args:
        affinity: s_ij before the leaky ReLU, (n_contexts, context_length, n_queries, query_length),
            zeros for padded query tokens.
        context: See `cross_attention`.
        smoothing: Inverse temperature of the softmax.
    """
    tokens, mask = context
    scaled = l2_normalize(functional.leaky_relu(affinity, NEGATIVE_SLOPE), dim=-1)
    weights = masked_softmax(smoothing * scaled, mask[:, :, None, None], dim=1)
    gram = tokens @ tokens.transpose(1, 2)  # (n_contexts, context_length, context_length)
    mixed = (gram @ weights.flatten(2)).view_as(weights)
    squares = (weights * mixed).sum(1)  # (n_contexts, n_queries, query_length)
    # The square of a zero vector can be negative after rounding, and the root has an infinite
    # slope at zero.
    return CrossAttention(weights, affinity, torch.sqrt(squares.clamp(min=EPSILON**2)))
