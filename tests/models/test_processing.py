"""Pictures, region features and captions become the inputs of a model."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoProcessor, ViTImageProcessorPil

from noisy_xmodal import (
    MatchingConfig,
    MatchingModel,
    MatchingProcessor,
    NcrProcessor,
    RegionFeatureProcessor,
    train_word_tokenizer,
)

TEXTS = ["a red cat", "dog"]


def regions(*counts: int, size: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((count, size)).astype(np.float32) for count in counts]


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sizes = [(20, 30), (16, 16)]
    return [Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)) for size in sizes]


@pytest.fixture
def tokenizer():
    return train_word_tokenizer(["a red cat and a dog"], max_length=6)


@pytest.fixture
def region_processor(tokenizer) -> MatchingProcessor:
    return MatchingProcessor(RegionFeatureProcessor(region_size=4), tokenizer)


@pytest.fixture
def picture_processor(tokenizer) -> MatchingProcessor:
    size = {"height": 16, "width": 16}
    return MatchingProcessor(ViTImageProcessorPil(size=size), tokenizer)


def test_ragged_regions_are_padded_with_zeros_and_masked():
    arrays = regions(2, 5, 1)
    features = RegionFeatureProcessor(region_size=4)(arrays)
    assert set(features) == {"regions", "region_mask"}
    assert features["regions"].shape == (3, 5, 4)
    assert features["regions"].dtype == torch.float32
    assert features["region_mask"].dtype == torch.bool
    for row, array in enumerate(arrays):
        n = len(array)
        assert features["regions"][row, :n].tolist() == array.tolist()
        assert (features["regions"][row, n:] == 0).all()
        assert features["region_mask"][row].tolist() == [True] * n + [False] * (5 - n)


@pytest.mark.parametrize("kind", ["list", "float16", "tensor", "stacked"])
def test_regions_may_be_lists_arrays_or_tensors(kind):
    arrays = regions(3, 3)
    expected = np.stack(arrays)
    given = {
        "list": [array.tolist() for array in arrays],
        "float16": [array.astype(np.float16) for array in arrays],
        "tensor": [torch.from_numpy(array) for array in arrays],
        "stacked": np.stack(arrays),
    }[kind]
    found = RegionFeatureProcessor(region_size=4)(given, return_tensors="pt")["regions"]
    assert found.dtype == torch.float32
    tolerance = 1e-2 if kind == "float16" else 0
    np.testing.assert_allclose(found.numpy(), expected, atol=tolerance)


@pytest.mark.parametrize("as_tensor", [False, True])
def test_one_matrix_is_one_image(as_tensor):
    (array,) = regions(3)
    given = torch.from_numpy(array) if as_tensor else array
    features = RegionFeatureProcessor(region_size=4)(given)
    assert features["regions"].shape == (1, 3, 4)
    assert features["region_mask"].all()


@pytest.mark.parametrize("shape", [(3, 5), (0, 4), (4,), (1, 3, 4)])
def test_features_of_another_shape_are_refused_by_position(shape):
    processor = RegionFeatureProcessor(region_size=4)
    message = r"image 1: expected region features of shape \(n_regions, 4\), found "
    with pytest.raises(ValueError, match=message) as error:
        processor([*regions(2), np.zeros(shape)])
    assert str(shape) in str(error.value)


def test_a_processor_gives_what_its_parts_give(region_processor):
    arrays = regions(2, 3)
    features = region_processor(images=arrays, text=TEXTS)
    assert set(features) == {"regions", "region_mask", "input_ids", "attention_mask"}
    alone = region_processor.image_processor(arrays)
    assert torch.equal(features["regions"], alone["regions"])
    assert torch.equal(features["region_mask"], alone["region_mask"])
    vocabulary = region_processor.tokenizer.get_vocab()
    words = [vocabulary[word] for word in ("a", "red", "cat", "dog")]
    assert features["input_ids"].tolist() == [[1, *words[:3], 2], [1, words[3], 2, 0, 0]]
    assert features["attention_mask"].tolist() == [[1] * 5, [1, 1, 1, 0, 0]]


def test_pictures_become_pixels(picture_processor):
    features = picture_processor(images=pictures(), text=TEXTS)
    assert set(features) == {"pixel_values", "input_ids", "attention_mask"}
    assert features["pixel_values"].shape == (2, 3, 16, 16)
    expected = picture_processor.image_processor(pictures(), return_tensors="pt")["pixel_values"]
    assert torch.equal(features["pixel_values"], expected)
    assert picture_processor(images=pictures()[0])["pixel_values"].shape == (1, 3, 16, 16)


def test_one_side_alone_gives_that_side(region_processor):
    assert set(region_processor(images=regions(2))) == {"regions", "region_mask"}
    assert set(region_processor(text=TEXTS)) == {"input_ids", "attention_mask"}
    assert region_processor(text="a dog")["input_ids"].shape == (1, 4)


def test_neither_side_is_refused(region_processor):
    with pytest.raises(ValueError, match="pass `images`, `text` or both"):
        region_processor()


def test_long_texts_are_cut_and_options_reach_the_tokenizer(region_processor):
    long = "a red cat and a red dog and a cat"
    assert region_processor(text=[long, "dog"])["input_ids"].shape == (2, 6)
    padded = region_processor(text=TEXTS, padding="max_length", max_length=9)
    assert padded["input_ids"].shape == (2, 9)


def test_no_token_types_even_from_a_tokenizer_that_has_them(region_processor):
    names = ["input_ids", "token_type_ids", "attention_mask"]
    region_processor.tokenizer.model_input_names = names
    assert "token_type_ids" in region_processor.tokenizer("a dog")
    assert set(region_processor(text="a dog")) == {"input_ids", "attention_mask"}


@pytest.mark.parametrize("kind", ["regions", "pixels"])
@pytest.mark.parametrize("cls", [MatchingProcessor, NcrProcessor])
def test_saved_and_loaded_it_gives_the_same_inputs(
    region_processor, picture_processor, tmp_path, kind, cls
):
    source = region_processor if kind == "regions" else picture_processor
    processor = cls(source.image_processor, source.tokenizer)
    images = regions(2, 3) if kind == "regions" else pictures()
    processor.save_pretrained(tmp_path)
    expected = processor(images=images, text=TEXTS)
    for loader in (cls, AutoProcessor):
        loaded = loader.from_pretrained(tmp_path)
        assert type(loaded) is cls
        assert type(loaded.image_processor) is type(processor.image_processor)
        features = loaded(images=images, text=TEXTS)
        assert set(features) == set(expected)
        for name, value in expected.items():
            assert torch.equal(features[name], value), name
    if kind == "regions":
        assert loaded.image_processor.region_size == 4
    assert not list(tmp_path.rglob("*.bin"))
    assert not list(tmp_path.rglob("*.p*kl*"))


@pytest.mark.parametrize("kind", ["regions", "pixels"])
def test_it_loads_beside_its_model(
    region_processor, picture_processor, tiny_config, tmp_path, kind
):
    """With the model's config.json in the same folder, as a trained model is shared."""
    processor = region_processor if kind == "regions" else picture_processor
    MatchingModel(tiny_config(MatchingConfig, images=kind)).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert type(loaded) is MatchingProcessor
    assert type(loaded.image_processor) is type(processor.image_processor)
    images = AutoImageProcessor.from_pretrained(tmp_path)
    given = regions(2) if kind == "regions" else pictures()
    name = "regions" if kind == "regions" else "pixel_values"
    expected = processor(images=given)[name]
    torch.testing.assert_close(images(given, return_tensors="pt")[name], expected)


def test_no_image_at_all_is_refused_by_name():
    with pytest.raises(ValueError, match="image"):
        RegionFeatureProcessor(region_size=4)([])
