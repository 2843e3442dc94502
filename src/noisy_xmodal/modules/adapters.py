"""Low-rank adapters (LoRA) in a pretrained encoder, by the package peft.

The weights of the encoder stay fixed. Every linear layer of its attention and feed-forward networks
gets the product of two small matrices, which is trained and added to its weights. The product is 0
at first, so the encoder begins as it was.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, section 4.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from torch import Tensor, nn

from .encoder_layers import is_in_layer

#: Factor of the product in the weights, times the rank.
_ALPHA = 2
#: Name that peft has for the adapters of a model if it has no other.
_NAME = "default"


def check_peft() -> None:
    """Refuse to adapt an encoder without peft.

    Raises:
        ValueError: If it is not installed.
    """
    if find_spec("peft") is None:
        raise ValueError(
            "LoRA needs the package peft: pip install 'noisy-xmodal[lora]', or train the encoder "
            "in another way, full or frozen."
        )


def add_adapters(encoder: nn.Module, rank: int) -> None:
    """Freeze an encoder and add adapters, in place.

    Args:
        encoder: An encoder without adapters.
        rank: Size of the small matrices.

    Raises:
        ValueError: If peft is not installed, or the encoder has no linear layers to adapt.
    """
    check_peft()
    names = [
        name
        for name, part in encoder.named_modules()
        if type(part) is nn.Linear and is_in_layer(name)
    ]
    if not names:
        raise ValueError(
            f"a {type(encoder).__name__} has no linear layers in its layers, which LoRA adapts: "
            "train it in another way, full or frozen."
        )
    import peft

    peft.inject_adapter_in_model(
        peft.LoraConfig(r=rank, lora_alpha=_ALPHA * rank, target_modules=names), encoder, _NAME
    )
    for layer in _adapted_layers(encoder).values():
        for part in (layer.lora_A, layer.lora_B):  # else transformers would initialise them again
            for module in part.modules():
                module._is_hf_initialized = True
            for parameter in part.parameters():
                parameter._is_hf_initialized = True


def train_adapters_alone(encoder: nn.Module) -> None:
    """Freeze all weights of an encoder but its adapters and, in a SigLIP, its pooling `head`."""
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(".lora_" in name or name.startswith("head."))


def has_adapters(model: nn.Module) -> bool:
    """Whether a model, or a part of it, has adapters."""
    return bool(_adapted_layers(model))


def remove_adapters(model: nn.Module) -> None:
    """Take all adapters out of a model, in place and without adding them to the weights."""
    for name, layer in _adapted_layers(model).items():
        model.set_submodule(name, layer.base_layer)
    for part in model.modules():
        vars(part).pop("peft_config", None)


@contextmanager
def adapters_apart(model: nn.Module) -> Iterator[None]:
    """Take the adapters out of a model for a while, in which its weights have their plain names."""
    layers = _adapted_layers(model)
    for name, layer in layers.items():
        model.set_submodule(name, layer.base_layer)
    try:
        yield
    finally:
        for name, layer in layers.items():
            model.set_submodule(name, layer)


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """The weights of a model by their plain names, with its adapters added to them."""
    layers = _adapted_layers(model)
    with adapters_apart(model):
        state: dict[str, Tensor] = dict(model.state_dict())
    for name, layer in layers.items():
        state[f"{name}.weight"] = state[f"{name}.weight"] + layer.get_delta_weight(_NAME)
    return state


def _adapted_layers(model: nn.Module) -> dict[str, Any]:
    return {name: part for name, part in model.named_modules() if hasattr(part, "lora_A")}
