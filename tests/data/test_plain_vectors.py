"""Vectors of pictures and texts by fixed functions, and rows that are completed with them."""

import datasets
import numpy as np
import pytest
from PIL import Image

from noisy_xmodal.data import (
    LabelDataset,
    as_label_pairs,
    inject_noise,
    noise_protocol,
    with_vectors,
)
from noisy_xmodal.data.plain_vectors import (
    IMAGE_DIM,
    TEXT_DIM,
    caption_features,
    picture_features,
)
from noisy_xmodal.data.regions import region_feature

N_HISTOGRAMS = 8 * 8 * 8


def random_picture(seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_picture_features_pixel_by_pixel() -> None:
    picture = random_picture()
    pixels = np.asarray(picture, dtype=np.float64) / 255
    grey = np.pad(pixels.mean(axis=2), 1, mode="reflect", reflect_type="odd")  # one-sided at edges
    histograms, colours = np.zeros((8, 8, 8)), np.zeros((8, 8, 3))
    for y in range(64):
        for x in range(64):
            down = (grey[y + 2, x + 1] - grey[y, x + 1]) / 2
            right = (grey[y + 1, x + 2] - grey[y + 1, x]) / 2
            turn = np.arctan2(down, right) % np.pi / np.pi * 8
            share = turn - int(turn)
            cell = histograms[y // 8, x // 8]
            cell[int(turn) % 8] += (1 - share) * np.hypot(down, right) / 64
            cell[(int(turn) + 1) % 8] += share * np.hypot(down, right) / 64
            colours[y // 8, x // 8] += (1 - pixels[y, x]) / 64
    histograms /= np.sqrt((histograms**2).sum(axis=2, keepdims=True) + 0.01**2)
    found = picture_features(picture)
    assert (found.shape, found.dtype) == ((IMAGE_DIM,), np.float32)
    np.testing.assert_allclose(found[:N_HISTOGRAMS], histograms.ravel(), atol=1e-4)
    np.testing.assert_allclose(found[N_HISTOGRAMS:], colours.ravel(), atol=1e-5)


def test_picture_features_see_edges_and_colours() -> None:
    white = Image.new("RGB", (64, 64), "white")
    assert not picture_features(white).any()
    white.paste("red", (0, 0, 36, 64))  # its right edge runs through the fifth column of cells
    features = picture_features(white)
    histograms = features[:N_HISTOGRAMS].reshape(8, 8, 8)
    assert set(zip(*np.nonzero(histograms)[1:], strict=True)) == {(4, 0)}
    np.testing.assert_allclose(histograms[:, 4, 0], 1, atol=0.01)
    colours = features[N_HISTOGRAMS:].reshape(8, 8, 3)
    np.testing.assert_allclose(colours[:, :4], np.broadcast_to([0, 1, 1], (8, 4, 3)))
    np.testing.assert_allclose(colours[:, 4], np.broadcast_to([0, 0.5, 0.5], (8, 3)))


def test_picture_features_take_any_picture() -> None:
    square = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    assert not picture_features(square).any()  # transparent black is white
    square.paste("blue", (16, 16, 48, 48))
    to_rgb = Image.new("RGB", (64, 64), "white")
    to_rgb.paste("blue", (16, 16, 48, 48))
    np.testing.assert_array_equal(picture_features(square), picture_features(to_rgb))
    large = to_rgb.resize((256, 256), Image.Resampling.NEAREST)
    assert np.abs(picture_features(large) - picture_features(to_rgb)).mean() < 0.05
    grey = Image.new("L", (20, 30), 128)
    assert picture_features(grey).shape == (IMAGE_DIM,)


def test_caption_features() -> None:
    dog = caption_features("dog face")
    assert (dog.shape, dog.dtype) == ((TEXT_DIM,), np.float32)
    np.testing.assert_allclose(np.linalg.norm(dog), 1, rtol=1e-6)
    np.testing.assert_array_equal(dog, caption_features("Dog  face"))
    both = caption_features("dog face", "guide dog")
    np.testing.assert_array_equal(both, caption_features("guide dog", "dog face"))
    assert dog @ caption_features("dogs") > dog @ caption_features("train station") + 0.2
    assert not caption_features(" ").any()
    with pytest.raises(ValueError, match="no caption"):
        caption_features()


def rows_of(**sides) -> datasets.Dataset:
    """Four rows of two classes, with noise on the labels."""
    kinds = {
        "regions": region_feature(3, "float32"),
        "image": datasets.Image(),
        "captions": datasets.List(datasets.Value("string")),
        "label": datasets.ClassLabel(names=["a", "b"]),
    }
    columns = {**sides, "label": [0, 1, 0, 1]}
    features = datasets.Features({name: kinds[name] for name in columns})
    return datasets.Dataset.from_dict(columns, features=features)


def test_region_features_become_their_means() -> None:
    regions = [np.random.default_rng(n).random((n + 1, 3)).tolist() for n in range(4)]
    rows = as_label_pairs(rows_of(regions=regions, captions=[["one"], ["two", "or"], ["3"], ["4"]]))
    noisy = inject_noise(rows, "sym_60", label_column="image_label")
    done = with_vectors(noisy)
    for vector, of_row in zip(done["image_features"], regions, strict=True):
        np.testing.assert_allclose(vector, np.mean(of_row, axis=0), rtol=1e-6)
    np.testing.assert_array_equal(done[1]["text_features"], caption_features("two", "or"))
    assert noise_protocol(done) == noise_protocol(noisy)
    assert LabelDataset(done).image_features.shape == (4, 3)


def test_pictures_and_captions_are_described() -> None:
    pictures = [random_picture(seed) for seed in range(4)]
    rows = as_label_pairs(rows_of(image=pictures, captions=[["a"], ["b"], ["c"], ["d"]]))
    done = with_vectors(rows)
    assert done.column_names[: len(rows.column_names)] == rows.column_names
    np.testing.assert_array_equal(done[2]["image_features"], picture_features(pictures[2]))
    pairs = LabelDataset(done)
    assert (pairs.image_features.shape, pairs.text_features.shape) == (
        (4, IMAGE_DIM),
        (4, TEXT_DIM),
    )


def test_vectors_that_are_there_stay() -> None:
    rows = as_label_pairs(rows_of(regions=[[[1, 2, 3]]] * 4, captions=[["a"]] * 4))
    done = with_vectors(rows.add_column("text_features", [[1.0, 2.0]] * 4))
    assert done["text_features"][0] == [1.0, 2.0]
    assert with_vectors(done).column_names == done.column_names
