"""What a matching model promises, whatever its head and encoders."""

import copy
import math
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModel, BertConfig, ResNetConfig
from transformers.models.bert.modeling_bert import BertModel
from transformers.models.resnet.modeling_resnet import ResNetModel

from noisy_xmodal import MatchingConfig, MatchingModel
from noisy_xmodal.modules import WORD_ENCODERS

PICKLE_SUFFIXES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}


@pytest.fixture
def model(variant, tiny_config) -> MatchingModel:
    return MatchingModel(tiny_config(MatchingConfig, *variant)).eval()


def image_part(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: v for k, v in inputs.items() if k in ("regions", "region_mask", "pixel_values")}


def text_part(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: v for k, v in inputs.items() if k in ("input_ids", "attention_mask")}


def test_every_image_meets_every_text_under_clips_names(model, tiny_inputs):
    output = model(**tiny_inputs(model.config, n_images=3, n_texts=4))
    assert output.scores.shape == (3, 4)
    assert output.logits_per_image.shape == (3, 4)
    assert torch.equal(output.logits_per_text, output.logits_per_image.T)
    assert output.scores.dtype == torch.float32
    assert output.scores.isfinite().all()
    assert output.scores.std() > 0, "all pairs have the same score"
    assert {"logits_per_image", "logits_per_text"} <= set(output.keys())


@pytest.mark.parametrize("scale", [-1.0, 0.0, 2.6592, math.log(100), 7.0])
def test_logits_are_scores_over_a_clamped_temperature(tiny_config, tiny_inputs, scale):
    model = MatchingModel(tiny_config()).eval()
    nn.init.constant_(model.logit_scale, scale)
    output = model(**tiny_inputs(model.config))
    expected = output.scores * min(math.exp(scale), 100)
    torch.testing.assert_close(output.logits_per_image, expected)


def test_encode_and_score_give_the_scores_of_forward(model, tiny_inputs):
    inputs = tiny_inputs(model.config)
    image, text = model.encode_image(**image_part(inputs)), model.encode_text(**text_part(inputs))
    torch.testing.assert_close(model.score(image, text), model(**inputs).scores)


def test_one_pair_at_a_time_has_the_scores_of_the_batch(model, tiny_inputs):
    inputs = tiny_inputs(model.config)
    scores = model(**inputs).scores
    for i in range(3):
        for j in range(4):
            pair = {k: v[i : i + 1] for k, v in image_part(inputs).items()}
            pair |= {k: v[j : j + 1] for k, v in text_part(inputs).items()}
            torch.testing.assert_close(model(**pair).scores[0, 0], scores[i, j])


def test_masks_are_all_real_by_default(tiny_config, tiny_inputs):
    model = MatchingModel(tiny_config()).eval()
    inputs = tiny_inputs(model.config)
    bare = {"input_ids": inputs["input_ids"], "regions": inputs["regions"]}
    full = bare | {
        "attention_mask": torch.ones(4, 5, dtype=torch.long),
        "region_mask": torch.ones(3, 5, dtype=torch.bool),
    }
    assert torch.equal(model(**bare).scores, model(**full).scores)
    assert not torch.allclose(model(**bare).scores, model(**inputs).scores)


