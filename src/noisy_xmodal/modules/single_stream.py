"""A single-stream transformer: self-attention over one sequence of image and text tokens.

Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017, with normalisation before each
part (Xiong et al., ICML 2020), which trains from scratch without a learning rate warm-up. Position
embeddings, if any, are part of the input tokens.
"""

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_layers import GradientCheckpointingLayer


class SingleStreamLayer(GradientCheckpointingLayer):
    """Pre-norm self-attention and feed-forward network, each with a residual connection.

    Args:
        hidden_size: Size of a token.
        n_heads: Attention heads.
        intermediate_size: Size of the feed-forward network's hidden layer.
        dropout: Dropout on the output of each part.
        attention_dropout: Dropout on the attention weights.
        layer_norm_eps: Added to variances.
    """

    def __init__(
        self,
        hidden_size: int,
        n_heads: int,
        intermediate_size: int,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        layer_norm_eps: float = 1e-12,
    ) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attention_dropout = attention_dropout
        self.attention_norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.query_key_value = nn.Linear(hidden_size, 3 * hidden_size)
        self.attention_output = nn.Linear(hidden_size, hidden_size)
        self.feed_forward_norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.feed_forward = nn.Sequential(
            nn.Linear(hidden_size, intermediate_size),
            nn.GELU(),
            nn.Linear(intermediate_size, hidden_size),
        )
        self.dropout = nn.Dropout(dropout)

    def project(self, tokens: Tensor) -> Tensor:
        """Queries, keys and values of tokens (..., hidden), each independent of other tokens."""
        return self.query_key_value(self.attention_norm(tokens))  # (..., 3 * hidden)

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        n_queries: int | None = None,
        projected: Tensor | None = None,
    ) -> Tensor:
        """Apply the layer.

        Args:
            tokens: (n, length, hidden).
            mask: True for real tokens, (n, length); None if all are real.
            n_queries: Compute only the first n_queries tokens, which attend to all tokens.
            projected: Output of `project` for the tokens, if it is already computed.

        Returns:
            (n, n_queries or length, hidden).
        """
        if projected is not None:
            query, key, value = projected.chunk(3, dim=-1)  # (n, length, hidden) each
            query = query[:, :n_queries]
        elif n_queries is None:
            query, key, value = self.project(tokens).chunk(3, dim=-1)
        else:
            query, key, value = self._project_few(tokens, n_queries)
        tokens = tokens[:, :n_queries]
        mixed = functional.scaled_dot_product_attention(
            self._by_head(query),
            self._by_head(key),
            self._by_head(value),
            attn_mask=None if mask is None else mask[:, None, None, :],
            dropout_p=self.attention_dropout if self.training else 0.0,
        )  # (n, heads, n_queries, hidden / heads)
        mixed = mixed.transpose(1, 2).flatten(2)  # (n, n_queries, hidden)
        tokens = tokens + self.dropout(self.attention_output(mixed))
        return tokens + self.dropout(self.feed_forward(self.feed_forward_norm(tokens)))

    def _project_few(self, tokens: Tensor, n_queries: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of the first tokens, keys and values of all tokens."""
        normalised = self.attention_norm(tokens)
        size = tokens.shape[-1]
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        query = functional.linear(normalised[:, :n_queries], weight[:size], bias[:size])
        key, value = functional.linear(normalised, weight[size:], bias[size:]).chunk(2, dim=-1)
        return query, key, value

    def _by_head(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)


class SingleStreamEncoder(nn.Module):
    """A stack of `SingleStreamLayer`s and a final layer norm.

    Args:
        layers: The layers, at least one.
    """

    def __init__(self, layers: Iterable[SingleStreamLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        norm = self.first.attention_norm
        self.norm = nn.LayerNorm(norm.normalized_shape, eps=norm.eps)

    @property
    def first(self) -> SingleStreamLayer:
        """The first layer."""
        return cast(SingleStreamLayer, self.layers[0])

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        n_outputs: int | None = None,
        projected: Tensor | None = None,
    ) -> Tensor:
        """Encode sequences.

        Args:
            tokens: (n, length, hidden).
            mask: True for real tokens, (n, length); None if all are real.
            n_outputs: Compute only the first n_outputs tokens in the last layer.
            projected: Output of the first layer's `project`, if it is already computed.

        Returns:
            (n, n_outputs or length, hidden).
        """
        last = len(self.layers) - 1
        for number, layer in enumerate(self.layers):
            tokens = layer(
                tokens,
                mask,
                n_outputs if number == last else None,
                projected if number == 0 else None,
            )
        return self.norm(tokens)
