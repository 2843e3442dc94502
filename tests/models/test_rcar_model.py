"""A cross-encoder: every pair alone gives what a batch gives, and folders keep every bit."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModel, BertConfig, ResNetConfig, RobertaConfig, XLNetConfig
from transformers.models.bert.modeling_bert import BertModel

from noisy_xmodal import (
    RcarConfig,
    RcarModel,
    RcarProcessor,
    RegionFeatureProcessor,
    RetrievalEvaluator,
    train_word_tokenizer,
)
from noisy_xmodal.data import PairDataset
from noisy_xmodal.evaluation import score_matrix
from noisy_xmodal.metrics import retrieval_metrics
from noisy_xmodal.modules import joint_sequences
from tiny_rcar import REGION_SIZE, TEXT_SIZES, pair_inputs, rcar_config

IMAGE_INPUTS = ("regions", "region_mask", "pixel_values")
KINDS = ["regions", "5d", "7d", "pixels", "stream from text"]
#: Fields of a model whose two layers are the last ones of a text encoder of three.
FROM_TEXT = {
    "stream_start": "text",
    "hidden_size": TEXT_SIZES["hidden_size"],
    "intermediate_size": TEXT_SIZES["intermediate_size"],
    "text": {"num_hidden_layers": 3},
}

every_kind = pytest.mark.parametrize("kind", KINDS)


def make_config(kind: str, **options: Any) -> RcarConfig:
    if kind == "pixels":
        options["vision_config"] = ResNetConfig(
            embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic"
        )
    elif kind == "stream from text":
        options = FROM_TEXT | options
    elif kind != "regions":
        options["box_geometry"] = kind
    return rcar_config(**options)


@pytest.fixture
def make_inputs(tiny_inputs):
    """Makes inputs of a config: `tiny_inputs`, with a box behind each region where it reads one."""

    def make(config: RcarConfig, **counts: int) -> dict[str, torch.Tensor]:
        inputs = tiny_inputs(config, **counts)
        if config.box_size:
            random = torch.Generator().manual_seed(2)
            corners = torch.rand(*inputs["regions"].shape[:2], 2, 2, generator=random)
            boxes = torch.cat([corners.amin(dim=2), corners.amax(dim=2)], dim=-1)
            inputs["regions"] = torch.cat([inputs["regions"], boxes], dim=-1)
        return inputs

    return make


def encode(model: RcarModel, inputs: dict[str, torch.Tensor]) -> tuple[Any, Any]:
    images = {name: value for name, value in inputs.items() if name in IMAGE_INPUTS}
    texts = {name: value for name, value in inputs.items() if name not in images}
    return model.encode_image(**images), model.encode_text(**texts)


def one_by_one(model: RcarModel, inputs: dict[str, torch.Tensor], shape=(3, 4)) -> torch.Tensor:
    """The log-odds of every single pair by a forward pass of its own, without padding."""
    scores = torch.zeros(shape)
    with torch.no_grad():
        for i in range(shape[0]):
            for t in range(shape[1]):
                scores[i, t] = model(**pair_inputs(inputs, i, t)).logits_per_image[0, 0]
    return scores


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    state = b.state_dict()
    return a.state_dict().keys() == state.keys() and all(
        torch.equal(tensor, state[name]) for name, tensor in a.state_dict().items()
    )


# Scores


@every_kind
@pytest.mark.parametrize("budget", [1, 25, 4096])
def test_scores_are_those_of_every_pair_alone(make_inputs, monkeypatch, kind, budget):
    """Whatever stands together in a joint pass: 1 pair, 2 pairs or all."""
    monkeypatch.setitem(joint_sequences.SCORE_TOKENS, "cpu", budget)
    model = RcarModel(make_config(kind)).eval()
    inputs = make_inputs(model.config)
    expected = one_by_one(model, inputs)
    scores = model.score(*encode(model, inputs))
    assert scores.shape == (3, 4)
    assert scores.dtype == torch.float32
    assert expected.std() > 0.01, "all pairs have the same score"
    torch.testing.assert_close(scores, expected)


@every_kind
def test_forward_without_pairs_gives_all_scores_under_clips_names(make_inputs, kind):
    model = RcarModel(make_config(kind)).eval()
    inputs = make_inputs(model.config)
    output = model(**inputs)
    torch.testing.assert_close(output.logits_per_image, one_by_one(model, inputs))
    torch.testing.assert_close(output.scores, output.logits_per_image.sigmoid())
    assert torch.equal(output.logits_per_text, output.logits_per_image.T)
    assert output.pair_logits is None
    assert output.word_logits is None


@every_kind
def test_chosen_pairs_have_the_logits_of_all_pairs(make_inputs, kind):
    model = RcarModel(make_config(kind)).eval()
    inputs = make_inputs(model.config)
    pairs = torch.tensor([[2, 0], [0, 3], [2, 0], [1, 1]])
    output, every = model(**inputs, pairs=pairs), model(**inputs)
    assert output.scores is None
    assert output.pair_logits.shape == (4, 2)
    log_odds = output.pair_logits[:, 1] - output.pair_logits[:, 0]
    for (i, t), found in zip(pairs.tolist(), log_odds, strict=True):
        torch.testing.assert_close(found, every.logits_per_image[i, t])
    torch.testing.assert_close(model.matching_head(output.pair_features), output.pair_logits)


@pytest.mark.parametrize("budget", [1, 25, 4096])
def test_score_pairs_gives_entries_of_score(make_inputs, monkeypatch, budget):
    monkeypatch.setitem(joint_sequences.SCORE_TOKENS, "cpu", budget)
    model = RcarModel(rcar_config()).eval()
    image, text = encode(model, make_inputs(model.config))
    scores = model.score(image, text)
    pairs = torch.tensor([[2, 3], [0, 0], [1, 2], [2, 3], [0, 1]])
    found = model.score_pairs(image, text, pairs)
    torch.testing.assert_close(found, scores[pairs[:, 0], pairs[:, 1]])
    assert model.score_pairs(image, text, pairs[:0]).shape == (0,)


def test_scoring_keeps_no_gradient_and_draws_no_random_numbers(make_inputs):
    model = RcarModel(rcar_config()).eval()
    image, text = encode(model, make_inputs(model.config))
    before = torch.get_rng_state()
    assert not model.score(image, text).requires_grad
    assert torch.equal(torch.get_rng_state(), before)


def test_an_image_without_real_regions_is_judged_by_the_text_alone(make_inputs):
    model = RcarModel(rcar_config()).eval()
    inputs = make_inputs(model.config)
    inputs["region_mask"] = inputs["region_mask"].clone()
    inputs["region_mask"][1] = False
    scores = model.score(*encode(model, inputs))
    assert scores.isfinite().all()
    torch.testing.assert_close(scores, model(**inputs).logits_per_image)
    bare = inputs | {"regions": torch.zeros(3, 5, REGION_SIZE)}
    torch.testing.assert_close(model.score(*encode(model, bare))[1], scores[1])
    _, text = encode(model, inputs)
    for t in range(4):
        words = text.tokens[t : t + 1, text.mask[t]]
        sequence = torch.cat([model.class_token[None, None], words], dim=1)
        shares = model.matching_head(model.encoder(sequence)[:, 0]).softmax(dim=-1)
        torch.testing.assert_close(scores[1, t].sigmoid(), shares[0, 1])


def test_masks_are_all_real_by_default(make_inputs):
    model = RcarModel(rcar_config()).eval()
    inputs = make_inputs(model.config)
    bare = {name: inputs[name] for name in ("input_ids", "regions")}
    full = bare | {
        "attention_mask": torch.ones(4, 5, dtype=torch.long),
        "region_mask": torch.ones(3, 5, dtype=torch.bool),
    }
    assert torch.equal(model(**bare).scores, model(**full).scores)
    assert not torch.allclose(model(**bare).scores, model(**inputs).scores)


def test_the_order_of_regions_means_nothing_and_that_of_words_something(make_inputs):
    model = RcarModel(rcar_config()).eval()
    inputs = make_inputs(model.config)
    turned = inputs | {
        "regions": inputs["regions"].flip(1),
        "region_mask": inputs["region_mask"].flip(1),
    }
    scores = model.score(*encode(model, inputs))
    torch.testing.assert_close(model.score(*encode(model, turned)), scores)
    words = inputs["input_ids"].clone()
    words[2] = words[2].flip(0)
    other = model.score(*encode(model, inputs | {"input_ids": words}))
    assert not torch.allclose(other[:, 2], scores[:, 2])
    torch.testing.assert_close(other[:, 0], scores[:, 0])


@pytest.mark.parametrize("kind", ["regions", "pixels"])
def test_tokens_are_normalised_with_what_they_are_of(make_inputs, kind):
    model = RcarModel(make_config(kind)).eval()
    inputs = make_inputs(model.config)
    image, text = encode(model, inputs)
    visual = inputs["regions" if kind == "regions" else "pixel_values"]
    for found, token, norm, number in (
        (image.tokens, model.image_encoder(visual).tokens, model.image_norm, 0),
        (
            text.tokens,
            model.text_encoder(inputs["input_ids"], inputs["attention_mask"]).tokens,
            model.text_norm,
            1,
        ),
    ):
        torch.testing.assert_close(found, norm(token + model.modality.weight[number]))
    assert torch.equal(text.mask, inputs["attention_mask"].bool())
    assert not torch.allclose(*model.modality.weight)


@pytest.mark.parametrize("kind", ["5d", "7d"])
def test_boxes_are_read_as_corners_area_and_sides(make_inputs, kind):
    model = RcarModel(make_config(kind)).eval()
    regions = make_inputs(model.config)["regions"]
    tokens = model.encode_image(regions=regions).tokens
    for i in range(3):
        for k in range(5):
            features, (left, top, right, bottom) = regions[i, k, :-4], regions[i, k, -4:].tolist()
            numbers = [left, top, right, bottom, (right - left) * (bottom - top)]
            if kind == "7d":
                numbers += [right - left, bottom - top]
            token = model.image_encoder.projection(features)
            token = token + model.box_projection(torch.tensor(numbers))
            expected = model.image_norm(token + model.modality.weight[0])
            torch.testing.assert_close(tokens[i, k], expected)


def test_regions_without_boxes_are_refused_by_a_model_that_reads_them(make_inputs):
    model = RcarModel(make_config("5d"))
    inputs = make_inputs(rcar_config())
    message = r"n_regions, 8\).*4 numbers and a box, found \(3, 5, 4\).*append_boxes"
    with pytest.raises(ValueError, match=message):
        model(**inputs)


def test_pixels_and_regions_are_not_confused(make_inputs):
    regions, pixels = RcarModel(rcar_config()), RcarModel(make_config("pixels"))
    with pytest.raises(ValueError, match="pass `regions`"):
        regions(**make_inputs(pixels.config))
    with pytest.raises(ValueError, match="pass `pixel_values`"):
        pixels(**make_inputs(regions.config))


def test_bfloat16_scores_are_near_and_auto_is_full_precision_on_a_cpu(make_inputs):
    scores = {}
    for name in ("float32", "bfloat16", "auto"):
        torch.manual_seed(0)
        model = RcarModel(rcar_config(score_dtype=name)).eval()
        scores[name] = model.score(*encode(model, make_inputs(model.config)))
        assert scores[name].dtype == torch.float32
    assert torch.equal(scores["auto"], scores["float32"])
    assert not torch.equal(scores["bfloat16"], scores["float32"])
    torch.testing.assert_close(scores["bfloat16"], scores["float32"], atol=2e-2, rtol=0)


@pytest.mark.parametrize("score_dtype", ["float32", "bfloat16"])
def test_pairs_that_are_surely_aligned_are_still_told_apart(make_inputs, score_dtype):
    """Of log-odds from 17 on the probability is 1 in float32."""
    model = RcarModel(rcar_config(score_dtype=score_dtype)).eval()
    plain = model.score(*encode(model, make_inputs(model.config)))  # (3, 4)
    with torch.no_grad():  # log-odds of 16 to 40 in place of those of a fresh model
        scale = 24 / (plain.max() - plain.min())
        model.matching_head.weight *= scale
        model.matching_head.bias *= scale
        model.matching_head.bias[1] += 16 - scale * plain.min()
    scores = model.score(*encode(model, make_inputs(model.config)))
    assert scores.min() > 15
    assert scores.max() < 41
    assert len(scores.unique()) == 12
    assert torch.equal(scores.flatten().argsort(), plain.flatten().argsort())
    shown = model.match_probability(scores)
    assert shown.dtype == torch.float64
    torch.testing.assert_close(shown, scores.double().sigmoid())


# Masked words


@pytest.mark.parametrize("kind", ["regions", "pixels"])
def test_word_logits_are_those_of_each_text_beside_its_own_image(make_inputs, kind):
    model = RcarModel(make_config(kind)).eval()
    nn.init.normal_(model.word_head.bias)
    inputs = make_inputs(model.config, n_images=4, n_texts=4)
    is_masked = torch.zeros(4, 5, dtype=torch.bool)
    for text, word in ((0, 1), (2, 0), (2, 4), (3, 1)):  # none in text 1
        is_masked[text, word] = True
    masked = {"masked_input_ids": inputs["input_ids"].masked_fill(is_masked, 15)}
    output = model(**inputs, **masked, is_masked=is_masked)
    assert output.word_logits.shape == (4, 16)
    expected = []
    for text in range(4):
        alone = pair_inputs(inputs | {"input_ids": masked["masked_input_ids"]}, text, text)
        image, words = encode(model, alone)
        n_regions = image.tokens.shape[1]
        sequence = torch.cat([model.class_token[None, None], image.tokens, words.tokens], dim=1)
        states = model.encoder(sequence)[0, 1 + n_regions :]
        linear, _, norm = model.word_head.transform
        for word in is_masked[text].nonzero().flatten().tolist():
            vector = norm(nn.functional.gelu(linear(states[word])))
            expected.append(model.word_embeddings.weight @ vector + model.word_head.bias)
    torch.testing.assert_close(output.word_logits, torch.stack(expected))


def test_masked_words_change_no_score(make_inputs):
    model = RcarModel(rcar_config()).eval()
    inputs = make_inputs(model.config, n_images=4)
    is_masked = inputs["attention_mask"].bool()
    hidden = {"masked_input_ids": inputs["input_ids"].masked_fill(is_masked, 15)}
    both = model(**inputs, **hidden, is_masked=is_masked)
    torch.testing.assert_close(both.scores, model(**inputs).scores)
    assert both.word_logits.shape == (int(is_masked.sum()), 16)


# Encoders


@every_kind
def test_every_weight_gets_a_gradient(make_inputs, kind):
    model = RcarModel(make_config(kind))
    inputs = make_inputs(model.config, n_images=4)
    own = torch.arange(4)
    output = model(
        **inputs,
        pairs=torch.stack([own, own], dim=1),
        masked_input_ids=inputs["input_ids"],
        is_masked=inputs["attention_mask"].bool(),
    )
    words = output.word_logits.log_softmax(dim=-1)[:, 5]
    (output.pair_logits.log_softmax(dim=-1)[:, 1].sum() + words.sum()).backward()
    for name, parameter in model.named_parameters():
        if ".pooler." in name:
            continue  # BERT's class token head, which no token goes through
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    for name in ("class_token", "modality.weight", "image_encoder.projection.weight"):
        assert model.get_parameter(name).grad.abs().sum() > 0, name
    assert model.word_embeddings.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (BertConfig(**TEXT_SIZES), 16),
        (RobertaConfig(**TEXT_SIZES, pad_token_id=1), 14),
        (RobertaConfig(**TEXT_SIZES, pad_token_id=0), 15),
    ],
    ids=["bert", "roberta", "roberta padded by 0"],
)
def test_the_limit_of_texts_is_the_longest_that_can_be_read(config, limit):
    model = RcarModel(rcar_config(text_config=config)).eval()
    assert model.text_length_limit == limit
    regions = torch.randn(1, 2, REGION_SIZE)
    longest = torch.randint(4, 16, (1, limit))
    assert model(input_ids=longest, regions=regions).scores.isfinite().all()
    longer = torch.randint(4, 16, (1, limit + 1))
    with pytest.raises(ValueError, match=f"{limit + 1} tokens.*reads {limit}: .*limit_text"):
        model(input_ids=longer, regions=regions)
    with pytest.raises((IndexError, RuntimeError)):
        model.text_encoder(longer, torch.ones_like(longer))


def test_a_text_encoder_without_positions_has_no_limit():
    sizes = {"vocab_size": 16, "d_model": 12, "n_layer": 1, "n_head": 2, "d_inner": 8}
    assert RcarModel(rcar_config(text_config=XLNetConfig(**sizes))).text_length_limit is None


def test_pretrained_backbones_are_loaded(tmp_path):
    config = make_config("pixels")
    vision = AutoModel.from_config(config.vision_config)
    text = BertModel(config.text_config)
    vision.save_pretrained(tmp_path / "vision")
    text.save_pretrained(tmp_path / "text")
    model = RcarModel(config)
    before = copy.deepcopy(model)
    assert not same_weights(model.text_encoder.backbone, text)
    model.load_backbones(text=tmp_path / "text")
    assert same_weights(model.text_encoder.backbone, text)
    assert same_weights(model.image_encoder, before.image_encoder)
    model.load_backbones(vision=str(tmp_path / "vision"))
    assert same_weights(model.image_encoder.backbone, vision)
    for name, tensor in before.state_dict().items():
        if ".backbone." not in name:
            assert torch.equal(model.state_dict()[name], tensor), name


@torch.no_grad()
@pytest.mark.parametrize("n_layers", [1, 3])
def test_a_stream_from_text_gives_the_output_of_the_text_encoder(make_inputs, tmp_path, n_layers):
    config = make_config("stream from text", num_hidden_layers=n_layers)
    text = BertModel(config.text_config).eval()
    for parameter in text.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    text.save_pretrained(tmp_path / "text")
    model = RcarModel(config).eval()
    model.load_backbones(text=tmp_path / "text")
    inputs = make_inputs(config)
    _, words = encode(model, inputs)
    expected = text(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state
    found = model.encoder(words.tokens, words.mask)
    torch.testing.assert_close(found[words.mask], expected[words.mask], atol=1e-5, rtol=1e-4)
    assert len(model.text_encoder.backbone.encoder.layer) == 3 - n_layers
    before = text.encoder.layer[2 - n_layers].output if n_layers < 3 else text.embeddings
    assert torch.equal(model.image_norm.weight, before.LayerNorm.weight)
    model.save_pretrained(tmp_path / "rcar")
    assert same_weights(AutoModel.from_pretrained(tmp_path / "rcar"), model)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": 24}, "`hidden_size` is 24 and that of the text encoder 12"),
        ({"num_attention_heads": 3}, "`num_attention_heads` is 3 and"),
        ({"num_hidden_layers": 4}, "`num_hidden_layers` is 4 and the text encoder has 3"),
        ({"text": {"hidden_act": "relu"}}, "a bert with the activation 'relu'"),
        ({"text_config": XLNetConfig(d_model=12, n_head=2)}, "the text encoder a xlnet"),
    ],
    ids=["size", "heads", "depth", "activation", "type"],
)
def test_a_stream_that_the_text_encoder_cannot_start_is_refused(fields, message):
    with pytest.raises(StrictDataclassError, match=message):
        make_config("stream from text", **fields)


@pytest.mark.parametrize("kind", ["regions", "stream from text"])
def test_frozen_texts_have_the_scores_of_trained_ones_and_no_gradients(make_inputs, kind):
    torch.manual_seed(0)
    full = RcarModel(make_config(kind)).eval()
    model = RcarModel(make_config(kind, text_training="frozen")).eval()
    model.load_state_dict(full.state_dict())
    inputs = make_inputs(model.config)
    expected = full(**inputs).logits_per_image
    output = model.train()(**inputs)
    output.logits_per_image.sum().backward()
    assert not model.text_encoder.backbone.training
    assert all(weight.grad is None for weight in model.text_encoder.backbone.parameters())
    scores = model.eval()(**inputs).logits_per_image
    torch.testing.assert_close(scores, expected, atol=5e-3, rtol=5e-3)  # kept as float16


def test_the_word_head_shares_the_embeddings_of_the_text_encoder():
    model = RcarModel(rcar_config())
    assert model.word_embeddings is model.text_encoder.backbone.embeddings.word_embeddings
    shapes = {name: tuple(p.shape) for name, p in model.word_head.named_parameters()}
    assert (16, 12) not in shapes.values()
    assert shapes["bias"] == (16,)


# Retrieval


@pytest.fixture
def processor() -> RcarProcessor:
    words = "red green blue cat dog bird runs sleeps eats here there"
    tokenizer = train_word_tokenizer([words], mask=True)
    return RcarProcessor(RegionFeatureProcessor(REGION_SIZE), tokenizer)


def test_retrieval_ranks_by_the_scores_of_single_pairs(processor, tiny_regions_dataset):
    dataset = tiny_regions_dataset(5, 2)
    model = RcarModel(rcar_config()).train()
    assert not model.is_two_tower
    pairs = PairDataset(dataset)
    images, texts = pairs.images[:5], pairs.captions()
    expected = np.zeros((5, 10), dtype=np.float32)
    model.eval()
    with torch.no_grad():
        for i, image in enumerate(images):
            for t, text in enumerate(texts):
                output = model(**processor(images=[image], text=[text]))
                expected[i, t] = output.logits_per_image.item()
    model.train()
    for block_size in (2, 3, 64):
        scores = score_matrix(model, processor, images, texts, block_size)
        np.testing.assert_allclose(scores, expected, atol=1e-6, err_msg=f"blocks of {block_size}")
        assert model.training
    found = RetrievalEvaluator(processor, block_size=3)(model, dataset)
    assert found == retrieval_metrics(expected, pairs.row_of_pair)


# Folders


@every_kind
def test_saved_and_loaded_it_is_the_same_bit_for_bit(make_inputs, tmp_path, kind):
    model = RcarModel(make_config(kind, score_dtype="float32")).eval()
    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("config.json", "model.safetensors", "noisy_xmodal_shim.py")
    }
    inputs = make_inputs(model.config)
    expected = model.score(*encode(model, inputs))
    for loader in (RcarModel, AutoModel):
        loaded = loader.from_pretrained(tmp_path)
        assert type(loaded) is RcarModel
        assert not loaded.training
        assert same_weights(loaded, model)
        again = copy.deepcopy(loaded)  # aligned, see test_matching_model.py
        assert torch.equal(again.score(*encode(again, inputs)), expected)


@every_kind
def test_the_config_survives_json(tmp_path, kind):
    config = make_config(kind, loss_range=[1, 99.5], negatives_per_positive=3, masking="bert")
    config.save_pretrained(tmp_path)
    for loader in (RcarConfig, AutoConfig):
        loaded = loader.from_pretrained(tmp_path)
        assert type(loaded) is RcarConfig
        assert loaded.to_dict() | {"_name_or_path": ""} == config.to_dict()
        assert type(loaded.text_config) is BertConfig
        assert loaded.text_config.hidden_size == 12
        assert (loaded.vision_config is None) == (kind != "pixels")
        assert loaded.box_size == (4 if kind in ("5d", "7d") else 0)


def test_sub_configs_may_be_plain_dicts(make_inputs):
    config = RcarConfig(**make_config("pixels").to_dict())
    assert type(config.vision_config) is ResNetConfig
    assert type(config.text_config) is BertConfig
    assert RcarModel(config).eval()(**make_inputs(config)).scores.shape == (3, 4)


@pytest.fixture
def empty_memory_is_poisoned():
    """What nobody has written is not a number."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@every_kind
