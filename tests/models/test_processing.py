"""Pictures, region features and captions become the inputs of a model."""

import datasets
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
    PairDataset,
    RegionFeatureProcessor,
    train_word_tokenizer,
)
from noisy_xmodal.modules.pixels import to_rgb

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


def as_trained(processor, path) -> torch.Tensor:
    """Pixels of a file by the way that training goes: a dataset, then the image processor."""
    rows = datasets.Dataset.from_dict(
        {"image": [str(path)], "captions": [["a cat"]], "image_id": ["0"]},
        features=datasets.Features(
            {
                "image": datasets.Image(),
                "captions": datasets.List(datasets.Value("string")),
                "image_id": datasets.Value("string"),
            }
        ),
    )
    return PairDataset(rows, image_transform=processor.image_processor)[0]["pixel_values"][None]


def odd_picture(kind: str, folder) -> str:
    """A file of a picture that is not plain RGB."""
    colours = np.random.default_rng(3).integers(0, 255, (20, 30, 4), dtype=np.uint8)
    mode = "RGB" if kind == "rotated" else kind
    picture = Image.fromarray(colours, "RGBA").convert("RGB" if mode == "CMYK" else "RGBA")
    picture = picture.convert(mode)
    path = folder / f"{kind}.{'jpg' if kind in ('rotated', 'CMYK') else 'png'}"
    exif = Image.Exif()
    if kind == "rotated":
        exif[Image.ExifTags.Base.Orientation] = 6
    picture.save(path, exif=exif, **({"transparency": 0} if kind == "P" else {}))
    return str(path)


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "P", "L", "LA", "CMYK", "1", "I;16", "rotated"])
def test_a_picture_gives_the_pixels_of_training_however_it_is_given(
    picture_processor, tmp_path, kind
):
    if kind == "I;16":
        path = str(tmp_path / "deep.png")
        Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).save(path)
    else:
        path = odd_picture(kind, tmp_path)
    expected = as_trained(picture_processor, path)
    opened = Image.open(path)
    upright = Image.fromarray(decoded(path))
    for given in (path, tmp_path / path, opened, [path], upright, np.array(upright)):
        assert torch.equal(picture_processor(images=given)["pixel_values"], expected)
    if kind == "rotated":
        assert upright.size == (20, 30)
        assert opened.size == (30, 20)  # what was given is left as it was
        plain = picture_processor.image_processor(opened, return_tensors="pt")["pixel_values"]
        assert not torch.equal(plain, expected)


def decoded(path: str) -> np.ndarray:
    """The pixels that `datasets` makes of a file, on white in 8 bits."""
    column = datasets.Dataset.from_dict({"image": [path]}).cast_column("image", datasets.Image())
    return np.array(to_rgb(column[0]["image"]))


def test_pictures_of_all_kinds_may_be_mixed(picture_processor, tmp_path):
    path = odd_picture("RGBA", tmp_path)
    array = np.array(pictures()[0])
    given = [pictures()[0], path, array, torch.from_numpy(array), array[..., 0]]
    together = picture_processor(images=given, text=["dog"])["pixel_values"]
    apart = [picture_processor(images=one)["pixel_values"] for one in given]
    assert torch.equal(together, torch.cat(apart))
    assert torch.equal(together[0], together[2])
    assert torch.equal(together[0], together[3])
    stacked = picture_processor(images=np.stack([array, array]))["pixel_values"]
    assert torch.equal(stacked, together[[0, 0]])
    channels_first = torch.from_numpy(array).permute(2, 0, 1)
    assert torch.equal(picture_processor(images=channels_first)["pixel_values"], together[:1])


def test_files_that_are_missing_or_broken_are_named_with_their_position(
    picture_processor, tmp_path
):
    good = odd_picture("RGB", tmp_path)
    broken = tmp_path / "broken.png"
    broken.write_bytes((tmp_path / "RGB.png").read_bytes()[:200])
    with pytest.raises(FileNotFoundError, match=r"image 1: there is no file .*nowhere\.png"):
        picture_processor(images=[good, tmp_path / "nowhere.png"])
    for bad in (broken, tmp_path):
        with pytest.raises(ValueError, match=f"image 1: .*Pillow cannot read .*{bad.name}"):
            picture_processor(images=[good, str(bad)])
    for url in ("https://x.org/a.png", "file:///a.png", "data:image/png;base64,AAAA"):
        with pytest.raises(ValueError, match=r"image 1 is '.*local files .*\. Download it"):
            picture_processor(images=[good, url])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "there is no image"),
        (3, "an image is a int"),
        ([3.0], "image 0 is a float"),
        ([["a.png"]], "image 0 is a list"),
    ],
)
def test_what_is_no_picture_is_refused(picture_processor, given, message):
    with pytest.raises(ValueError, match=message):
        picture_processor(images=given)


def test_regions_may_be_files(region_processor, tmp_path):
    arrays = regions(2, 3)
    np.save(tmp_path / "a.npy", arrays[0])
    expected = region_processor(images=arrays)
    for given in ([tmp_path / "a.npy", arrays[1]], [str(tmp_path / "a.npy"), arrays[1].tolist()]):
        found = region_processor(images=given)
        assert torch.equal(found["regions"], expected["regions"])
        assert torch.equal(found["region_mask"], expected["region_mask"])
    assert region_processor(images=str(tmp_path / "a.npy"))["regions"].shape == (1, 2, 4)


def test_files_that_hold_no_regions_are_refused(region_processor, tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    np.save(tmp_path / "narrow.npy", np.zeros((2, 3)))
    (good,) = regions(2)
    for name in ("objects.npy", "broken.npy"):
        with pytest.raises(ValueError, match=f"image 1: .*{name}.* is not a NumPy array"):
            region_processor(images=[good, tmp_path / name])
    with pytest.raises(ValueError, match=r"image 1: expected region features .*\(2, 3\)"):
        region_processor(images=[good, tmp_path / "narrow.npy"])
    (tmp_path / "cat.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"image 0 is .*cat\.png.*region features.*\.npy"):
        region_processor(images=tmp_path / "cat.png")
    with pytest.raises(FileNotFoundError, match=r"image 0: there is no file .*none\.npy"):
        region_processor(images=tmp_path / "none.npy")