def test_two_towers_have_embeddings_and_others_say_why_not(model, tiny_inputs):
    inputs = tiny_inputs(model.config)
    output = model(**inputs)
    assert model.is_two_tower == (model.config.similarity in ("cosine", "vsrn"))
    if not model.is_two_tower:
        assert output.image_embeds is None
        assert output.text_embeds is None
        for call, part in (
            (model.get_image_features, image_part),
            (model.get_text_features, text_part),
        ):
            with pytest.raises(ValueError, match=f"{model.config.similarity!r}.*`score`"):
                call(**part(inputs))
        return
    torch.testing.assert_close(output.scores, output.image_embeds @ output.text_embeds.T)
    torch.testing.assert_close(output.image_embeds.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(output.text_embeds.norm(dim=-1), torch.ones(4))
    assert torch.equal(model.get_image_features(**image_part(inputs)), output.image_embeds)
    assert torch.equal(model.get_text_features(**text_part(inputs)), output.text_embeds)


def test_pixels_and_regions_are_not_confused(tiny_config, tiny_inputs):
    regions = MatchingModel(tiny_config())
    pixels = MatchingModel(tiny_config(images="pixels"))
    with pytest.raises(ValueError, match="pass `regions`"):
        regions(**tiny_inputs(pixels.config))
    with pytest.raises(ValueError, match="pass `pixel_values`"):
        pixels(**tiny_inputs(regions.config))


def test_saved_and_loaded_it_gives_the_same_scores(model, tiny_inputs, tmp_path):
    nn.init.constant_(model.logit_scale, 1.5)
    model.save_pretrained(tmp_path)
    inputs = tiny_inputs(model.config)
    expected = model(**inputs)
    for loader in (MatchingModel, AutoModel):
        loaded = loader.from_pretrained(tmp_path)
        assert type(loaded) is MatchingModel
        assert not loaded.training
        # Loaded weights lie where their file has them, unaligned, and some CPU kernels sum in
        # another order there; a copy lies as the saved weights did.
        output = copy.deepcopy(loaded)(**inputs)
        assert torch.equal(output.scores, expected.scores)
        assert torch.equal(output.logits_per_image, expected.logits_per_image)


def test_the_saved_folder_holds_no_pickle(model, tmp_path):
    model.save_pretrained(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"config.json", "model.safetensors", "noisy_xmodal_shim.py"}
    assert not {path.suffix for path in tmp_path.rglob("*")} & PICKLE_SUFFIXES


def test_the_config_survives_json(variant, tiny_config, tmp_path):
    config = tiny_config(MatchingConfig, *variant, image_dropout=0.1, logit_scale_init=1)
    config.save_pretrained(tmp_path)
    for loader in (MatchingConfig, AutoConfig):
        loaded = loader.from_pretrained(tmp_path)
        assert type(loaded) is MatchingConfig
        assert loaded.to_dict() | {"_name_or_path": ""} == config.to_dict()
    if config.vision_config is not None:
        assert type(loaded.vision_config) is ResNetConfig
        assert loaded.vision_config.hidden_sizes == [4, 8]
    if config.text_config is not None:
        assert type(loaded.text_config) is BertConfig


def test_sub_configs_may_be_plain_dicts(tiny_config, tiny_inputs):
    config = tiny_config(images="pixels", texts="bert")
    plain = MatchingConfig(**config.to_dict())
    assert type(plain.vision_config) is ResNetConfig
    assert type(plain.text_config) is BertConfig
    assert MatchingModel(plain).eval()(**tiny_inputs(plain)).scores.shape == (3, 4)


def test_head_options_reach_the_head(tiny_config):
    config = tiny_config(similarity="scan_t2i", similarity_options={"lambda_softmax": 3.5})
    assert MatchingModel(config).head.lambda_softmax == 3.5


def test_an_unknown_head_is_refused_with_the_known_ones(tiny_config):
    with pytest.raises(
        ValueError,
        match=r"'scan'.*cosine, scan_t2i, scan_i2t, saf, sgr, sgraf_joint, imram, vsrn, teran",
    ):
        MatchingModel(tiny_config(similarity="scan"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 0}, "`hidden_size` must be at least 1, found 0"),
        ({"region_size": -1}, "`region_size` must be at least 1, found -1"),
        ({"vocab_size": 0}, "`vocab_size` must be at least 1, found 0"),
        ({"word_size": 0}, "`word_size` must be at least 1, found 0"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\), found 1.0"),
        ({"dropout": -0.1}, r"`dropout` must be in \[0, 1\), found -0.1"),
        ({"word_encoder": "lstm"}, r"(?s)'word_encoder'.*'bigru', 'gru', 'words'.*lstm"),
        ({"hidden_size": "8"}, "'hidden_size' expected int, got str"),
    ],
)
def test_impossible_configs_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(StrictDataclassError, match=message):
        MatchingConfig(**options)


def test_the_config_knows_every_word_encoder():
    for name in WORD_ENCODERS:
        MatchingConfig(word_encoder=name)


def test_weights_are_initialised_by_the_config(tiny_config):
    config = tiny_config(similarity="sgr", logit_scale_init=0.75, word_size=5)
    model = MatchingModel(config)
    assert model.logit_scale.item() == 0.75
    assert model.text_encoder.words.weight.abs().max() <= 0.1
    assert model.text_encoder.words.weight.std() > 0.03
    for module in model.modules():
        if isinstance(module, nn.Linear):
            bound = math.sqrt(6 / (module.in_features + module.out_features))
            assert 0 < module.weight.abs().max() <= bound
            assert module.bias is None or (module.bias == 0).all()
    for parameter in model.text_encoder.gru.parameters():
        assert 0 < parameter.abs().max() <= 1 / math.sqrt(8)


