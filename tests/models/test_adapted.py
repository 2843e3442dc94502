"""Encoders trained by adapters: checkpoints have these, saved models have plain weights."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from safetensors import safe_open
from torch import nn
from transformers import AutoModel, BertConfig, BertModel

from noisy_xmodal import MatchingModel, NcrConfig, NcrModel
from tiny_rcar import TEXT_SIZES

BERT = TEXT_SIZES | {"num_hidden_layers": 2}


def adapted_config(kind: Any = NcrConfig, **options: Any) -> Any:
    fields = {"hidden_size": 8, "similarity": "cosine", "region_size": 4, "lora_rank": 2}
    fields |= {"text_config": BertConfig(**BERT), "text_training": "lora"}
    return kind(**fields | options)


@pytest.fixture
def model() -> NcrModel:
    """Two peers whose adapters have an effect."""
    model = NcrModel(adapted_config()).eval()
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            nn.init.normal_(parameter, std=0.3)
    return model


def vectors(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval().get_text_features(input_ids=torch.arange(10).view(2, 5))


def weight_names(folder: Path) -> set[str]:
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        return set(file.offset_keys())


def test_a_new_model_begins_with_its_encoder_and_each_peer_has_adapters_of_its_own(tmp_path):
    pretrained = BertModel(BertConfig(**BERT))
    pretrained.save_pretrained(tmp_path)
    model = NcrModel(adapted_config())
    for peer in model.peers:
        peer.load_backbones(text=tmp_path)
        inputs = {"input_ids": torch.arange(10).view(2, 5)}
        with torch.no_grad():
            ours = peer.text_encoder.backbone.eval()(**inputs).last_hidden_state
            assert torch.equal(ours, pretrained.eval()(**inputs).last_hidden_state)
    name = "text_encoder.backbone.encoder.layer.1.output.dense.lora_A.default.weight"
    a, b = (peer.get_parameter(name) for peer in model.peers)
    assert a.shape == (2, 8)
    assert not torch.equal(a, b)
    trained = [name for name, part in model.named_parameters() if part.requires_grad]
    assert {"lora" in name for name in trained if "backbone" in name} == {True}
    assert "peer_a.text_encoder.projection.weight" in trained
    assert "peer_b.image_encoder.projection.weight" in trained


def test_a_checkpoint_loads_with_its_adapters(model, tmp_path):
    model.save_pretrained(tmp_path, merge_adapters=False)
    loaded = NcrModel.from_pretrained(tmp_path)
    assert loaded.config.text_training == "lora"
    weights = loaded.state_dict()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, weights[name]), name
    assert torch.equal(vectors(loaded), vectors(model))
    flags = {name: part.requires_grad for name, part in model.named_parameters()}
    assert flags == {name: part.requires_grad for name, part in loaded.named_parameters()}
    with pytest.raises(ValueError, match="a checkpoint with adapters, and `vision_training` or"):
        NcrModel.from_pretrained(tmp_path, text_training="full")


def test_a_saved_model_has_plain_weights_and_needs_no_peft(model, tmp_path, monkeypatch):
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    expected = vectors(model)
    model.save_pretrained(tmp_path / "both")
    model.peer_b.save_pretrained(tmp_path / "b")
    assert model.config.text_training == "lora"
    assert all(torch.equal(before[n], weight) for n, weight in model.state_dict().items())
    plain = NcrModel(adapted_config(text_training="full", lora_rank=8))
    assert weight_names(tmp_path / "both") == set(plain.state_dict())
    config = json.loads((tmp_path / "both/config.json").read_text())
    assert config.get("text_training", "full") == "full"

    monkeypatch.setitem(sys.modules, "peft", None)
    loaded = AutoModel.from_pretrained(tmp_path / "both")
    assert torch.allclose(vectors(loaded), expected, atol=1e-5)
    peer = MatchingModel.from_pretrained(tmp_path / "b")
    assert torch.allclose(vectors(peer), vectors(model.peer_b), atol=1e-5)
    with pytest.raises(ValueError, match="LoRA needs the package peft"):
        NcrModel.from_pretrained(tmp_path / "both", text_training="lora")


def test_plain_weights_can_be_trained_on_by_new_adapters(model, tmp_path):
    model.save_pretrained(tmp_path)
    again = NcrModel.from_pretrained(tmp_path, text_training="lora", lora_rank=3)
    assert torch.allclose(vectors(again), vectors(model), atol=1e-5)
    frozen = [not p.requires_grad for n, p in again.named_parameters() if "base_layer" in n]
    assert all(frozen)
    assert len(frozen) == 2 * 2 * 6 * 2, "peers, layers, linear layers, weight and bias"
    again.save_pretrained(tmp_path / "again")
    saved = NcrModel.from_pretrained(tmp_path / "again")
    assert torch.allclose(vectors(saved), vectors(model), atol=1e-5)


def test_a_rank_without_adapters_and_an_impossible_one_are_refused():
    with pytest.raises(ValueError, match="`lora_rank` is 2: no encoder is trained by adapters"):
        adapted_config(text_training="full")
    with pytest.raises(StrictDataclassClassValidationError, match="`lora_rank` must be at least"):
        adapted_config(lora_rank=0)
