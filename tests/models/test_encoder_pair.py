"""A pair of encoders: its vectors, its names, and what is refused before work begins."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import (
    BertConfig,
    BertModel,
    CLIPModel,
    ResNetModel,
    SegformerConfig,
    SegformerModel,
    ViTImageProcessorPil,
)

from noisy_xmodal import CommonSpaceConfig, EncoderPairConfig, EncoderPairModel
from noisy_xmodal.evaluation.scoring import score_matrix
from noisy_xmodal.models.encoder_pair.names import encoder_names, load_encoder_pair
from noisy_xmodal.models.two_towers import NotTwoTowersError, load_two_towers
from tiny_backbones import CAPTIONS, RESNET, TEXT, backbone_config, pictures, save_encoders

BERT = BertConfig(**TEXT)
IDS = torch.tensor([[1, 7, 9, 2], [1, 5, 2, 0]])
MASK = (IDS > 0).long()


@pytest.fixture
def encoders(tmp_path: Path) -> tuple[str, str]:
    return save_encoders(tmp_path)


def pair(**fields: Any) -> EncoderPairModel:
    return EncoderPairModel(EncoderPairConfig(vision_config=RESNET, text_config=BERT, **fields))


def test_vectors_are_the_pooled_map_and_the_mean_of_the_real_tokens() -> None:
    model, pixels = pair().eval(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        maps = model.vision_model(pixels).last_hidden_state  # (2, 6, height, width)
        states = model.text_model(IDS, MASK).last_hidden_state  # (2, 4, 16)
        torch.testing.assert_close(model.get_image_features(pixels), maps.mean(dim=(2, 3)))
        texts = model.get_text_features(IDS, MASK)
    torch.testing.assert_close(texts, torch.stack([states[0].mean(0), states[1, :3].mean(0)]))
    assert model.config.vector_sizes == (6, 16)
    assert not hasattr(model, "logit_scale")
    with pytest.raises(ValueError, match="no joint space: set `projection_size`"):
        model(IDS, pixels, MASK)


def test_projections_give_unit_vectors_and_logits() -> None:
    model, pixels = pair(projection_size=5, logit_scale_init=1.0).eval(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        output = model(IDS, pixels, MASK)
        pooled = model.vision_model(pixels).pooler_output.flatten(1)
        expected = functional.normalize(pooled @ model.visual_projection.weight.T, dim=-1)
    torch.testing.assert_close(output.image_embeds, expected)  # (2, 5)
    torch.testing.assert_close(output.text_embeds.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(output.logits_per_image, output.scores * torch.tensor(1.0).exp())
    assert model.config.vector_sizes == (5, 5)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("imagenet+minilm", ("imagenet", "minilm")),
        ("a/b + c", ("a/b", "c")),
        ("openai/clip-vit-base-patch32", None),
    ],
)
def test_a_plus_sign_separates_two_names(name: str, names: tuple[str, str] | None) -> None:
    assert encoder_names(name) == names


@pytest.mark.parametrize("name", ["imagenet+", "+minilm", "a+b+c"])
def test_a_name_that_is_no_pair_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"is no pair of encoders: write VISION\+TEXT"):
        encoder_names(name)


def test_a_folder_with_a_plus_sign_is_one_model(tmp_path: Path) -> None:
    (tmp_path / "a+b").mkdir()
    assert encoder_names(tmp_path / "a+b") is None


def test_a_pair_by_names_has_pretrained_weights_and_is_saved_as_two_towers(
    encoders: tuple[str, str], tmp_path: Path
) -> None:
    model, processor = load_encoder_pair(*encoders, projection_size=5)
    assert not model.training
    vision, text = ResNetModel.from_pretrained(encoders[0]), BertModel.from_pretrained(encoders[1])
    for part, expected in ((model.vision_model, vision), (model.text_model, text)):
        state = expected.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in part.state_dict().items())
    assert processor.tokenizer.model_max_length == 12  # the positions of the text model

    model.save_pretrained(tmp_path / "pair")
    processor.save_pretrained(tmp_path / "pair")
    loaded = load_two_towers(tmp_path / "pair")
    scores = [score_matrix(*one, pictures(2), CAPTIONS) for one in ((model, processor), loaded)]
    assert scores[0].shape == (2, 5)
    assert (scores[0] == scores[1]).all()


def test_a_pair_without_projections_is_no_two_tower_model(
    encoders: tuple[str, str], tmp_path: Path
) -> None:
    for part in load_encoder_pair(*encoders):
        part.save_pretrained(tmp_path / "pair")
    with pytest.raises(NotTwoTowersError, match="EncoderPairModel"):
        load_two_towers(tmp_path / "pair")


def test_a_pair_is_part_of_another_config(tmp_path: Path) -> None:
    config = CommonSpaceConfig(backbone_config=pair().config)
    assert (config.image_size, config.text_size) == (6, 16)
    config.save_pretrained(tmp_path)
    loaded = CommonSpaceConfig.from_pretrained(tmp_path)
    assert loaded.backbone_config.to_dict() == config.backbone_config.to_dict()


def test_of_a_two_tower_model_the_vision_tower_is_used(
    encoders: tuple[str, str], tmp_path: Path
) -> None:
    clip = CLIPModel(backbone_config("clip"))
    clip.save_pretrained(tmp_path / "clip")
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "clip")
    model, _ = load_encoder_pair(str(tmp_path / "clip"), encoders[1])
    weights = clip.vision_model.state_dict()
    for key, value in model.vision_model.state_dict().items():
        assert torch.equal(value, weights[key.removeprefix("vision_model.")])


def test_encoders_that_cannot_work_are_refused(encoders: tuple[str, str], tmp_path: Path) -> None:
    vision, text = encoders
    config = SegformerConfig(
        num_encoder_blocks=1, depths=[1], sr_ratios=[1], hidden_sizes=[4], strides=[4],
        patch_sizes=[7], num_attention_heads=[1], mlp_ratios=[1],
    )  # fmt: skip
    SegformerModel(config).save_pretrained(tmp_path / "maps")
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "maps")
    with pytest.raises(ValueError, match=r"vision model \(segformer\) has no pooled output"):
        load_encoder_pair(str(tmp_path / "maps"), text)
    BertModel(BERT).save_pretrained(tmp_path / "mute")
    with pytest.raises(OSError, match="mute has no tokenizer"):
        load_encoder_pair(vision, str(tmp_path / "mute"))
    with pytest.raises(OSError, match="text cannot be loaded"):
        load_encoder_pair(text, text)
    with pytest.raises(OSError, match="vision is no text encoder"):
        load_encoder_pair(vision, vision)
