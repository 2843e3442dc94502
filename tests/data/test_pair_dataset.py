"""Pair ids, batches, the oracle that stays out, and region features in every storage."""

from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from noisy_xmodal.data.columns import DatasetError
from noisy_xmodal.data.pair_dataset import GridPairs, PairDataset, drop_noisy_pairs
from noisy_xmodal.data.regions import region_arrays, region_feature


def picture_dataset() -> datasets.Dataset:
    colours = ["red", "lime", "blue"]
    return datasets.Dataset.from_dict(
        {
            "image": [Image.new("P" if i else "RGB", (2, 2), c) for i, c in enumerate(colours)],
            "image_id": colours,
            "captions": [[f"{c} a", f"{c} b"] for c in colours],
        },
        features=datasets.Features(
            {
                "image": datasets.Image(),
                "image_id": datasets.Value("string"),
                "captions": datasets.List(datasets.Value("string")),
            }
        ),
    )


def test_pair_ids_count_captions_row_by_row(regions_dataset: datasets.Dataset) -> None:
    pairs = PairDataset(regions_dataset)
    assert len(pairs) == 8
    assert pairs.n_images == 4
    assert pairs.row_of_pair.tolist() == [0, 0, 1, 2, 2, 2, 3, 3]
    assert pairs.row_of_pair.dtype == np.int64
    assert pairs.captions() == [f"pair {p}" for p in range(8)]


def test_items(regions_dataset: datasets.Dataset) -> None:
    pairs = PairDataset(regions_dataset)
    for pair_id, item in enumerate(pairs.__getitems__(list(range(8)))):
        row = int(pairs.row_of_pair[pair_id])
        assert item["pair_id"] == pair_id
        assert item["image_row"] == row
        assert item["caption"] == f"pair {pair_id}"
        assert item["regions"].dtype == np.float16
        np.testing.assert_array_equal(item["regions"], np.full((row + 1, 4), row))
        assert item["regions"].flags.writeable


def test_batches_keep_order_and_repeats(regions_dataset: datasets.Dataset) -> None:
    items = PairDataset(regions_dataset).__getitems__([7, 0, 7, 2])
    assert [item["pair_id"] for item in items] == [7, 0, 7, 2]
    assert [item["regions"][0, 0] for item in items] == [3, 0, 3, 1]


def test_the_oracle_is_in_no_item(regions_dataset: datasets.Dataset) -> None:
    pairs = PairDataset(regions_dataset)
    items = [pairs[3], *pairs.__getitems__([0, 5])]
    items += PairDataset(picture_dataset()).__getitems__([0])
    for item in items:
        assert set(item) - {"image", "regions"} == {"pair_id", "image_row", "caption"}


def test_oracle_by_pair_id(regions_dataset: datasets.Dataset) -> None:
    is_noisy = PairDataset(regions_dataset).is_noisy
    assert is_noisy is not None
    assert is_noisy.dtype == bool
    assert np.flatnonzero(is_noisy).tolist() == [1, 5]
    assert PairDataset(regions_dataset.remove_columns("is_noisy")).is_noisy is None


def test_oracle_of_another_length_is_refused(regions_dataset: datasets.Dataset) -> None:
    feature = regions_dataset.features["is_noisy"]
    short = regions_dataset.remove_columns("is_noisy")
    short = short.add_column(
        "is_noisy", [[True, True], [], [True] * 3, [True] * 3], feature=feature
    )
    with pytest.raises(DatasetError, match="Row 1 has 1 captions but 0 values"):
        _ = PairDataset(short).is_noisy


@pytest.mark.parametrize("pair_id", [8, -1])
def test_pair_ids_out_of_range(regions_dataset: datasets.Dataset, pair_id: int) -> None:
    with pytest.raises(IndexError, match=rf"{pair_id} is outside 0 \.\. 7"):
        PairDataset(regions_dataset)[pair_id]


def test_follows_a_selection(regions_dataset: datasets.Dataset) -> None:
    pairs = PairDataset(regions_dataset.select([3, 1]))
    assert pairs.captions() == ["pair 6", "pair 7", "pair 2"]
    assert [item["regions"][0, 0] for item in pairs.__getitems__([0, 2])] == [3, 1]


def test_pictures_come_in_rgb() -> None:
    items = PairDataset(picture_dataset()).__getitems__([5, 0, 2])
    assert [item["image"].mode for item in items] == ["RGB"] * 3
    assert items[1]["image"].getpixel((0, 0)) == (255, 0, 0)
    assert items[1]["image_row"] == 0


def test_a_missing_column_is_refused(regions_dataset: datasets.Dataset) -> None:
    with pytest.raises(DatasetError, match="captions"):
        PairDataset(regions_dataset.remove_columns("captions"))


def test_works_in_a_data_loader(regions_dataset: datasets.Dataset) -> None:
    loader = torch.utils.data.DataLoader(
        PairDataset(regions_dataset), batch_size=3, collate_fn=list, num_workers=1
    )
    assert [item["pair_id"] for batch in loader for item in batch] == list(range(8))