def test_backbones_keep_their_own_initialisation(tiny_config):
    """Xavier would be far wider than BERT's 0.02."""
    model = MatchingModel(tiny_config(images="pixels", texts="bert"))
    assert isinstance(model.text_encoder.backbone, BertModel)
    words = model.text_encoder.backbone.embeddings.word_embeddings.weight
    assert 0.01 < words.std() < 0.03


XAVIER = math.sqrt(6 / (4 + 8))  # image projection, 4 -> 8
GRU = 1 / math.sqrt(8)


@pytest.mark.parametrize(
    ("missing", "low", "high"),
    [
        ("logit_scale", 1.25, 1.25),
        ("image_encoder.projection.weight", -XAVIER, XAVIER),
        ("image_encoder.projection.bias", 0, 0),
        ("text_encoder.words.weight", -0.1, 0.1),
        ("text_encoder.gru.weight_hh_l0_reverse", -GRU, GRU),
        ("text_encoder.gru.bias_ih_l0", -GRU, GRU),
        ("head.alignment.image_attention.token_norm.weight", 1, 1),
        ("head.alignment.image_attention.token_norm.bias", 0, 0),
        ("head.filtration.gate_norm.running_var", 1, 1),
        ("head.filtration.gate_norm.running_mean", 0, 0),
    ],
)
def test_weights_that_a_checkpoint_lacks_are_initialised(
    tiny_config, tiny_inputs, tmp_path, missing, low, high
):
    """And they alone: whatever the checkpoint has is kept, in the same module too."""
    model = MatchingModel(tiny_config(similarity="saf", logit_scale_init=1.25))
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.fill_(7.0)
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    shape = tensors.pop(missing).shape
    save_file(tensors, path, metadata={"format": "pt"})

    loaded = MatchingModel.from_pretrained(tmp_path)
    state = loaded.state_dict()
    fresh = state[missing]
    assert fresh.shape == shape
    low, high = (torch.tensor(float(bound)) for bound in (low, high))  # bounds in float32
    assert low <= fresh.min() <= fresh.max() <= high
    if low < high:
        assert fresh.std() > 0.2 * high, "not drawn from the whole range"
    for name, tensor in tensors.items():
        assert torch.equal(state[name], tensor), name
    assert loaded(**tiny_inputs(loaded.config)).scores.isfinite().all()


def test_every_weight_gets_a_gradient(variant, tiny_config, tiny_inputs):
    model = MatchingModel(tiny_config(MatchingConfig, *variant))
    inputs = tiny_inputs(model.config, n_images=4)
    model(**inputs).logits_per_image.log_softmax(dim=1).diagonal().sum().backward()
    for name, parameter in model.named_parameters():
        if ".pooler." in name or not parameter.requires_grad:
            continue  # BERT's class token head, which no token goes through, and frozen weights
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    towards_scores = ("image_encoder.projection.weight", "text_encoder.words.weight", "logit_scale")
    for name, parameter in model.named_parameters():
        if name in towards_scores:
            assert parameter.grad.abs().sum() > 0, name


def test_pretrained_backbones_are_loaded(tiny_config, tmp_path):
    config = tiny_config(images="pixels", texts="bert")
    vision, text = ResNetModel(config.vision_config), BertModel(config.text_config)
    vision.save_pretrained(tmp_path / "vision")
    text.save_pretrained(tmp_path / "text")
    model = MatchingModel(config)
    projection = model.image_encoder.projection.weight.clone()
    model.load_backbones(tmp_path / "vision", str(tmp_path / "text"))
    for backbone, pretrained in (
        (model.image_encoder.backbone, vision),
        (model.text_encoder.backbone, text),
    ):
        for name, tensor in pretrained.state_dict().items():
            assert torch.equal(backbone.state_dict()[name], tensor), name
    assert torch.equal(model.image_encoder.projection.weight, projection)


def test_without_names_the_backbones_stay(tiny_config):
    model = MatchingModel(tiny_config(images="pixels"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_backbones()
    for name, tensor in model.state_dict().items():
        assert torch.equal(before[name], tensor)