def test_the_seed_decides_every_weight(empty_memory_is_poisoned, kind):
    assert torch.empty(3).isnan().all()
    models = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        models.append(RcarModel(make_config(kind)))
    for name, tensor in models[0].state_dict().items():
        assert tensor.isfinite().all(), name
    assert same_weights(models[0], models[1])
    for name, parameter in models[0].named_parameters():
        if parameter.std() > 0 and parameter.numel() > 2:
            assert not torch.equal(parameter, models[2].get_parameter(name)), name


def test_weights_are_drawn_as_in_bert():
    model = RcarModel(rcar_config(initializer_range=0.05, hidden_size=64, num_hidden_layers=1))
    layer = model.encoder.first
    for name, parameter in [
        ("class token", model.class_token),
        ("modality", model.modality.weight),
        ("queries, keys and values", layer.query_key_value.weight),
        ("matching head", model.matching_head.weight),
    ]:
        deviation = 0.05 * 4 / math.sqrt(2 * parameter.numel())  # four of its standard errors
        assert parameter.std().item() == pytest.approx(0.05, abs=deviation), name
    assert (model.word_head.bias == 0).all()
    assert (layer.query_key_value.bias == 0).all()
    assert (model.image_norm.weight == 1).all()
    backbone = model.text_encoder.backbone.embeddings.word_embeddings.weight
    assert backbone.std() > 0.2, "the encoder's own range is 0.3"


