"""The last layers of a BERT apart from the others, which stay a text encoder.

The layers below may be frozen and their outputs kept; the last ones are `SingleStreamLayer`s with
the same weights, which compute the same.
"""

from collections.abc import Sequence
from typing import Any, cast

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from .single_stream import SingleStreamEncoder, SingleStreamLayer

#: Types of text encoders with the layers of BERT.
_BERTS = ("bert", "roberta", "xlm-roberta", "camembert")


def has_bert_layers(config: Any) -> bool:
    """Whether the layers of a text encoder compute what a `SingleStreamLayer` can.

    Args:
        config: Configuration of the text encoder.
    """
    return config.model_type in _BERTS and getattr(config, "hidden_act", None) == "gelu"


def without_last_layers(config: Any, n_layers: int) -> PreTrainedConfig:
    """The configuration of a text encoder without its last layers.

    Args:
        config: Configuration of the whole text encoder.
        n_layers: Number of last layers.
    """
    n_kept = config.num_hidden_layers - n_layers
    return type(config).from_dict(config.to_dict() | {"num_hidden_layers": n_kept})


def last_layers(config: Any, n_layers: int) -> SingleStreamEncoder:
    """New layers of the kind and the sizes of a text encoder's last ones.

    Args:
        config: Configuration of the text encoder, see `has_bert_layers`.
        n_layers: Number of layers, at least 1.
    """
    return SingleStreamEncoder(
        SingleStreamLayer(
            config.hidden_size,
            config.num_attention_heads,
            config.intermediate_size,
            config.hidden_dropout_prob,
            config.attention_probs_dropout_prob,
            config.layer_norm_eps,
            norm_first=False,
        )
        for _ in range(n_layers)
    )


def load_divided(below: PreTrainedModel, top: Sequence[nn.Module], bert: PreTrainedModel) -> None:
    """Copy the weights of a whole text encoder into its two parts.

    Args:
        below: The text encoder without its last layers.
        top: The last layers.
        bert: The whole text encoder.
    """
    weights = bert.state_dict()
    below.load_state_dict({name: weights[name] for name in below.state_dict()})
    layers = list(bert.get_submodule("encoder.layer").children())
    for own, theirs in zip(top, layers[len(layers) - len(top) :], strict=True):
        cast(SingleStreamLayer, own).load_bert_layer(theirs)
