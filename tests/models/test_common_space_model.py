"""What a common-space model promises, whatever its method and whatever it reads."""

import copy
import math
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from noisy_xmodal import (
    LABEL_METHODS,
    CommonSpaceConfig,
    CommonSpaceModel,
    DmcmConfig,
    DmcmModel,
    LabelDataset,
    build_label_model,
)
from noisy_xmodal.modules.towers import ACTIVATIONS, FeatureScaling, LinearProjection
from tiny_backbones import WIDTHS, backbone_config
from toy_labels import IMAGE_SIZE, N_CLASSES, TEXT_SIZE, toy_labels

N_IMAGES, N_TEXTS = 3, 4
SMALL = {"hidden_sizes": [7, 9], "embedding_size": 8}
SIZES = {"image_size": 6, "text_size": 5, "hidden_sizes": [7], "embedding_size": 8, "n_classes": 4}
BACKBONES = ("clip", "siglip")


def make_model(kind: str, **fields: Any) -> CommonSpaceModel:
    """A small model of a method for vectors, or one that reads pictures and texts."""
    if kind in BACKBONES:
        options = {"backbone_config": backbone_config(kind), "n_classes": N_CLASSES}
        return CommonSpaceModel(CommonSpaceConfig(**SMALL | options | fields)).eval()
    sizes = dict(SMALL)
    if "canonical_size" in LABEL_METHODS[kind].shape:
        sizes["canonical_size"] = 5
    return build_label_model(kind, LabelDataset(toy_labels(8)), **sizes | fields).eval()


def stir(model: CommonSpaceModel) -> CommonSpaceModel:
    """Give the fitted parts numbers of their own, as after training."""
    for module in model.modules():
        if isinstance(module, FeatureScaling):
            nn.init.normal_(module.mean)
            nn.init.uniform_(module.scale, 0.5, 2.0)
        elif isinstance(module, LinearProjection):
            nn.init.normal_(module.mean, std=0.1)
            nn.init.normal_(module.weight)
        elif isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model


@pytest.fixture(params=[*LABEL_METHODS, *BACKBONES])
def model(request: pytest.FixtureRequest) -> CommonSpaceModel:
    return stir(make_model(request.param))


def make_inputs(
    model: CommonSpaceModel, n_images: int = N_IMAGES, n_texts: int = N_TEXTS
) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)
    if model.backbone is None:
        return {
            "image_features": torch.randn(n_images, IMAGE_SIZE, generator=random),
            "text_features": torch.randn(n_texts, TEXT_SIZE, generator=random),
        }
    lengths = torch.tensor([5, 3, 4, 2])[:n_texts, None]
    words = torch.randint(3, 50, (n_texts, 5), generator=random)
    return {
        "pixel_values": torch.randn(n_images, 3, 32, 32, generator=random),
        "input_ids": words * (torch.arange(5) < lengths),
        "attention_mask": (torch.arange(5) < lengths).long(),
    }


def image_part(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in inputs.items() if k in ("image_features", "pixel_values")}


def text_part(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in inputs.items() if k not in image_part(inputs)}


def assert_same_outputs(found: Any, expected: Any) -> None:
    assert set(found.keys()) == set(expected.keys())
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


# What comes out


def test_outputs_have_the_promised_names_and_shapes(model):
    config = model.config
    output = model(**make_inputs(model))
    embeds = config.canonical_size or config.embedding_size
    sizes = {"embeds": embeds, "outputs": config.embedding_size}
    if config.classifier != "none":
        sizes["class_logits"] = N_CLASSES
    expected = {
        "logits_per_image": (N_IMAGES, N_TEXTS),
        "logits_per_text": (N_TEXTS, N_IMAGES),
    }
    for modality, n, width in (
        ("image", N_IMAGES, config.image_size),
        ("text", N_TEXTS, config.text_size),
    ):
        expected |= {f"{modality}_{name}": (n, size) for name, size in sizes.items()}
        expected[f"{modality}_features"] = (n, width)
        if config.reconstructs:
            expected[f"{modality}_reconstruction"] = (n, width)
    assert {name: tuple(value.shape) for name, value in output.items()} == expected
    for name, value in output.items():
        assert value.dtype == torch.float32, name
        assert value.isfinite().all(), name


