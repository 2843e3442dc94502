"""Pretrained weights for the transformers models inside encoders."""

from pathlib import Path

from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig

from ..entry.errors import load_part


def load_backbone(encoder: nn.Module, name: str | Path | None, config: PreTrainedConfig) -> None:
    """Replace the fresh weights of an encoder's backbone by pretrained ones.

    Args:
        encoder: A `VisionEncoder` or `TransformerTextEncoder`.
        name: Name or folder of a pretrained model of the config's type; None leaves all as it is.
        config: What the backbone was built from.

    Raises:
        ValueError: If the pretrained model is of another type or depth.
    """
    if name is None:
        return
    found = load_part(AutoConfig, name)
    for field in ("model_type", "num_hidden_layers"):
        has, wants = getattr(found, field, None), getattr(config, field, None)
        if has != wants:
            raise ValueError(
                f"{name} has the {field} {has!r} and the model's config {wants!r}: build the model "
                "with AutoConfig.from_pretrained of the same name."
            )
    pretrained = load_part(AutoModel, name, config=config)
    encoder.get_submodule("backbone").load_state_dict(pretrained.state_dict())
