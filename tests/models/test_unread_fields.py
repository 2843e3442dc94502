"""Fields of configs that have no effect beside the others are refused where they are set."""

import json
from typing import Any

import pytest
import torch
from transformers import AutoConfig, BertConfig, ResNetConfig

from label_trainers import make_label_trainer
from noisy_xmodal import (
    CommonSpaceConfig,
    DmcmConfig,
    EncoderPairConfig,
    MatchingConfig,
    NcrConfig,
    NcrModel,
    RcarConfig,
)
from noisy_xmodal.methods.objectives import OBJECTIVES, bend
from tiny_backbones import WIDTHS, backbone_config

BERT = BertConfig(vocab_size=16, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
RESNET = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic")
CLIP = backbone_config("clip")

#: Config, fields of which the first one is not read, and what makes it read.
CASES: list[tuple[Any, dict[str, Any], dict[str, Any]]] = [
    (MatchingConfig, {"word_size": 100, "text_config": BERT}, {"text_config": None}),
    (MatchingConfig, {"word_size": 100, "text_config": BERT}, {"captioner_size": 4}),
    (MatchingConfig, {"captioner_size": 4, "backbone_config": CLIP}, {"backbone_config": None}),
    (MatchingConfig, {"word_encoder": "words", "text_config": BERT}, {"text_config": None}),
    (MatchingConfig, {"vocab_size": 77, "text_config": BERT}, {"text_config": None}),
    (NcrConfig, {"dropout": 0.1, "text_config": BERT}, {"words_beside": True}),
    (NcrConfig, {"words_beside": True}, {"text_config": BERT}),
    (MatchingConfig, {"vision_training": "frozen"}, {"vision_config": RESNET}),
    (RcarConfig, {"vision_training": "frozen"}, {"vision_config": RESNET}),
    (MatchingConfig, {"text_training": "frozen"}, {"text_config": BERT}),
    (MatchingConfig, {"lora_rank": 4, "text_config": BERT}, {"text_training": "lora"}),
    (MatchingConfig, {"region_size": 7, "vision_config": RESNET}, {"vision_config": None}),
    (RcarConfig, {"region_size": 7, "vision_config": RESNET}, {"vision_config": None}),
    (MatchingConfig, {"region_layers": 1, "vision_config": RESNET}, {"vision_config": None}),
    (MatchingConfig, {"box_geometry": "5d"}, {"region_layers": 1}),
    (NcrConfig, {"margin": 0.3, "objective": "infonce"}, {"objective": "mean_triplet"}),
    (NcrConfig, {"margin": 0.3, "objective": "soft_infonce"}, {"objective": "triplet"}),
    (NcrConfig, {"soft_margin": "sine", "objective": "soft_infonce"}, {"objective": "infonce"}),
    (NcrConfig, {"soft_margin": "sine", "co_rectify": False}, {"co_rectify": True}),
    (NcrConfig, {"curve": 5, "objective": "soft_infonce"}, {"objective": "triplet"}),
    (NcrConfig, {"curve": 5, "soft_margin": "linear"}, {"soft_margin": "exponential"}),
    (NcrConfig, {"rectification": "batch", "co_rectify": False}, {"co_rectify": True}),
    (NcrConfig, {"anchor_share": 0.3, "co_rectify": False}, {"co_rectify": True}),
    (NcrConfig, {"clean_threshold": 0.3, "co_divide": False}, {"co_divide": True}),
    (CommonSpaceConfig, {"freeze_backbone": False}, {"backbone_config": CLIP}),
    (CommonSpaceConfig, {"image_size": 3, "backbone_config": CLIP}, {"backbone_config": None}),
    (
        CommonSpaceConfig,
        {"text_size": 3, "backbone_config": CLIP},
        {"image_size": 10, "text_size": 10},
    ),
    (CommonSpaceConfig, {"activation": "tanh", "hidden_sizes": []}, {"hidden_sizes": [4]}),
    (CommonSpaceConfig, {"batch_norm": True, "hidden_sizes": []}, {"hidden_sizes": [4]}),
    (CommonSpaceConfig, {"temperature": 0.1, "classifier": "linear"}, {"classifier": "fixed"}),
    (EncoderPairConfig, {"logit_scale_init": 1.0}, {"projection_size": 4}),
    (DmcmConfig, {"clean_threshold": 0.7}, {"selection": "threshold"}),
    (
        DmcmConfig,
        {"clean_threshold": 0.7, "noise_rate": 0.4},
        {"noise_rate": None, "selection": "threshold"},
    ),
    (DmcmConfig, {"contrastive_temperature": 0.5, "beta": 1}, {"beta": 0.5}),
    (DmcmConfig, {"self_similarity": True, "beta": 1.0}, {"beta": 0.5}),
]


@pytest.mark.parametrize(("kind", "fields", "made_read"), CASES)
def test_a_field_without_effect_is_refused(kind, fields, made_read):
    name = next(iter(fields))
    with pytest.raises(ValueError, match=rf"^`{name}` is .+: .+ (or leave it|Leave it) out\.$"):
        kind(**fields)
    kind(**fields | made_read)
    kind(**{key: value for key, value in fields.items() if key != name})


@pytest.mark.parametrize(
    "kind", [MatchingConfig, NcrConfig, RcarConfig, CommonSpaceConfig, DmcmConfig]
)
@pytest.mark.parametrize("name", ["margn", "top_k", "max_length"])  # two of generation
def test_a_field_that_there_is_not_is_refused(kind, name):
    with pytest.raises(
        ValueError, match=rf"^{kind.__name__} has no field `{name}`; it has: .*hidden"
    ):
        kind(**{name: 0.3})
    kind(num_labels=3, dtype="float32", attn_implementation="eager", name_or_path="x")


@pytest.mark.parametrize(("kind", "fields", "made_read"), CASES)
def test_a_stored_config_loads_as_it_is(tmp_path, kind, fields, made_read):
    kind(**fields | made_read).save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    plain = {key: v.to_dict() if hasattr(v, "to_dict") else v for key, v in fields.items()}
    (tmp_path / "config.json").write_text(
        json.dumps(stored | {"selection": None} | plain | {"of_later": 1})
    )
    for loader in (kind, AutoConfig):
        loaded = loader.from_pretrained(tmp_path)
        assert type(loaded) is kind
        loaded.save_pretrained(tmp_path / "again")
        assert type(kind(**loaded.to_dict())) is kind


def test_a_stored_model_whose_config_says_too_much_is_loaded(tmp_path):
    sizes = {"hidden_size": 8, "region_size": 4, "similarity": "cosine", "objective": "infonce"}
    NcrModel(NcrConfig(**sizes, text_config=BERT)).save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(stored | {"word_size": 256, "margin": 0.4}))
    loaded = NcrModel.from_pretrained(tmp_path)
    assert loaded.config.word_size == loaded.peer_a.config.word_size == 256


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_the_size_of_the_backbone_may_be_said(kind):
    sizes = {"image_size": WIDTHS[kind], "text_size": WIDTHS[kind]}
    CommonSpaceConfig(backbone_config=backbone_config(kind), **sizes)


