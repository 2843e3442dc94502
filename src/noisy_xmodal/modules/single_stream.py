"""A single-stream transformer: self-attention over one sequence of image and text tokens.

Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017. A layer normalises before each
part (Xiong et al., ICML 2020), which trains from scratch without a learning rate warm-up, or after
it, as in BERT (Devlin et al., NAACL 2019), whose layers it can then start from, as in VisualBERT
(Li et al., 2019). Position embeddings, if any, are part of the input tokens.
"""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_layers import GradientCheckpointingLayer

from .dropout import Dropout


class SingleStreamLayer(GradientCheckpointingLayer):
    """Self-attention and a feed-forward network, each with a residual connection and a norm.

    Args:
        hidden_size: Size of a token.
        n_heads: Attention heads.
        intermediate_size: Size of the feed-forward network's hidden layer.
        dropout: Dropout on the output of each part.
        attention_dropout: Dropout on the attention weights.
        layer_norm_eps: Added to variances.
        norm_first: Whether each part normalises its input; False, as in BERT, the sum of its input
            and its output.
    """

    def __init__(
        self,
        hidden_size: int,
        n_heads: int,
        intermediate_size: int,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        layer_norm_eps: float = 1e-12,
        norm_first: bool = True,
    ) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm_first = norm_first
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
        self.dropout = Dropout(dropout)

    @torch.no_grad()
    def load_bert_layer(self, layer: nn.Module) -> None:
        """Copy the weights of a layer of a BERT with the same sizes; needs `norm_first=False`.

        Args:
            layer: A layer of `BertModel`, or of a model with the same parts, such as RoBERTa.
        """
        for own, theirs in (
            (self.attention_output, "attention.output.dense"),
            (self.attention_norm, "attention.output.LayerNorm"),
            (self.feed_forward[0], "intermediate.dense"),
            (self.feed_forward[2], "output.dense"),
            (self.feed_forward_norm, "output.LayerNorm"),
        ):
            own.load_state_dict(layer.get_submodule(theirs).state_dict())
        for kind, parameter in self.query_key_value.named_parameters():
            names = (f"attention.self.{part}.{kind}" for part in ("query", "key", "value"))
            parameter.copy_(torch.cat([layer.get_parameter(name) for name in names]))

    def project(self, tokens: Tensor) -> Tensor:
        """Queries, keys and values of tokens (..., hidden), each independent of other tokens."""
        return self.query_key_value(self._attention_input(tokens))  # (..., 3 * hidden)

    def _attention_input(self, tokens: Tensor) -> Tensor:
        return self.attention_norm(tokens) if self.norm_first else tokens

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
        if self.norm_first:
            return tokens + self.dropout(self.feed_forward(self.feed_forward_norm(tokens)))
        tokens = self.attention_norm(tokens)
        return self.feed_forward_norm(tokens + self.dropout(self.feed_forward(tokens)))

    def _project_few(self, tokens: Tensor, n_queries: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of the first tokens, keys and values of all tokens."""
        inputs = self._attention_input(tokens)
        size = tokens.shape[-1]
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        query = functional.linear(inputs[:, :n_queries], weight[:size], bias[:size])
        key, value = functional.linear(inputs, weight[size:], bias[size:]).chunk(2, dim=-1)
        return query, key, value

    def _by_head(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)


class SingleStreamEncoder(nn.Module):
    """A stack of `SingleStreamLayer`s, and a last layer norm if the layers normalise first.

    Args:
        layers: The layers, at least one.
    """

    def __init__(self, layers: Iterable[SingleStreamLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        norm = self.first.attention_norm
        self.norm = (
            nn.LayerNorm(norm.normalized_shape, eps=norm.eps)
            if self.first.norm_first
            else nn.Identity()
        )

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
