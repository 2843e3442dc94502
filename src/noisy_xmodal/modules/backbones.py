"""The transformers models inside encoders: their sizes, limits and pretrained weights."""

from pathlib import Path

from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from ..entry.errors import load_part
from .adapters import adapters_apart


def output_size(config: PreTrainedConfig) -> int:
    """Size of the output vectors of a vision or text model.

    Args:
        config: Its configuration.

    Raises:
        ValueError: If the configuration names no such size.
    """
    sizes = getattr(config, "hidden_sizes", None)
    size: int | None = sizes[-1] if sizes else getattr(config, "hidden_size", None)
    if size is None:
        raise ValueError(
            f"a model of the type {config.model_type!r} has no output of one size (`hidden_size` "
            "in its config): take another encoder."
        )
    return size


def length_limit(model: nn.Module) -> int | None:
    """Maximum number of tokens that a text model reads; None without a limit.

    Args:
        model: A text model of transformers.
    """
    limit: int | None = getattr(model.config, "max_position_embeddings", None)
    if limit is None or limit < 1:  # XLNet has -1
        return None
    table = getattr(model, "embeddings", None)
    padding = getattr(getattr(table, "position_embeddings", None), "padding_idx", None)
    # RoBERTa counts positions from padding_idx + 1.
    return limit if padding is None else limit - padding - 1


def load_backbone(encoder: nn.Module, name: str | Path | None, config: PreTrainedConfig) -> None:
    """Load pretrained weights into the backbone of an encoder.

    Args:
        encoder: A module with a `backbone`, such as a `VisionEncoder`.
        name: Name or folder of a pretrained model of the config's type; None loads nothing.
        config: The configuration of the backbone.

    Raises:
        ValueError: If the pretrained model is of another type or depth.
    """
    if name is not None:
        pretrained = pretrained_backbone(name, config)
        with adapters_apart(encoder):
            encoder.get_submodule("backbone").load_state_dict(pretrained.state_dict())


def pretrained_backbone(name: str | Path, config: PreTrainedConfig) -> PreTrainedModel:
    """Load a pretrained encoder.

    Args:
        name: Name or folder of a pretrained model of the config's type.
        config: The configuration of the encoder.

    Raises:
        ValueError: If the pretrained model is of another type or depth.
    """
    pretrained_config = load_part(AutoConfig, name)
    for field in ("model_type", "num_hidden_layers"):
        actual, expected = getattr(pretrained_config, field, None), getattr(config, field, None)
        if actual != expected:
            raise ValueError(
                f"{name} has the {field} {actual!r} and the model's config {expected!r}: build the "
                "model with AutoConfig.from_pretrained of the same name."
            )
    return load_part(AutoModel, name, config=config, use_safetensors=True)
