"""Matching models whose network is a pretrained two-tower model of transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModel, AutoProcessor, set_seed

from noisy_xmodal import MatchingConfig, MatchingModel, MatchingProcessor, NcrConfig, NcrModel
from noisy_xmodal.evaluation import store_text_outputs
from noisy_xmodal.models.two_towers import logit_scale_of
from noisy_xmodal.modules.stored_outputs import token_digests
from noisy_xmodal.modules.tower_outputs import (
    NotTwoTowersError,
    inverse_temperature,
    tower_vectors,
    vector_sizes,
)
from tiny_backbones import CAPTIONS, TEXT, WIDTHS, backbone_config, image_processor, pictures
from tiny_backbones import word_tokenizer as tokenizer


def batch(kind: str, n_pairs: int = 4) -> dict[str, Tensor]:
    """Pictures and captions as a backbone reads them."""
    padding = "max_length" if "siglip" in kind else True
    processor = MatchingProcessor(image_processor(kind), tokenizer(), padding)
    return dict(processor(images=pictures(n_pairs), text=CAPTIONS[:n_pairs]))


@pytest.fixture(scope="module", params=WIDTHS)
def ncr(request: pytest.FixtureRequest) -> tuple[str, NcrModel]:
    """Two peers over each kind of backbone, with a temperature of their own."""
    set_seed(0)
    model = NcrModel(NcrConfig(backbone_config=backbone_config(request.param)))
    for peer in model.peers:
        peer.backbone.logit_scale.data.fill_(1.5)
    return request.param, model.eval()


def test_logits_are_those_of_the_backbone(ncr: tuple[str, NcrModel]) -> None:
    kind, model = ncr
    inputs, peer = batch(kind), model.peer_a
    with torch.no_grad():
        found, expected = peer(**inputs), peer.backbone(**inputs)
    torch.testing.assert_close(found.logits_per_image, expected.logits_per_image)
    torch.testing.assert_close(found.image_embeds, expected.image_embeds)
    assert (peer.is_two_tower, peer.config.hidden_size) == (True, WIDTHS[kind])
    assert peer.text_length_limit == TEXT["max_position_embeddings"]


def test_gradients_reach_all_weights_of_the_backbone_and_there_are_no_others(
    ncr: tuple[str, NcrModel],
) -> None:
    kind, model = ncr
    inputs = batch(kind)
    peers = model(**inputs, peer=torch.tensor([0, 0, 1, 1]), few_pairs=True).peers
    own = {name: value[:2] for name, value in inputs.items()}
    torch.testing.assert_close(peers[0].scores, model.peer_a(**own).scores)
    model.zero_grad()
    sum(-output.logits_per_image.log_softmax(1).diagonal().sum() for output in peers).backward()
    weights = dict(model.named_parameters())
    assert [name for name, weight in weights.items() if weight.grad is None] == []
    assert {name.split(".")[1] for name in weights} == {"backbone"}


def test_the_ensemble_averages_the_logits_of_both_backbones(ncr: tuple[str, NcrModel]) -> None:
    kind, model = ncr
    inputs = batch(kind)
    with torch.no_grad():
        both = [peer(**inputs) for peer in model.peers]
        output = model(**inputs)
    torch.testing.assert_close(output.scores, (both[0].scores + both[1].scores) / 2)
    torch.testing.assert_close(output.image_embeds @ output.text_embeds.T, output.scores)
    assert logit_scale_of(model) == pytest.approx(torch.tensor(1.5).exp().item())


def test_it_is_saved_and_loaded_with_its_processor(
    ncr: tuple[str, NcrModel], tmp_path: Path
) -> None:
    kind, model = ncr
    padding = "max_length" if "siglip" in kind else True
    MatchingProcessor(image_processor(kind), tokenizer(), padding).save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    # a trainer reads the weights of a checkpoint by these names
    assert load_file(tmp_path / "model.safetensors").keys() == model.state_dict().keys()
    loaded = AutoModel.from_pretrained(tmp_path)
    inputs = AutoProcessor.from_pretrained(tmp_path)(images=pictures(4), text=CAPTIONS[:4])
    with torch.no_grad():
        expected = model(**batch(kind)).logits_per_image
        torch.testing.assert_close(loaded(**inputs).logits_per_image, expected)


def test_a_new_backbone_begins_as_transformers_begins_it(ncr: tuple[str, NcrModel]) -> None:
    kind, _ = ncr
    set_seed(3)
    expected = AutoModel.from_config(backbone_config(kind)).state_dict()
    set_seed(3)
    found = MatchingModel(MatchingConfig(backbone_config=backbone_config(kind))).backbone
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in expected.items())


@pytest.mark.parametrize(
    "fields",
    [
        {"hidden_size": 8},
        {"similarity": "scan_t2i"},
        {"similarity_options": {"projection": True}},
        {"dropout": 0.1},
        {"image_dropout": 0.1},
        {"region_size": 5},
        {"word_encoder": "words"},
        {"normalize_tokens": False},
        {"logit_scale_init": 1.0},
        {"text_config": backbone_config("clip").text_config},
    ],
    ids=str,
)
def test_fields_of_models_of_parts_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"^`{next(iter(fields))}` is .*eave it out\.$"):
        MatchingConfig(backbone_config=backbone_config("clip"), **fields)


def test_frozen_towers_keep_their_weights_and_what_follows_is_trained(
    ncr: tuple[str, NcrModel],
) -> None:
    kind, _ = ncr
    frozen = {"vision_training": "frozen", "text_training": "frozen"}
    model = MatchingModel(MatchingConfig(backbone_config=backbone_config(kind), **frozen)).train()
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    towers = {name.removeprefix("backbone.").partition(".")[0] for name in trained}
    if "siglip" in kind:
        assert towers == {"vision_model", "text_model", "logit_scale", "logit_bias"}
        assert all(".head." in name or ".logit_" in name for name in trained)
    else:
        assert towers == {"visual_projection", "text_projection", "logit_scale"}
    assert not model.backbone.vision_model.training
    assert model.backbone.training
    model(**batch(kind)).logits_per_image.log_softmax(1).diagonal().sum().backward()
    reached = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert reached == trained


@pytest.mark.parametrize("kind", ["clip", "dual"])
def test_outputs_of_frozen_towers_are_computed_once_and_shared(kind: str, tmp_path: Path) -> None:
    frozen = {"vision_training": "frozen", "text_training": "frozen"}
    config = backbone_config(kind)
    model = NcrModel(NcrConfig(backbone_config=config, **frozen)).eval()
    plain = [MatchingModel(MatchingConfig(backbone_config=config)).eval() for _ in "ab"]
    inputs, (a, b) = batch(kind), model.peers
    for peer, other in zip(model.peers, plain, strict=True):
        other.backbone.load_state_dict(peer.backbone.state_dict())
    assert a.backbone.vision_model is b.backbone.vision_model
    assert a.backbone.text_model is b.backbone.text_model
    assert a.backbone.text_projection is not b.backbone.text_projection
    expected = [one(**inputs).scores for one in plain]
    expected_mean = (expected[0] + expected[1]) / 2

    processor = MatchingProcessor(image_processor(kind), tokenizer())
    store_text_outputs(model, processor, CAPTIONS[:3], tmp_path)
    digests = token_digests(inputs["input_ids"], inputs["attention_mask"])
    assert b.frozen_text_encoder.stored.has(digests).tolist() == [True, True, True, False]
    kept = model.frozen_vision_encoder.backbone(inputs["pixel_values"]).last_hidden_state
    assert kept.shape == (4, 1, 16)
    near = {"atol": 2e-3, "rtol": 0}  # kept in half precision
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).scores, expected_mean, **near)
        pixels = inputs.pop("pixel_values")
        torch.testing.assert_close(model(**inputs, regions=kept).scores, expected_mean, **near)
        model.save_pretrained(tmp_path)
        loaded = NcrModel.from_pretrained(tmp_path)
        assert loaded.peer_a.backbone.text_model is loaded.peer_b.backbone.text_model
        scores = loaded(**inputs, pixel_values=pixels).scores
        torch.testing.assert_close(scores, expected_mean, **near)


def test_adapters_are_added_to_the_towers() -> None:
    pytest.importorskip("peft")
    fields = {"vision_training": "frozen", "text_training": "lora", "lora_rank": 2}
    model = MatchingModel(MatchingConfig(backbone_config=backbone_config("clip"), **fields))
    names = {name for name, weight in model.named_parameters() if weight.requires_grad}
    others = {f"backbone.{n}" for n in ("logit_scale", "visual_projection.weight")}
    assert others < names
    assert all(
        "text_model" in n and "lora_" in n
        for n in names - others - {"backbone.text_projection.weight"}
    )


def test_regions_are_refused(ncr: tuple[str, NcrModel]) -> None:
    with pytest.raises(ValueError, match="reads pixels"):
        ncr[1].peer_a.encode_image(regions=torch.zeros(1, 2, 3))


def test_the_factor_of_a_softmax_stops_at_100_and_its_gradient_does_not() -> None:
    model = torch.nn.Module()
    model.logit_scale = torch.nn.Parameter(torch.tensor([6.0]))
    factor = inverse_temperature(model)
    factor.backward()
    assert factor.item() == pytest.approx(100)
    assert model.logit_scale.grad.item() == pytest.approx(100)
    model.logit_bias = torch.nn.Parameter(torch.tensor([-10.0]))
    assert inverse_temperature(model).item() == pytest.approx(torch.tensor(6.0).exp().item())
    model.temperature = torch.nn.Parameter(torch.tensor(0.1))
    assert inverse_temperature(model).item() == pytest.approx(10)


def test_models_without_one_vector_each_are_refused() -> None:
    class Grids(torch.nn.Module):
        def get_image_features(self, pixel_values: Tensor) -> Tensor:
            return pixel_values

    with pytest.raises(NotTwoTowersError, match=r"Grids gives \(2, 5, 3\)"):
        tower_vectors(Grids(), "image", pixel_values=torch.zeros(2, 5, 3), spatial_shapes=None)
    with pytest.raises(ValueError, match="no learned temperature"):
        logit_scale_of(Grids())
    with pytest.raises(NotTwoTowersError, match="no joint space"):
        vector_sizes(MatchingConfig())
