"""Leaks from other splits: looked at at once, in parts, and kept on disk."""

import io
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from noisy_xmodal.auditing.image_scan import look_at_images
from noisy_xmodal.auditing.other_splits import (
    OtherSplits,
    join_splits,
    keep_splits,
    kept_notes,
    kept_splits,
    look_at_split,
)


def photo(seed: int, quality: int = 90) -> bytes:
    cells = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    picture = Image.fromarray(cells).resize((400, 300), Image.Resampling.BICUBIC)
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def dataset_of(pictures: list[bytes], captions: list[str]) -> datasets.Dataset:
    columns = {
        "image_id": [f"{row}.jpg" for row in range(len(pictures))],
        "image": [{"bytes": content, "path": None} for content in pictures],
        "captions": [[text] for text in captions],
    }
    return datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())


@pytest.fixture(scope="module")
def train() -> datasets.Dataset:
    return dataset_of([photo(seed) for seed in range(5)], ["a", "b", "c", "d", "e"])


@pytest.fixture(scope="module")
def parts() -> list[OtherSplits]:
    """Of the training pictures 1 is there again, 3 saved anew, and 4 in another colour."""
    recoloured = Image.open(io.BytesIO(photo(4))).convert("L").convert("RGB")
    file = io.BytesIO()
    recoloured.save(file, "JPEG")
    test = dataset_of([photo(9), photo(3, quality=60), file.getvalue()], ["x", "  B ", "y"])
    dev = dataset_of([photo(1), photo(3)], ["D", "z"])
    return [look_at_split(test, "test"), look_at_split(dev, "dev")]


@pytest.mark.parametrize("is_kept", [False, True])
def test_leaks_are_copies_and_equal_texts(train, parts, is_kept: bool, tmp_path: Path):
    others = join_splits(parts)
    if is_kept:
        notes: list[str] = []

        def read():
            yield parts[0]
            notes.append("a line")
            yield parts[1]

        keep_splits(read(), tmp_path / "splits", notes)
        others = kept_splits(tmp_path / "splits")
        assert kept_notes(tmp_path / "splits") == ["a line"]
    leaked = others.leaked_images(train, look_at_images(train))
    assert leaked == {1: "dev: 0.jpg", 3: "dev: 1.jpg"}  # an equal file comes first
    assert others.leaked_pairs(["a", "b", "c", "d", "e"]) == [1, 3]


def test_a_copy_is_found_without_an_equal_file(train, parts):
    leaked = parts[0].leaked_images(train, look_at_images(train))
    assert leaked == {3: "test: 1.jpg"}


def test_pictures_that_are_not_alike_did_not_leak(parts):
    rows = dataset_of([photo(20), photo(21)], ["f", "g"])
    assert join_splits(parts).leaked_images(rows, look_at_images(rows)) == {}


def test_without_other_splits_nothing_leaked(train, tmp_path: Path):
    keep_splits([], tmp_path / "none")
    for others in (join_splits([]), kept_splits(tmp_path / "none")):
        assert others.leaked_images(train, look_at_images(train)) == {}
        assert others.leaked_pairs(["a"]) == []


def test_region_features_leak_as_equal_arrays(tmp_path: Path):
    def regions(values: list[float]) -> datasets.Dataset:
        columns = {
            "regions": [[[value, 1.0]] for value in values],
            "image_id": [str(value) for value in values],
            "captions": [[str(value)] for value in values],
        }
        return datasets.Dataset.from_dict(columns)

    rows = regions([1.0, 2.0, 3.0])
    keep_splits([look_at_split(regions([5.0, 2.0]), "dev")], tmp_path / "splits")
    others = kept_splits(tmp_path / "splits")
    assert others.leaked_images(rows, look_at_images(rows)) == {1: "dev: 2.0"}
