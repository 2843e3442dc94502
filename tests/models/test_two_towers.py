"""Models of this library and of transformers in one form, against what transformers computes."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoProcessor,
    AutoTokenizer,
    BertConfig,
    BertModel,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from noisy_xmodal import (
    CommonSpaceConfig,
    CommonSpaceModel,
    CommonSpaceProcessor,
    MatchingModel,
    NcrConfig,
    NcrModel,
    RcarModel,
    train_word_tokenizer,
)
from noisy_xmodal.evaluation.scoring import score_matrix
from noisy_xmodal.models.two_towers import (
    NotTwoTowersError,
    load_two_towers,
    logit_scale_of,
    text_padding,
    two_tower_processor,
)
from noisy_xmodal.modules.text_limits import TruncationCount, count_truncated
from tiny_backbones import (
    CAPTIONS,
    WIDTHS,
    backbone_config,
    image_processor,
    pictures,
    save_backbone,
)
from tiny_rcar import rcar_config

LONG = "a red cat " * 9


@pytest.mark.parametrize("kind", WIDTHS)
def test_scores_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    theirs = save_backbone(kind, tmp_path)
    model, processor = load_two_towers(tmp_path)
    assert not model.training
    images = [*pictures(2), pictures(3)[2].convert("L")]
    texts = ["a red cat", LONG, "one bird"]
    scores = score_matrix(model, processor, images, texts, block_size=2)

    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    length = {"truncation": True, "max_length": 12}  # what the config's positions allow
    padding = "max_length" if "siglip" in kind else True
    inputs = dict(tokenizer(texts, padding=padding, return_tensors="pt", **length))
    rgb = [image.convert("RGB") for image in images]
    inputs |= image_processor(kind)(rgb, return_tensors="pt")
    with torch.no_grad():
        logits = theirs(**inputs).logits_per_image  # (3, 3)
    bias = theirs.logit_bias.item() if "siglip" in kind else 0.0
    np.testing.assert_allclose(scores * logit_scale_of(model) + bias, logits, atol=1e-4)
    assert logit_scale_of(model) == pytest.approx(math.exp(1.5))


def test_siglip_is_padded_to_the_full_length_and_clip_to_the_longest(tmp_path: Path) -> None:
    lengths = {}
    for kind in ("clip", "siglip"):
        save_backbone(kind, tmp_path / kind)
        _, processor = load_two_towers(tmp_path / kind)
        processor.save_pretrained(tmp_path / "processor")
        for one in (processor, AutoProcessor.from_pretrained(tmp_path / "processor")):
            lengths[kind] = [
                one(text=text)["input_ids"].shape[1] for text in (["red cat"], "red cat", [LONG])
            ]
            assert count_truncated(one, ["red cat", LONG, "dog"]) == TruncationCount(1, 3, 12)
    assert lengths == {"clip": [4, 4, 12], "siglip": [12, 12, 12]}


def test_a_model_of_transformers_is_a_backbone_that_shares_its_weights(tmp_path: Path) -> None:
    save_backbone("clip", tmp_path)
    model, processor = load_two_towers(str(tmp_path))
    assert model.is_two_tower
    assert model.device == torch.device("cpu")
    vectors = model.get_image_features(**processor(images=pictures(3)))
    np.testing.assert_allclose(vectors.detach().norm(dim=-1), np.ones(3), atol=1e-6)
    pictures(1)[0].save(tmp_path / "p.png")
    by_path = model.get_image_features(**processor(images=tmp_path / "p.png"))
    torch.testing.assert_close(by_path, vectors[:1])
    with pytest.raises(ValueError, match="`images`, `text` or both"):
        processor()
    assert all(name.startswith("backbone.") for name in model.state_dict())


def test_a_folder_of_sentence_transformers_has_its_clip_inside(tmp_path: Path) -> None:
    theirs = save_backbone("clip", tmp_path / "0_CLIPModel")
    modules = [{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "models.CLIPModel"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    model, _ = load_two_towers(tmp_path)
    assert torch.equal(model.backbone.visual_projection.weight, theirs.visual_projection.weight)


def test_own_models_come_as_they_are(
    tmp_path: Path, tiny_config: Callable[..., Any], tiny_processor: Any
) -> None:
    ncr = NcrModel(tiny_config(NcrConfig))
    ncr.peer_a.logit_scale.data.fill_(1.0)
    ncr.peer_b.logit_scale.data.fill_(9.0)  # more than log(100), where the model stops
    ncr.save_pretrained(tmp_path)
    tiny_processor.save_pretrained(tmp_path)
    model, processor = load_two_towers(tmp_path)
    assert isinstance(model, NcrModel)
    assert type(processor) is type(tiny_processor)
    assert not model.training
    assert logit_scale_of(model) == pytest.approx((math.e + 100) / 2, rel=1e-5)
    assert logit_scale_of(model.peer_a) == pytest.approx(math.e)


def test_models_without_vectors_are_refused_by_name(
    tmp_path: Path, tiny_config: Callable[..., Any], tiny_processor: Any
) -> None:
    bert = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
    BertModel(BertConfig(**bert, vocab_size=9, intermediate_size=8)).save_pretrained(tmp_path / "b")
    with pytest.raises(NotTwoTowersError, match=r"BertModel .*'bert'"):
        load_two_towers(tmp_path / "b")
    MatchingModel(tiny_config(similarity="sgr")).save_pretrained(tmp_path / "sgr")
    with pytest.raises(NotTwoTowersError, match="MatchingModel with the similarity 'sgr'"):
        load_two_towers(tmp_path / "sgr")
    RcarModel(rcar_config()).save_pretrained(tmp_path / "rcar")
    with pytest.raises(NotTwoTowersError, match="is a RcarModel, which"):
        load_two_towers(tmp_path / "rcar")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").touch()
    with pytest.raises(NotTwoTowersError, match=r"no config.json, but \['a.txt'\]"):
        load_two_towers(tmp_path / "notes")
    with pytest.raises(OSError, match="nowhere is not a folder here"):
        load_two_towers(tmp_path / "nowhere")


def test_a_model_of_feature_vectors_is_refused(tmp_path: Path) -> None:
    config = CommonSpaceConfig(image_size=4, text_size=3, num_labels=2)
    CommonSpaceModel(config).save_pretrained(tmp_path)
    CommonSpaceProcessor().save_pretrained(tmp_path)
    with pytest.raises(NotTwoTowersError, match="reads feature vectors"):
        load_two_towers(tmp_path)


def test_a_tokenizer_with_a_limit_keeps_it(tmp_path: Path) -> None:
    save_backbone("clip", tmp_path)
    train_word_tokenizer(CAPTIONS, max_length=5).save_pretrained(tmp_path)
    config = backbone_config("clip")
    assert two_tower_processor(str(tmp_path), config).tokenizer.model_max_length == 5
    config.text_config.max_position_embeddings = 4
    assert two_tower_processor(str(tmp_path), config).tokenizer.model_max_length == 4


@pytest.mark.parametrize(
    ("kind", "padding"),
    [
        ("clip", True),
        ("bert", True),
        ("siglip", "max_length"),
        ("siglip2", "max_length"),
        ("align", "max_length"),
        ("align_text_model", "max_length"),
    ],
)
def test_texts_are_padded_as_the_model_was_trained(kind: str, padding: bool | str) -> None:
    assert text_padding(CONFIG_MAPPING[kind]()) == padding