def test_logits_are_cosines_of_unit_vectors(model):
    output = model(**make_inputs(model))
    torch.testing.assert_close(output.image_embeds.norm(dim=-1), torch.ones(N_IMAGES))
    torch.testing.assert_close(output.text_embeds.norm(dim=-1), torch.ones(N_TEXTS))
    for i in range(N_IMAGES):
        for j in range(N_TEXTS):
            cosine = (output.image_embeds[i] * output.text_embeds[j]).sum()
            torch.testing.assert_close(output.logits_per_image[i, j], cosine)
    assert torch.equal(output.logits_per_text, output.logits_per_image.T)
    assert output.logits_per_image.std() > 0, "all pairs have the same score"


def test_each_side_alone_gives_what_forward_gives(model):
    inputs = make_inputs(model)
    output = model(**inputs)
    images, texts = image_part(inputs), text_part(inputs)
    assert model.is_two_tower
    torch.testing.assert_close(model.image_features_of(**images), output.image_features)
    torch.testing.assert_close(model.text_features_of(**texts), output.text_features)
    image, text = model.encode_image(**images), model.encode_text(**texts)
    torch.testing.assert_close(image, output.image_outputs)
    torch.testing.assert_close(text, output.text_outputs)
    torch.testing.assert_close(model.get_image_features(**images), output.image_embeds)
    torch.testing.assert_close(model.get_text_features(**texts), output.text_embeds)
    torch.testing.assert_close(model.score(image, text), output.logits_per_image)
    if model.classifier is not None:
        torch.testing.assert_close(model.class_logits(image), output.image_class_logits)
        torch.testing.assert_close(model.class_logits(text), output.text_class_logits)


def test_one_pair_at_a_time_has_the_scores_of_the_batch(model):
    inputs = make_inputs(model)
    whole = model(**inputs)
    for i in range(N_IMAGES):
        for j in range(N_TEXTS):
            pair = {k: v[i : i + 1] for k, v in image_part(inputs).items()}
            pair |= {k: v[j : j + 1] for k, v in text_part(inputs).items()}
            score = model(**pair).logits_per_image
            torch.testing.assert_close(score, whole.logits_per_image[i : i + 1, j : j + 1])


def slow_layers(tower: nn.Sequential, values: Tensor, activation: str) -> Tensor:
    """A tower by its parameters alone, in double precision."""
    state = {name: value.double() for name, value in tower.state_dict().items()}
    places = sorted({int(name.split(".")[0]) for name in state})
    for place in places:
        if f"{place}.running_mean" in state:
            mean, variance = state[f"{place}.running_mean"], state[f"{place}.running_var"]
            values = (values - mean) / (variance + 1e-5).sqrt()
            continue
        values = values @ state[f"{place}.weight"].T + state[f"{place}.bias"]
        if f"{place}.weight" != [name for name in state if name.endswith("weight")][-1]:
            values = ACTIVATIONS[activation]()(values)
    return values


def unit(values: Tensor) -> Tensor:
    return values / values.square().sum(dim=1, keepdim=True).sqrt()


def test_towers_classifier_and_decoders_are_what_the_config_says(model):
    config = model.config
    config.temperature = 0.5
    output = model(**make_inputs(model))
    for modality in ("image", "text"):
        scaling = model.get_submodule(f"{modality}_scaling")
        features = output[f"{modality}_features"].double()
        scaled = (features - scaling.mean.double()) * scaling.scale.double()
        tower = model.get_submodule(f"{modality}_tower")
        expected = slow_layers(tower, scaled, config.activation)
        expected = unit(expected) if config.normalize else expected
        torch.testing.assert_close(output[f"{modality}_outputs"], expected.float())
        embeds = expected
        if config.canonical_size is not None:
            projection = model.get_submodule(f"{modality}_projection")
            embeds = (embeds - projection.mean.double()) @ projection.weight.double()
        torch.testing.assert_close(output[f"{modality}_embeds"], unit(embeds).float())
        if config.classifier == "linear":
            weight, bias = model.classifier.weight.double(), model.classifier.bias.double()
            logits = expected @ weight.T + bias
            torch.testing.assert_close(output[f"{modality}_class_logits"], logits.float())
        elif config.classifier != "none":
            logits = expected @ unit(model.classifier.weight.double()).T / 0.5
            torch.testing.assert_close(output[f"{modality}_class_logits"], logits.float())
        if config.reconstructs:
            decoder = model.get_submodule(f"{modality}_decoder")
            rebuilt = slow_layers(decoder, expected, config.activation)
            torch.testing.assert_close(output[f"{modality}_reconstruction"], rebuilt.float())


