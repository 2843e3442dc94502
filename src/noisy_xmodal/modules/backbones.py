"""Pretrained weights for the transformers models inside encoders."""

from pathlib import Path

from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig

from ..entry.errors import load_part


def load_backbone(encoder: nn.Module, name: str | Path | None, config: PreTrainedConfig) -> None:
    """Load pretrained weights into the backbone of an encoder.

    Args:
        encoder: A `VisionEncoder` or `TransformerTextEncoder`.
        name: Name or folder of a pretrained model of the config's type; None loads nothing.
        config: The configuration of the backbone.

    Raises:
        ValueError: If the pretrained model is of another type or depth.
    """
    if name is None:
        return
    pretrained_config = load_part(AutoConfig, name)
    for field in ("model_type", "num_hidden_layers"):
        actual, expected = getattr(pretrained_config, field, None), getattr(config, field, None)
        if actual != expected:
            raise ValueError(
                f"{name} has the {field} {actual!r} and the model's config {expected!r}: build the "
                "model with AutoConfig.from_pretrained of the same name."
            )
    pretrained = load_part(AutoModel, name, config=config)
    encoder.get_submodule("backbone").load_state_dict(pretrained.state_dict())