@pytest.mark.parametrize("kind", ["regions", "pictures", "grid"])
def test_pairs_reach_workers_of_any_start_method(kind: str, regions_dataset) -> None:
    pairs = PairDataset(picture_dataset() if kind == "pictures" else regions_dataset)
    if kind == "grid":
        pairs = GridPairs(regions_dataset, np.arange(8).reshape(4, 1, 2))
    worker = ForkingPickler.loads(ForkingPickler.dumps(pairs))
    assert np.array_equal(worker.visuals([1])[0], pairs.visuals([1])[0])


def test_dropping_noisy_pairs(regions_dataset: datasets.Dataset) -> None:
    feature = regions_dataset.features["is_noisy"]
    flags = [[False, True], [True], [False, False, True], [False, False]]
    noisy = regions_dataset.remove_columns("is_noisy").add_column(
        "is_noisy", flags, feature=feature
    )
    clean = drop_noisy_pairs(noisy)
    assert clean["captions"][:] == [["pair 0"], ["pair 3", "pair 4"], ["pair 6", "pair 7"]]
    assert clean["image_id"][:] == ["id0", "id2", "id3"]
    assert not PairDataset(clean).is_noisy.any()
    assert PairDataset(clean)[1]["regions"][0, 0] == 2
    assert clean.column_names == noisy.column_names


def test_dropping_needs_the_oracle(regions_dataset: datasets.Dataset) -> None:
    with pytest.raises(DatasetError, match="oracle column 'is_noisy'"):
        drop_noisy_pairs(regions_dataset.remove_columns("is_noisy"))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(
    "feature",
    [
        lambda dtype: region_feature(4, dtype),
        lambda dtype: datasets.List(datasets.List(datasets.Value(dtype))),
        lambda dtype: datasets.Array2D((None, 4), dtype),
    ],
    ids=["fixed lists", "lists", "array"],
)
def test_ragged_regions_keep_dtype_through_parquet(tmp_path, feature, dtype) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((n, 4)).astype(dtype) for n in (2, 1, 5, 3)]
    features = datasets.Features({"regions": feature(dtype)})
    made = datasets.Dataset.from_dict({"regions": [a.tolist() for a in arrays]}, features=features)
    made.to_parquet(tmp_path / "rows.parquet")
    read = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "rows.parquet"), split="train", cache_dir=tmp_path
    ).with_format("arrow")
    for rows in ([0, 1, 2, 3], [2, 0], [3]):
        found = region_arrays(read[rows].column("regions"))
        for row, array in zip(rows, found, strict=True):
            assert array.dtype == dtype
            np.testing.assert_array_equal(array, arrays[row])
    np.testing.assert_array_equal(region_arrays(read[1:3].column("regions"))[1], arrays[2])


def test_regions_of_different_lengths_in_a_row_are_refused() -> None:
    features = datasets.Features(
        {"regions": datasets.List(datasets.List(datasets.Value("float32")))}
    )
    wrong = datasets.Dataset.from_dict({"regions": [[[1.0, 2.0], [3.0]]]}, features=features)
    with pytest.raises(ValueError, match=r"different lengths: \[2, 1\]"):
        region_arrays(wrong.with_format("arrow")[:].column("regions"))


def test_a_null_region_is_refused() -> None:
    features = datasets.Features({"regions": region_feature(2)})
    wrong = datasets.Dataset.from_dict({"regions": [[[1.0, 2.0], None]]}, features=features)
    with pytest.raises(ValueError, match="null"):
        region_arrays(wrong.with_format("arrow")[:].column("regions"))


@pytest.fixture
def unread_rows(tmp_path: Path) -> datasets.Dataset:
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


def test_images_are_rows_of_the_array(unread_rows: datasets.Dataset) -> None:
    pairs = GridPairs(unread_rows, FEATURES)
    assert (len(pairs), pairs.n_images, pairs.visual) == (7, 4, "regions")
    items = pairs.__getitems__([6, 0, 1, 3])
    for item, row in zip(items, [3, 0, 0, 2], strict=True):
        assert item.keys() == {"pair_id", "image_row", "caption", "regions"}
        assert item["image_row"] == row
        assert item["regions"].dtype == np.float32
        np.testing.assert_array_equal(item["regions"], FEATURES[row])
    np.testing.assert_array_equal(pairs.images[1:3], FEATURES[1:3])
    np.testing.assert_array_equal(pairs.images[-1], FEATURES[3])


def test_some_rows_keep_their_own_features(unread_rows: datasets.Dataset) -> None:
    chosen = np.array([1, 3])
    pairs = GridPairs(unread_rows, FEATURES).select(chosen)
    assert pairs.captions() == ["c", "g"]
    assert pairs.row_of_pair.tolist() == [0, 1]
    assert pairs.is_noisy is not None
    assert pairs.is_noisy.tolist() == [False, True]
    np.testing.assert_array_equal(pairs[1]["regions"], FEATURES[3])
    np.testing.assert_array_equal(pairs.images[:], FEATURES[chosen])
    assert isinstance(pairs, PairDataset)


def test_features_belong_to_the_caller(unread_rows: datasets.Dataset) -> None:
    given = FEATURES.astype(np.float32)
    mapped = given.copy()
    mapped.flags.writeable = False
    assert (GridPairs(unread_rows, mapped)[0]["regions"] == given[0]).all()