def test_every_trainable_weight_gets_a_gradient(model):
    model.train()
    output = model(**make_inputs(model))
    parts = [
        output[name]
        for name in output
        if name.endswith(("embeds", "outputs", "class_logits", "reconstruction"))
    ]
    sum(part.square().sum() + part[:, 0].sum() for part in parts).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name
        else:
            assert parameter.grad is None, name


# Kept and read again


def test_saved_and_loaded_it_gives_the_same_outputs(model, tmp_path):
    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("config.json", "model.safetensors", "noisy_xmodal_shim.py")
    }
    inputs = make_inputs(model)
    expected = model(**inputs)
    for loader in (type(model), AutoModel):
        loaded = loader.from_pretrained(tmp_path)
        assert type(loaded) is type(model)
        assert not any(module.training for module in loaded.modules())
        # A copy lies aligned as the saved weights did, so that CPU kernels sum in the same order.
        assert_same_outputs(copy.deepcopy(loaded)(**inputs), expected)


def test_the_config_survives_json(model, tmp_path):
    model.config.save_pretrained(tmp_path)
    for loader in (type(model.config), AutoConfig):
        loaded = loader.from_pretrained(tmp_path)
        assert type(loaded) is type(model.config)
        assert loaded.to_dict() | {"_name_or_path": ""} == model.config.to_dict()
        assert type(loaded.backbone_config) is type(model.config.backbone_config)


def test_shards_are_put_together(model, tmp_path):
    model.save_pretrained(tmp_path, max_shard_size="1KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    inputs = make_inputs(model)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert_same_outputs(copy.deepcopy(loaded)(**inputs), model(**inputs))


WHOLE = {
    "image_size": 6,
    "text_size": 5,
    "hidden_sizes": [40],
    "embedding_size": 16,
    "n_classes": N_CLASSES,
    "batch_norm": True,
    "reconstructs": True,
    "canonical_size": 3,
}
TOWER = 1 / math.sqrt(6)
DECODER = 1 / math.sqrt(16)
LINEAR = 1 / math.sqrt(40)


@pytest.mark.parametrize(
    ("missing", "low", "high"),
    [
        ("image_tower.0.weight", -TOWER, TOWER),
        ("image_tower.0.bias", -TOWER, TOWER),
        ("text_tower.3.weight", -LINEAR, LINEAR),
        ("text_decoder.0.weight", -DECODER, DECODER),
        ("image_decoder.2.bias", -LINEAR, LINEAR),
        ("image_tower.2.running_mean", 0, 0),
        ("image_tower.2.running_var", 1, 1),
        ("image_scaling.mean", 0, 0),
        ("text_scaling.scale", 1, 1),
        ("image_projection.mean", 0, 0),
        ("text_projection.weight", 0, 1),
        ("classifier.weight", -1, 1),
    ],
)
def test_weights_that_a_checkpoint_lacks_are_initialised(tmp_path, missing, low, high):
    """And they alone: whatever the checkpoint has is kept, in the same module too."""
    model = CommonSpaceModel(CommonSpaceConfig(**WHOLE))
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.fill_(7.0)
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    shape = tensors.pop(missing).shape
    save_file(tensors, path, metadata={"format": "pt"})

    loaded = CommonSpaceModel.from_pretrained(tmp_path)
    state = loaded.state_dict()
    fresh = state[missing]
    assert fresh.shape == shape
    if missing == "text_projection.weight":
        assert torch.equal(fresh, torch.eye(16)[:, :3])
    elif missing == "classifier.weight":
        torch.testing.assert_close(fresh @ fresh.T, torch.eye(N_CLASSES))
    else:
        low, high = (torch.tensor(float(bound)) for bound in (low, high))  # in float32
        assert low <= fresh.min() <= fresh.max() <= high
        if low < high:
            assert fresh.std() > 0.35 * high, "not drawn from the whole range"
    for name, tensor in tensors.items():
        assert torch.equal(state[name], tensor), name
    assert loaded(**make_inputs(loaded)).logits_per_image.isfinite().all()


def test_a_fresh_model_is_drawn_as_torch_draws_layers():
    model = CommonSpaceModel(CommonSpaceConfig(**WHOLE))
    torch.testing.assert_close(
        model.classifier.weight @ model.classifier.weight.T, torch.eye(N_CLASSES)
    )
    assert model.image_scaling.is_identity
    assert model.text_scaling.is_identity
    for module in model.modules():
        if isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            for values in (module.weight, module.bias):
                assert 0.5 * bound < values.abs().max() <= bound


def test_the_shared_last_layer_stays_shared(tmp_path):
    model = make_model("dscmr")
    model.save_pretrained(tmp_path)
    for one in (model, CommonSpaceModel.from_pretrained(tmp_path)):
        last = one.image_tower[-1]
        assert one.text_tower[-1].weight is last.weight
        assert one.text_tower[-1].bias is last.bias
        assert one.text_tower[0].weight is not one.image_tower[0].weight
        optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
        one(**make_inputs(one)).image_outputs.sum().backward()
        before = last.weight.detach().clone()
        optimizer.step()
        assert not torch.equal(last.weight, before)
        assert torch.equal(one.text_tower[-1].weight, last.weight)


def test_the_towers_of_other_methods_share_nothing():
    model = make_model("dmcm")
    assert model.image_tower[-1].weight is not model.text_tower[-1].weight
    assert not torch.equal(model.image_tower[-1].weight, model.text_tower[-1].weight)


def test_fixed_prototypes_are_orthonormal_and_stay():
    model = make_model("sdml")
    weight = model.classifier.weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(N_CLASSES))
    assert not weight.requires_grad
    before = weight.clone()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    model.train()(**make_inputs(model)).image_class_logits.sum().backward()
    optimizer.step()
    assert torch.equal(model.classifier.weight, before)
    assert model.image_tower[0].weight.grad.abs().sum() > 0


