"""Adapters begin as nothing, train alone, and add up to plain weights."""

import sys

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    ResNetConfig,
)

from noisy_xmodal.modules.adapters import (
    adapters_apart,
    add_adapters,
    has_adapters,
    merged_state,
    remove_adapters,
)
from tiny_rcar import TEXT_SIZES

VISION = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION |= {"intermediate_size": 8, "image_size": 16, "patch_size": 8, "projection_dim": 4}


def encoder_and_inputs(kind: str) -> tuple[nn.Module, dict[str, Tensor]]:
    if kind == "bert":
        return BertModel(BertConfig(**TEXT_SIZES)), {"input_ids": torch.arange(10).view(2, 5)}
    pixels = torch.randn(2, 3, 16, 16)
    return CLIPVisionModel(CLIPVisionConfig(**VISION)), {"pixel_values": pixels}


def random_adapters(model: nn.Module) -> None:
    """Give all adapters an effect."""
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            nn.init.normal_(parameter, std=0.3)


@pytest.mark.parametrize("kind", ["bert", "clip"])
def test_adapters_begin_as_nothing_train_alone_and_add_up_to_plain_weights(kind):
    encoder, inputs = encoder_and_inputs(kind)
    encoder.eval()
    plain, before = set(encoder.state_dict()), encoder(**inputs).last_hidden_state
    layers = [
        name
        for name, part in encoder.named_modules()
        if isinstance(part, nn.Linear) and ("encoder.layer." in name or "encoder.layers." in name)
    ]
    add_adapters(encoder, rank=3)
    assert torch.equal(encoder(**inputs).last_hidden_state, before)
    trained = {name for name, part in encoder.named_parameters() if part.requires_grad}
    ends = ("lora_A.default.weight", "lora_B.default.weight")
    assert trained == {f"{layer}.{end}" for layer in layers for end in ends}
    assert encoder.get_parameter(f"{layers[0]}.{ends[0]}").shape[0] == 3

    random_adapters(encoder)
    after = encoder(**inputs).last_hidden_state
    assert not torch.allclose(after, before, atol=1e-2)
    state = merged_state(encoder)
    assert set(state) == plain
    other, _ = encoder_and_inputs(kind)
    other.load_state_dict(state)
    assert torch.allclose(other.eval()(**inputs).last_hidden_state, after, atol=1e-5)

    with adapters_apart(encoder):
        assert set(encoder.state_dict()) == plain
        assert torch.equal(encoder(**inputs).last_hidden_state, before)
    assert torch.equal(encoder(**inputs).last_hidden_state, after)
    remove_adapters(encoder)
    assert not has_adapters(encoder)
    add_adapters(encoder, rank=2)
    assert torch.equal(encoder(**inputs).last_hidden_state, before)


def test_an_encoder_of_convolutions_is_refused():
    config = ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1], layer_type="basic")
    with pytest.raises(ValueError, match="a ResNetModel has no linear layers in its layers"):
        add_adapters(AutoModel.from_config(config), rank=2)


def test_without_peft_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match=r"pip install 'noisy-xmodal\[lora\]', or train"):
        add_adapters(encoder_and_inputs("bert")[0], rank=2)
