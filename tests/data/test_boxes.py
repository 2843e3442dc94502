"""Boxes behind the features of their regions."""

from typing import Any

import datasets
import numpy as np
import pytest

from noisy_xmodal.data import DatasetError, PairDataset, append_boxes, validate_pairs
from noisy_xmodal.data.boxes import without_boxes
from noisy_xmodal.data.regions import region_feature

COUNTS = [2, 1, 4, 3, 2]
SIZE = 3


def some_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corners = rng.random((count, 2, 2))
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)


def make(
    dtype: str = "float32", fixed: bool = False, column: str = "boxes", **changes: Any
) -> tuple[datasets.Dataset, list[np.ndarray], list[Any]]:
    """A split with its regions and boxes; `changes` put other boxes into a row."""
    rng = np.random.default_rng(0)
    regions = [rng.standard_normal((count, SIZE)).astype(dtype) for count in COUNTS]
    boxes: list[Any] = [some_boxes(rng, count).tolist() for count in COUNTS]
    for row, value in changes.items():
        boxes[int(row.removeprefix("row_"))] = value
    kind = datasets.Value("float32")
    dataset = datasets.Dataset.from_dict(
        {
            "regions": [array.tolist() for array in regions],
            "image_id": [f"image {row}" for row in range(len(COUNTS))],
            "captions": [["a dog", "a cat"]] * len(COUNTS),
            column: boxes,
        },
        features=datasets.Features(
            {
                "regions": region_feature(SIZE, dtype),
                "image_id": datasets.Value("string"),
                "captions": datasets.List(datasets.Value("string")),
                column: region_feature(4) if fixed else datasets.List(datasets.List(kind)),
            }
        ),
    )
    return dataset, regions, boxes


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("fixed", [True, False])
def test_each_region_ends_with_its_box(dtype, fixed):
    dataset, regions, boxes = make(dtype, fixed)
    joined = append_boxes(dataset)
    assert joined.column_names == ["regions", "image_id", "captions"]
    assert joined.features["regions"] == region_feature(SIZE + 4, "float32")
    assert joined["image_id"][:] == dataset["image_id"][:]
    assert joined["captions"][:] == dataset["captions"][:]
    for row, count in enumerate(COUNTS):
        found = joined[row]["regions"]
        assert len(found) == count
        for k in range(count):
            assert found[k] == [*map(float, regions[row][k]), *map(np.float32, boxes[row][k])]
    assert "boxes" in dataset.column_names


def test_pairs_are_read_with_their_boxes():
    dataset, regions, boxes = make("float16")
    joined = append_boxes(dataset)
    validate_pairs(joined, minimum_pairs=10)
    pairs = PairDataset(joined)
    assert len(pairs) == 10
    for row in range(len(COUNTS)):
        found = pairs[2 * row]["regions"]
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found[:, :SIZE], regions[row].astype(np.float32))
        np.testing.assert_array_equal(found[:, SIZE:], np.array(boxes[row], dtype=np.float32))


def test_a_selection_keeps_the_boxes_of_its_rows():
    dataset, _, _ = make()
    whole = append_boxes(dataset)
    chosen = append_boxes(dataset.select([4, 0, 2]))
    assert chosen["regions"][:] == [whole[row]["regions"] for row in (4, 0, 2)]


def test_the_boxes_may_stand_in_another_column():
    dataset, _, _ = make(column="corners")
    joined = append_boxes(dataset, column="corners")
    assert joined.column_names == ["regions", "image_id", "captions"]
    assert joined["regions"][:] == append_boxes(make()[0])["regions"][:]


def test_the_borders_of_the_picture_are_inside():
    whole_picture, a_point = [0.0, 0.0, 1.0, 1.0], [0.5, 1.0, 0.5, 1.0]
    dataset, _, _ = make(row_0=[whole_picture, a_point])
    found = append_boxes(dataset)[0]["regions"]
    assert [region[SIZE:] for region in found] == [whole_picture, a_point]


@pytest.mark.parametrize("name", ["regions", "boxes"])
def test_a_missing_column_is_refused_with_those_that_there_are(name):
    dataset = make()[0].remove_columns(name)
    with pytest.raises(DatasetError, match=f"'dev' has no column '{name}'.*'captions'.*geometry"):
        append_boxes(dataset, split="dev")


BOX = [0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([BOX], r"has 4 regions and 'boxes' of shape \(1, 4\)"),
        ([BOX] * 5, r"has 4 regions and 'boxes' of shape \(5, 4\)"),
        ([], r"has 4 regions and 'boxes' of shape \(0, 0\)"),
        ([BOX[:3]] * 4, r"has 4 regions and 'boxes' of shape \(4, 3\)"),
        (
            [BOX] * 3 + [[10.0, 20.0, 110.0, 220.0]],
            "fractions of the picture, 0 to 1: divide",
        ),
        ([BOX] * 3 + [[-0.1, 0.2, 0.3, 0.4]], "left, top, right and bottom"),
        ([BOX] * 3 + [[0.3, 0.2, 0.1, 0.4]], "left, top, right and bottom"),
        ([BOX] * 3 + [[0.1, 0.4, 0.3, 0.2]], "left, top, right and bottom"),
        ([BOX] * 3 + [[0.1, 0.2, 0.3, float("nan")]], "left, top, right and bottom"),
    ],
    ids=["few", "many", "none", "three numbers", "pixels", "outside", "right", "bottom", "nan"],
)
def test_boxes_that_do_not_fit_are_refused_by_row(boxes, message):
    dataset, _, _ = make(row_2=boxes)
    with pytest.raises(DatasetError, match=f"Row 2 of split 'dev'.*{message}"):
        append_boxes(dataset, split="dev")


@pytest.mark.parametrize("broken", [None, [None, [0, 0, 1, 1.0]], [[0, 0, 1], [0, 0, 1, 1.0]]])
def test_boxes_that_are_not_there_or_ragged_name_split_and_column(broken):
    dataset, _, _ = make(row_3=broken)
    with pytest.raises(DatasetError, match="Column 'boxes' of split 'dev', rows 0 to 4"):
        append_boxes(dataset, "dev")


def test_one_flat_box_a_row_and_an_empty_split_are_refused():
    dataset, _, _ = make()
    flat = dataset.remove_columns("boxes").add_column("boxes", [[0.0, 0.0, 1.0, 1.0]] * len(COUNTS))
    with pytest.raises(DatasetError, match="not a list of boxes"):
        append_boxes(flat)
    with pytest.raises(DatasetError, match="no rows"):
        append_boxes(dataset.select([]))


def test_without_boxes_there_are_the_features_again():
    dataset, regions, _ = make()
    images = without_boxes(PairDataset(append_boxes(dataset)).images)
    assert len(images) == len(COUNTS)
    for found in (images[1:3], [images[1], images[2]]):
        for array, expected in zip(found, regions[1:3], strict=True):
            np.testing.assert_array_equal(array, expected)
