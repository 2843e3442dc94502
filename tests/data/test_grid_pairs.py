"""Pairs whose images are rows of an array."""

from pathlib import Path

import datasets
import numpy as np
import pytest

from noisy_xmodal.data import PairDataset
from noisy_xmodal.data.grid_pairs import FeatureRows, GridPairs


@pytest.fixture
def rows(tmp_path: Path) -> datasets.Dataset:
    """Rows whose pictures are no files: they must not be read."""
    missing = [str(tmp_path / f"{row}.png") for row in range(4)]
    return datasets.Dataset.from_dict(
        {
            "image": missing,
            "captions": [["a", "b"], ["c"], ["d", "e", "f"], ["g"]],
            "image_id": list("wxyz"),
            "is_noisy": [[False, True], [False], [True, False, False], [True]],
        }
    ).cast_column("image", datasets.Image())


FEATURES = np.arange(24, dtype=np.float16).reshape(4, 3, 2)


def test_images_are_rows_of_the_array(rows: datasets.Dataset) -> None:
    pairs = GridPairs(rows, FEATURES)
    assert (len(pairs), pairs.n_images, pairs.visual) == (7, 4, "regions")
    items = pairs.__getitems__([6, 0, 1, 3])
    for item, row in zip(items, [3, 0, 0, 2], strict=True):
        assert item.keys() == {"pair_id", "image_row", "caption", "regions"}
        assert item["image_row"] == row
        assert item["regions"].dtype == np.float32
        np.testing.assert_array_equal(item["regions"], FEATURES[row])
    np.testing.assert_array_equal(pairs.images[1:3], FEATURES[1:3])
    np.testing.assert_array_equal(pairs.images[-1], FEATURES[3])


def test_some_rows_keep_their_own_features(rows: datasets.Dataset) -> None:
    chosen = np.array([1, 3])
    pairs = GridPairs(rows, FEATURES, chosen)
    assert pairs.captions() == ["c", "g"]
    assert pairs.row_of_pair.tolist() == [0, 1]
    assert pairs.is_noisy is not None
    assert pairs.is_noisy.tolist() == [False, True]
    np.testing.assert_array_equal(pairs[1]["regions"], FEATURES[3])
    np.testing.assert_array_equal(pairs.images[:], FEATURES[chosen])
    assert isinstance(pairs, PairDataset)


def test_features_belong_to_the_caller(rows: datasets.Dataset) -> None:
    given = FEATURES.astype(np.float32)
    mapped = given.copy()
    mapped.flags.writeable = False
    assert (GridPairs(rows, mapped)[0]["regions"] == given[0]).all()


def test_rows_of_an_array_are_a_list_of_arrays() -> None:
    found = FeatureRows(FEATURES)
    assert len(found) == 4
    assert isinstance(found[1:3], list)
    assert found[1:3][0].dtype == np.float32
    np.testing.assert_array_equal(found[1:9], FEATURES[1:])
    np.testing.assert_array_equal(found[2], FEATURES[2])