def test_learned_prototypes_are_orthonormal_at_first():
    weight = make_model("dmcm").classifier.weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(N_CLASSES))
    assert weight.requires_grad


@pytest.mark.parametrize("method", ["dmcm", "dscmr", "sdml"])
def test_in_half_precision_outputs_are_finite(method, tmp_path):
    model = stir(make_model(method))
    model.save_pretrained(tmp_path)
    half = AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    inputs = make_inputs(model)
    output = half(**{name: value.bfloat16() for name, value in inputs.items()})
    assert output.image_outputs.dtype == torch.bfloat16
    assert output.image_embeds.dtype == output.image_class_logits.dtype == torch.float32
    for name, value in model(**inputs).items():
        assert output[name].isfinite().all(), name
        torch.testing.assert_close(output[name].float(), value, atol=0.1, rtol=0.1, msg=name)


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_backbone_in_half_precision_gives_finite_outputs(kind, tmp_path):
    model = make_model(kind)
    model.save_pretrained(tmp_path)
    half = AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    output = half(**make_inputs(model))
    assert output.image_features.dtype == torch.bfloat16
    assert output.logits_per_image.dtype == torch.float32
    for name, value in output.items():
        assert value.isfinite().all(), name


# Backbones


@pytest.mark.parametrize("kind", BACKBONES)
def test_the_sizes_are_those_of_the_backbone(kind):
    config = CommonSpaceConfig(backbone_config=backbone_config(kind))
    assert config.image_size == config.text_size == WIDTHS[kind]
    plain = CommonSpaceConfig(backbone_config=backbone_config(kind).to_dict())
    assert type(plain.backbone_config) is type(config.backbone_config)
    assert plain.image_size == plain.text_size == WIDTHS[kind]


@pytest.mark.parametrize("kind", BACKBONES)
def test_the_towers_read_what_the_backbone_gives(kind):
    model = make_model(kind)
    inputs = make_inputs(model)
    output = model(**inputs)
    with torch.no_grad():
        joint = model.backbone(**inputs)
    # Embeds of transformers' own forward pass are the same vectors at unit length.
    torch.testing.assert_close(unit(output.image_features), joint.image_embeds)
    torch.testing.assert_close(unit(output.text_features), joint.text_embeds)
    vectors = {f"{side}_features": output[f"{side}_features"] for side in ("image", "text")}
    assert_same_outputs(model(**vectors), output)


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_frozen_backbone_stays_as_it_is(kind, tmp_path):
    model = make_model(kind)
    model.save_pretrained(tmp_path)
    for one in (model, AutoModel.from_pretrained(tmp_path)):
        one.train()
        assert one.image_tower.training
        assert not any(module.training for module in one.backbone.modules())
        assert not any(parameter.requires_grad for parameter in one.backbone.parameters())
        before = {name: value.clone() for name, value in one.state_dict().items()}
        optimizer = torch.optim.AdamW(one.parameters(), lr=0.1, weight_decay=0.1)
        output = one(**make_inputs(one))
        assert not output.image_features.requires_grad
        assert not output.text_features.requires_grad
        output.logits_per_image.sum().backward()
        assert all(parameter.grad is None for parameter in one.backbone.parameters())
        optimizer.step()
        for name, value in one.state_dict().items():
            if name.startswith("backbone."):
                assert torch.equal(value, before[name]), name
        assert not torch.equal(one.image_tower[0].weight, before["image_tower.0.weight"])


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_backbone_that_is_not_frozen_learns(kind):
    model = make_model(kind, freeze_backbone=False).train()
    assert all(module.training for module in model.backbone.modules())
    output = model(**make_inputs(model))
    output.logits_per_image.square().sum().backward()
    reached = {
        name
        for name, parameter in model.backbone.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }
    assert any(name.startswith("vision_model.embeddings") for name in reached)
    assert any(name.startswith("text_model.embeddings") for name in reached)


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_pretrained_backbone_is_loaded(kind, tmp_path):
    pretrained = AutoModel.from_config(backbone_config(kind))
    pretrained.save_pretrained(tmp_path)
    model = make_model(kind)
    tower = model.image_tower[0].weight.clone()
    model.load_backbone(tmp_path)
    for name, value in pretrained.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], value), name
    assert torch.equal(model.image_tower[0].weight, tower)


