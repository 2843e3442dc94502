"""Every breach of the column contract is refused by a message that says where and what to do."""

import re
from typing import Any

import datasets
import numpy as np
import pytest

from noisy_xmodal.data import PairDataset, columns
from noisy_xmodal.data.columns import (
    DatasetError,
    validate_columns,
    validate_pairs,
    with_columns,
)


def change(dataset: datasets.Dataset, name: str, row: int, value: Any) -> datasets.Dataset:
    values = dataset[name][:]
    values[row] = value
    feature = dataset.features[name]
    return dataset.remove_columns(name).add_column(name, values, feature=feature)


def test_a_good_dataset_passes(regions_dataset: datasets.Dataset) -> None:
    validate_pairs(regions_dataset, minimum_pairs=8)
    validate_pairs(regions_dataset.remove_columns("is_noisy"))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("regions", ["dev", "'image'", "'regions'", "'image_id', 'captions'", "rename_column"]),
        ("captions", ["dev", "no column 'captions'", "'image_id'", "rename_column"]),
        ("image_id", ["dev", "no column 'image_id'", "'captions'", "rename_column"]),
    ],
)
def test_missing_column(regions_dataset: datasets.Dataset, name: str, parts: list[str]) -> None:
    with pytest.raises(DatasetError) as raised:
        validate_columns(regions_dataset.remove_columns(name), split="dev")
    for part in parts:
        assert part in str(raised.value)


def test_captions_as_plain_strings_get_a_hint(regions_dataset: datasets.Dataset) -> None:
    plain = regions_dataset.map(lambda row: {"captions": row["captions"][0]})
    plain = plain.cast_column("captions", datasets.Value("string"))
    with pytest.raises(DatasetError, match=r"not a list of strings.*list of one.*dataset\.map"):
        validate_columns(plain)


@pytest.mark.parametrize(
    ("name", "feature", "message"),
    [
        ("captions", datasets.List(datasets.Value("int64")), "'captions'.*not a list of strings"),
        ("image_id", datasets.Value("int64"), "'image_id'.*not a string.*cast_column"),
        ("is_noisy", datasets.List(datasets.Value("int64")), "'is_noisy'.*not a list of booleans"),
    ],
)
def test_wrong_type(
    regions_dataset: datasets.Dataset, name: str, feature: Any, message: str
) -> None:
    values = [[1], [2], [3], [4]] if isinstance(feature, datasets.List) else [1, 2, 3, 4]
    wrong = regions_dataset.remove_columns(name).add_column(name, values, feature=feature)
    with pytest.raises(DatasetError, match=message):
        validate_columns(wrong)


def test_regions_of_one_vector_a_row(regions_dataset: datasets.Dataset) -> None:
    flat = regions_dataset.remove_columns("regions").add_column("regions", [[0.0, 1.0]] * 4)
    with pytest.raises(DatasetError, match=r"'regions'.*not a list of lists.*one vector per reg"):
        validate_columns(flat)


def test_columns_are_replaced_in_their_places(regions_dataset: datasets.Dataset) -> None:
    regions_dataset.info.description = "kept"
    names = {"image_id": (list("wxyz"), datasets.Value("string"))}
    weights = {"weight": ([0.5] * 4, datasets.Value("float32"))}
    changed = with_columns(regions_dataset, {**weights, **names})
    assert changed.column_names == [*regions_dataset.column_names, "weight"]
    assert changed["image_id"][:] == list("wxyz")
    assert changed["captions"][:] == regions_dataset["captions"][:]
    assert changed.info.description == "kept"


def test_image_column_of_paths(regions_dataset: datasets.Dataset) -> None:
    paths = regions_dataset.remove_columns("regions").add_column("image", ["a.png"] * 4)
    with pytest.raises(DatasetError, match=r"'image'.*not an Image.*cast_column"):
        validate_columns(paths)


@pytest.mark.parametrize("value", [[], None])
def test_row_without_captions(regions_dataset: datasets.Dataset, value: Any) -> None:
    with pytest.raises(DatasetError, match=r"Row 2 of split 'train' .*has no captions.*filter"):
        validate_pairs(change(regions_dataset, "captions", 2, value))


@pytest.mark.parametrize("text", ["", " \t", None])
def test_empty_caption(regions_dataset: datasets.Dataset, text: Any) -> None:
    wrong = change(regions_dataset, "captions", 3, ["fine", text])
    with pytest.raises(DatasetError, match=r"Caption 1 of row 3 of split 'test' .*is empty"):
        validate_pairs(wrong, split="test")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite(regions_dataset: datasets.Dataset, value: float) -> None:
    wrong = change(regions_dataset, "regions", 2, [[0.0] * 4, [0.0, value, 0.0, value]])
    with pytest.raises(DatasetError, match=r"Row 2 .*has 2 NaN or infinite values in 'regions'"):
        validate_pairs(wrong)


def test_too_few_pairs(regions_dataset: datasets.Dataset) -> None:
    with pytest.raises(DatasetError, match=re.escape("has 8 pairs, fewer than the 9 of one batch")):
        validate_pairs(regions_dataset, minimum_pairs=9)


@pytest.mark.parametrize("flags", [[False], None])
def test_oracle_of_another_length(regions_dataset: datasets.Dataset, flags: Any) -> None:
    with pytest.raises(DatasetError, match=r"Row 2 .*has 3 captions but [01] values in 'is_noisy'"):
        validate_pairs(change(regions_dataset, "is_noisy", 2, flags))


def test_rows_count_after_a_selection(regions_dataset: datasets.Dataset) -> None:
    wrong = change(regions_dataset, "captions", 3, ["fine", ""])
    validate_pairs(wrong.select([2, 0]))
    with pytest.raises(DatasetError, match="row 0"):
        validate_pairs(wrong.select([3, 0]))


def test_images_without_regions(regions_dataset: datasets.Dataset) -> None:
    with pytest.raises(DatasetError, match=r"Row 1 of split 'dev' .*has no region in 'regions'"):
        validate_pairs(change(regions_dataset, "regions", 1, []), split="dev")


def test_many_features_are_checked_where_training_reads_them(
    regions_dataset: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "CHECKED_BYTES", 8)
    monkeypatch.setattr(columns, "_BLOCK_ROWS", 1)
    bad = change(regions_dataset, "regions", 2, [[0.0] * 4, [0.0, np.nan, 0.0, 0.0]])
    validate_pairs(bad)  # its first row is well
    pairs = PairDataset(bad)
    pairs.visuals([0])
    with pytest.raises(DatasetError, match="Row 2 has 1 NaN or infinite values"):
        pairs.__getitems__(list(range(len(pairs))))
    monkeypatch.setattr(columns, "CHECKED_BYTES", 2**30)
    with pytest.raises(DatasetError, match="Row 2 of split 'train'"):
        validate_pairs(bad)