@pytest.mark.parametrize(
    ("missing", "bound"),
    [
        ("class_token", 2.0),
        ("modality.weight", 2.0),
        ("word_head.bias", 0.0),
        ("matching_head.weight", 2.0),
        ("encoder.layers.1.query_key_value.weight", 2.0),
    ],
)
def test_weights_that_a_checkpoint_lacks_are_initialised(
    empty_memory_is_poisoned, tmp_path, missing, bound
):
    """And they alone: whatever the checkpoint has is kept."""
    model = RcarModel(rcar_config())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7.0)
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    shape = tensors.pop(missing).shape
    save_file(tensors, path, metadata={"format": "pt"})
    state = RcarModel.from_pretrained(tmp_path).state_dict()
    assert state[missing].shape == shape
    assert state[missing].abs().max() <= bound
    assert (state[missing].std() > 0) == (bound > 0)
    for name, tensor in tensors.items():
        assert torch.equal(state[name], tensor), name


# Configs


def test_the_default_config_has_the_sizes_of_the_paper():
    config = RcarConfig()
    assert (config.num_hidden_layers, config.num_attention_heads) == (8, 8)
    assert (config.hidden_size, config.intermediate_size, config.region_size) == (768, 3072, 2048)
    assert config.mask_probability == 0.15
    assert type(config.text_config) is BertConfig
    assert (config.text_config.num_hidden_layers, config.text_config.hidden_size) == (12, 768)
    with torch.device("meta"):
        model = RcarModel(config)
    size, inner = 768, 3072
    layer = 4 * size * (size + 1) + 2 * inner * size + inner + size + 4 * size
    own = {
        "encoder": 8 * layer + 2 * size,
        "image_encoder": (2048 + 1) * size,
        "matching_head": 2 * (size + 1),
        "modality": 2 * size,
    }
    for name, count in own.items():
        found = sum(parameter.numel() for parameter in model.get_submodule(name).parameters())
        assert found == count, name
    assert model.text_length_limit == 512
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"region_size": 0}, "`region_size` must be at least 1, found 0"),
        ({"hidden_size": -8}, "`hidden_size` must be at least 1, found -8"),
        ({"num_hidden_layers": 0}, "`num_hidden_layers` must be at least 1, found 0"),
        ({"num_attention_heads": 0}, "`num_attention_heads` must be at least 1, found 0"),
        ({"intermediate_size": 0}, "`intermediate_size` must be at least 1, found 0"),
        ({"negatives_per_positive": 0}, "`negatives_per_positive` must be at least 1, found 0"),
        ({"hidden_size": 10, "num_attention_heads": 4}, "multiple of.*found 10 and 4"),
        ({"hidden_dropout": 1.0}, r"`hidden_dropout` must be in \[0, 1\), found 1.0"),
        ({"attention_dropout": -0.1}, r"`attention_dropout` must be in \[0, 1\), found -0.1"),
        ({"image_dropout": 2}, r"`image_dropout` must be in \[0, 1\), found 2"),
        ({"mask_probability": 0}, r"`mask_probability` must be in \(0, 1\), found 0"),
        ({"mask_probability": 1.0}, r"`mask_probability` must be in \(0, 1\), found 1.0"),
        ({"mask_weight": 0}, "`mask_weight` must be positive, found 0.*`mlm_epochs`"),
        ({"loss_range": (95, 5)}, r"two percentiles in order, such as \(5, 95\), found \(95, 5\)"),
        ({"loss_range": (5, 5)}, r"`loss_range` .*found \(5, 5\)"),
        ({"loss_range": (0, 101)}, r"`loss_range` .*found \(0, 101\)"),
        ({"loss_range": [5]}, r"`loss_range` .*found \(5,\)"),
        ({"vision_config": {"model_type": "resnet"}, "box_geometry": "5d"}, "'5d'.*pixels"),
        ({"box_geometry": "6d"}, r"(?s)'box_geometry'.*'none', '5d', '7d'.*6d"),
        ({"negative_side": "left"}, r"(?s)'negative_side'.*'both', 'image', 'text'.*left"),
        ({"masking": "none"}, r"(?s)'masking'.*'mask', 'bert'.*none"),
        ({"refurbishment": "no"}, r"(?s)'refurbishment'.*'hard', 'soft'.*no"),
        ({"prediction": "step"}, r"(?s)'prediction'.*'epoch', 'batch'.*step"),
        ({"mixture": "gamma"}, r"(?s)'mixture'.*'beta', 'gaussian'.*gamma"),
        ({"score_dtype": "float16"}, r"(?s)'score_dtype'.*'float32', 'bfloat16'.*float16"),
    ],
)
def test_impossible_configs_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(StrictDataclassError, match=message):
        rcar_config(**options)