def test_backbones_keep_their_own_initialisation():
    """As a layer of 16 numbers would, it would be drawn from -.25 to .25."""
    model = make_model("clip")
    words = model.backbone.text_model.embeddings.token_embedding.weight
    assert 0.015 < words.std() < 0.025
    assert (model.backbone.text_model.encoder.layers[0].mlp.fc1.bias == 0).all()


# What is refused


def test_vectors_of_another_width_are_refused():
    model = make_model("dmcm")
    inputs = make_inputs(model)
    with pytest.raises(ValueError, match=r"`image_features` has the shape \(3, 5\).*\(n, 6\)"):
        model(**inputs | {"image_features": torch.randn(3, 5)})
    with pytest.raises(ValueError, match=r"`text_features` has the shape \(4, 6\).*\(n, 5\)"):
        model(**inputs | {"text_features": torch.randn(4, 6)})
    with pytest.raises(ValueError, match=r"`image_features` has the shape \(6,\)"):
        model.get_image_features(image_features=torch.randn(6))
    with pytest.raises(ValueError, match=r"`image_features` has the shape \(1, 3, 6\)"):
        model.get_image_features(image_features=torch.randn(1, 3, 6))


def test_a_missing_side_is_named():
    vectors, raw = make_model("dmcm"), make_model("clip")
    with pytest.raises(ValueError, match=r"^pass `text_features`\.$"):
        vectors(image_features=torch.randn(3, IMAGE_SIZE))
    with pytest.raises(ValueError, match=r"^pass `image_features`\.$"):
        vectors(text_features=torch.randn(3, TEXT_SIZE))
    with pytest.raises(ValueError, match=r"^pass `pixel_values` or `image_features`\.$"):
        raw(**text_part(make_inputs(raw)))
    with pytest.raises(ValueError, match=r"^pass `input_ids` or `text_features`\.$"):
        raw(**image_part(make_inputs(raw)))


def test_pictures_and_texts_need_a_backbone():
    model, inputs = make_model("dmcm"), make_inputs(make_model("clip"))
    for call, part in (
        (model.get_image_features, image_part),
        (model.get_text_features, text_part),
    ):
        with pytest.raises(ValueError, match="reads feature vectors, not pictures and texts"):
            call(**part(inputs))