def test_only_the_softmax_of_scan_has_a_sharpness():
    options = {"aggregation": "mean", "lambda_lse": 3.0}
    with pytest.raises(ValueError, match=r"^`lambda_lse` in `similarity_options` is 3\.0: only"):
        MatchingConfig(similarity="scan_t2i", similarity_options=options)
    MatchingConfig(similarity="scan_t2i", similarity_options=options | {"aggregation": "lse"})


def test_targets_of_one_are_bent_by_no_curve():
    """Why `soft_margin` and `curve` are unread without co-rectification."""
    ones = torch.ones(4)
    for name in ("exponential", "linear", "sine"):
        for curve in (2.0, 10.0):
            assert torch.allclose(bend(ones, 0.2, name, curve), 0.2 * ones, atol=1e-6)
    assert set(OBJECTIVES) == {
        *("triplet", "mean_triplet", "sum_triplet", "infonce", "soft_infonce")
    }


# Methods of classes


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("mrl", {"robust": False}, "`robust` is False: the method divides nothing"),
        ("ce", {"warmup_epochs": 1}, "`warmup_epochs` is 1: the method has no warm-up"),
        ("sdml", {"warmup_epochs": 1}, "`warmup_epochs` is 1"),
        ("dcca", {"robust": False}, "`robust` is False"),
        ("dscmr", {"robust": False}, "`robust` is False"),
        (
            "mrl",
            {"fields": {"method_options": {"beta": 1, "contrastive_temperature": 0.5}}},
            "`contrastive_temperature` in `method_options` is 0.5: with `beta` 1",
        ),
        ("mrl", {"fields": {"reconstructs": True}}, "`reconstructs` is True: MRL does not train"),
        ("ce", {"fields": {"canonical_size": 4}}, "`canonical_size` is 4: CE does not train"),
    ],
)
def test_what_a_method_of_classes_does_not_read_is_refused(tmp_path, method, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make_label_trainer(method, tmp_path, **options)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("mrl", {"warmup_epochs": 1}),
        ("lcn", {"warmup_epochs": 1}),
        ("mrl_warmup", {}),
        ("dmcm", {"robust": False}),
        ("dccae", {}),
    ],
)
def test_what_it_reads_is_taken(tmp_path, method, options):
    make_label_trainer(method, tmp_path, **options)