def test_a_model_without_classes_says_so():
    model = make_model("dcca")
    with pytest.raises(ValueError, match="a model of dcca has no classifier"):
        model.class_logits(torch.randn(2, 8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 0}, "`image_size` must be at least 1, found 0"),
        ({"text_size": -1}, "`text_size` must be at least 1, found -1"),
        ({"embedding_size": 0}, "`embedding_size` must be at least 1, found 0"),
        ({"hidden_sizes": [4, 0]}, r"`hidden_sizes` must all be at least 1, found \[4, 0\]"),
        ({"n_classes": 1}, "`n_classes` must be at least 2, found 1"),
        ({"temperature": 0}, "`temperature` must be positive, found 0"),
        ({"temperature": -1.0}, "`temperature` must be positive, found -1.0"),
        ({"embedding_size": 8, "canonical_size": 9}, r"`canonical_size` must be in 1 \.\. 8"),
        ({"canonical_size": 0}, "`canonical_size` must be in .* found 0"),
        ({"activation": "swish"}, "(?s)'activation'.*swish"),
        ({"classifier": "softmax"}, "(?s)'classifier'.*softmax"),
        ({"image_size": "6"}, "'image_size' expected int, got str"),
        ({"hidden_sizes": 12}, "hidden_sizes"),
        ({"normalize": "yes"}, "'normalize' expected bool, got str"),
    ],
)
@pytest.mark.parametrize("kind", [CommonSpaceConfig, DmcmConfig])
def test_impossible_configs_are_refused(kind, options: dict[str, Any], message: str):
    with pytest.raises((StrictDataclassError, TypeError), match=message):
        kind(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 1.1}, r"`beta` must be in \[0, 1\], found 1.1"),
        ({"mixing_weight": -0.1}, r"`mixing_weight` must be in \[0, 1\], found -0.1"),
        (
            {"selection": "threshold", "clean_threshold": 2},
            r"`clean_threshold` must be in \[0, 1\], found 2",
        ),
        ({"contrastive_temperature": 0}, "`contrastive_temperature` must be positive, found 0"),
        ({"classifier": "none"}, "DMCM needs class logits"),
        ({"selection": "rate"}, "`selection` is 'rate' and `noise_rate` None"),
        ({"selection": "threshold", "noise_rate": 0.4}, "`selection` is 'threshold'"),
        ({"selection": "rate", "noise_rate": 1.5}, r"`noise_rate` must be in \[0, 1\], found 1.5"),
        ({"mixture": "gamma"}, "(?s)'mixture'.*gamma"),
        ({"mixture_scope": "step"}, "(?s)'mixture_scope'.*step"),
    ],
)
def test_impossible_constants_of_dmcm_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(StrictDataclassError, match=message):
        DmcmConfig(**options)


def test_edges_of_what_is_possible_are_taken():
    config = CommonSpaceConfig(
        image_size=1, text_size=1, embedding_size=1, hidden_sizes=(), canonical_size=1, n_classes=2
    )
    assert CommonSpaceModel(config)(torch.ones(1, 1), torch.ones(1, 1)).logits_per_image.isfinite()
    CommonSpaceConfig(n_classes=0, classifier="none")
    DmcmConfig(selection="rate", noise_rate=0, beta=1, mixing_weight=0)
    DmcmConfig(selection="threshold", clean_threshold=1)


def test_every_activation_of_the_config_is_known():
    for name in ACTIVATIONS:
        make_model("mrl", activation=name)


def test_a_method_builds_a_model_of_its_own_kind():
    for method in LABEL_METHODS:
        model = make_model(method)
        assert type(model) is (DmcmModel if method == "dmcm" else CommonSpaceModel)
        assert model.config.method == method
        assert model.config.n_classes == N_CLASSES
        assert (model.config.image_size, model.config.text_size) == (IMAGE_SIZE, TEXT_SIZE)


def test_an_unknown_method_is_refused_with_the_known_ones():
    pairs = LabelDataset(toy_labels(8))
    with pytest.raises(ValueError, match=r"no method 'ccl'; there are: dmcm, mrl, .*dccae"):
        build_label_model("ccl", pairs)


def test_fixed_prototypes_stay_fixed_after_loading(tmp_path):
    config = CommonSpaceConfig(**SIZES, classifier="fixed")
    CommonSpaceModel(config).save_pretrained(tmp_path)
    loaded = CommonSpaceModel.from_pretrained(tmp_path)
    assert not loaded.classifier.weight.requires_grad
    assert loaded.image_tower[0].weight.requires_grad


@pytest.mark.parametrize("canonical_size", [None, 3])
@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
def test_half_precision_reads_vectors_of_any_precision(tmp_path, canonical_size, given):
    CommonSpaceModel(CommonSpaceConfig(**SIZES, canonical_size=canonical_size)).save_pretrained(
        tmp_path
    )
    half = CommonSpaceModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    output = half(torch.randn(3, 6).to(given), torch.randn(2, 5).to(given))
    assert output.logits_per_image.isfinite().all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_sizes": [], "share_last_layer": True}, "needs a hidden layer"),
        ({"n_classes": 9, "classifier": "fixed"}, "no more orthonormal directions"),
    ],
)
def test_parts_that_cannot_be_are_refused(fields, message):
    with pytest.raises(StrictDataclassError, match=message):
        CommonSpaceConfig(**SIZES | fields)
