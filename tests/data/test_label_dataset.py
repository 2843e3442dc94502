"""Batches, the oracle that stays out, and pictures with texts."""

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from noisy_xmodal.data import DatasetError, LabelDataset, inject_noise
from noisy_xmodal.data.regions import vector_feature

CLASSES = datasets.ClassLabel(names=["cat", "dog", "owl"])


@pytest.fixture
def rows() -> datasets.Dataset:
    """Thirty clean rows of vectors that say which row they are of."""
    return datasets.Dataset.from_dict(
        {
            "image_features": [[float(i), -float(i)] for i in range(30)],
            "text_features": [[float(i), 1.0, 2.0] for i in range(30)],
            "image_label": [i % 3 for i in range(30)],
            "text_label": [i % 3 for i in range(30)],
        },
        features=datasets.Features(
            {
                "image_features": vector_feature(2),
                "text_features": vector_feature(3),
                "image_label": CLASSES,
                "text_label": CLASSES,
            }
        ),
    )


@pytest.fixture
def picture_rows() -> datasets.Dataset:
    captions = [["Red. "], ["a red one", "It is red!", "Yes."], ["c"]]
    return datasets.Dataset.from_dict(
        {
            "image": [Image.new("P", (2, 2), c) for c in ("red", "lime", "blue")],
            "captions": captions,
            "image_label": [0, 0, 1],
            "text_label": [0, 1, 3],
        },
        features=datasets.Features(
            {
                "image": datasets.Image(),
                "captions": datasets.List(datasets.Value("string")),
                "image_label": datasets.Value("int64"),
                "text_label": datasets.Value("int64"),
            }
        ),
    )


def test_labels_and_vectors_are_in_memory(rows: datasets.Dataset) -> None:
    pairs = LabelDataset(rows)
    assert len(pairs) == 30
    assert pairs.class_names == ["cat", "dog", "owl"]
    assert pairs.n_classes == 3
    assert pairs.has_features
    assert pairs.image_labels.dtype == pairs.text_labels.dtype == np.int64
    assert pairs.image_features.shape == (30, 2)
    assert pairs.text_features.shape == (30, 3)
    assert pairs.image_features.dtype == pairs.text_features.dtype == np.float32


def test_a_batch_is_ready(rows: datasets.Dataset) -> None:
    pairs = LabelDataset(rows)
    batch = pairs.__getitems__([7, 0, 7, 29])
    assert {name: (value.dtype, tuple(value.shape)) for name, value in batch.items()} == {
        "pair_id": (torch.int64, (4,)),
        "image_label": (torch.int64, (4,)),
        "text_label": (torch.int64, (4,)),
        "image_features": (torch.float32, (4, 2)),
        "text_features": (torch.float32, (4, 3)),
    }
    assert batch["pair_id"].tolist() == batch["image_features"][:, 0].tolist() == [7, 0, 7, 29]
    assert batch["image_label"].tolist() == [1, 0, 1, 2]
    batch["image_features"].zero_()  # a copy: what is held stays
    assert pairs.image_features[7].tolist() == [7, -7]
    assert pairs[7]["text_features"].tolist() == [7, 1, 2]
    assert pairs[7]["pair_id"].shape == ()


def test_the_oracle_is_in_no_batch(rows: datasets.Dataset) -> None:
    pairs = LabelDataset(inject_noise(rows, "sym_40"))
    names = {"pair_id", "image_label", "text_label", "image_features", "text_features"}
    assert set(pairs[0]) == set(pairs.__getitems__([1, 2])) == names


def test_oracle(rows: datasets.Dataset) -> None:
    pairs = LabelDataset(inject_noise(rows, "sym_60", seed=3))
    true = np.arange(30) % 3
    assert (pairs.true_labels == true).all()
    assert pairs.is_noisy.shape == (2, 30)
    assert pairs.is_noisy.dtype == bool
    assert (pairs.is_noisy[0] == (pairs.image_labels != true)).all()
    assert (pairs.is_noisy[1] == (pairs.text_labels != true)).all()
    assert pairs.is_noisy.any(axis=1).all()
    assert (pairs.is_noisy[0] != pairs.is_noisy[1]).any()


def test_nobody_knows(rows: datasets.Dataset) -> None:
    assert LabelDataset(rows).is_noisy is None
    assert LabelDataset(rows).true_labels is None
    partly = rows.add_column("true_label", [-1] + [0] * 29, feature=CLASSES)
    with pytest.raises(DatasetError, match=r"Row 0 .* no class in column 'true_label'"):
        _ = LabelDataset(partly).is_noisy


@pytest.mark.parametrize("pair_id", [30, -1])
def test_rows_out_of_range(rows: datasets.Dataset, pair_id: int) -> None:
    with pytest.raises(IndexError, match=rf"{pair_id} is outside 0 \.\. 29"):
        LabelDataset(rows)[pair_id]


def test_follows_a_selection(rows: datasets.Dataset) -> None:
    pairs = LabelDataset(rows.select([9, 4]))
    assert pairs.image_features[:, 0].tolist() == [9, 4]
    assert pairs.text_labels.tolist() == [0, 1]


@pytest.mark.parametrize("n_workers", [0, 1])
def test_works_in_a_data_loader(rows: datasets.Dataset, n_workers: int) -> None:
    loader = torch.utils.data.DataLoader(
        torch.utils.data.Subset(LabelDataset(rows), range(10, 30)),
        batch_size=8,
        collate_fn=torch.utils.data.default_convert,
        num_workers=n_workers,
    )
    batches = list(loader)
    assert [len(batch["pair_id"]) for batch in batches] == [8, 8, 4]
    assert torch.cat([batch["image_features"] for batch in batches])[:, 0].tolist() == list(
        range(10, 30)
    )


def test_pictures_and_texts(picture_rows: datasets.Dataset) -> None:
    pairs = LabelDataset(picture_rows)
    assert not pairs.has_features
    for name in ("image_features", "text_features"):
        with pytest.raises(DatasetError, match=rf"no '{name}': extract vectors"):
            getattr(pairs, name)
    assert pairs.class_names == ["0", "1", "2", "3"]
    assert [picture.mode for picture in pairs.pictures(slice(0, 2))] == ["RGB", "RGB"]
    assert pairs.pictures([2, 0])[1].getpixel((0, 0)) == (255, 0, 0)
    assert pairs.texts([1, 0]) == ["a red one. It is red! Yes.", "Red. "]
    assert pairs.texts(range(3)) == pairs.texts(slice(None))
    assert pairs.texts(slice(3, 9)) == []
    with pytest.raises(IndexError, match="3 is outside"):
        pairs.pictures([3])


def test_a_batch_of_pictures(picture_rows: datasets.Dataset) -> None:
    pairs = LabelDataset(picture_rows)
    batch = pairs.__getitems__([2, 0])
    assert set(batch) == {"pair_id", "image_label", "text_label", "image", "caption"}
    assert batch["caption"] == ["c", "Red. "]
    assert [picture.getpixel((0, 0)) for picture in batch["image"]] == [(0, 0, 255), (255, 0, 0)]
    assert pairs[0]["caption"] == "Red. "


def test_vectors_of_ones_own(picture_rows: datasets.Dataset) -> None:
    pairs = LabelDataset(picture_rows)
    made = pairs.with_features(np.eye(3, dtype=np.float64), np.ones((3, 2), dtype=np.float16))
    assert made.has_features
    assert not pairs.has_features
    assert made.image_features.dtype == made.text_features.dtype == np.float32
    assert made[1]["image_features"].tolist() == [0, 1, 0]
    assert "caption" not in made[1]
    assert made.texts([2]) == ["c"]
    assert LabelDataset(picture_rows).with_features(torch.eye(3), torch.eye(3)).has_features


@pytest.mark.parametrize(
    ("image", "text", "message"),
    [
        (np.ones((2, 4)), np.ones((3, 4)), r"image_features has shape \(2, 4\): give \(3, dim\)"),
        (np.ones((3, 4)), np.ones(3), r"text_features has shape \(3,\)"),
        (np.ones((3, 0)), np.ones((3, 1)), r"image_features has shape \(3, 0\)"),
        (np.ones((3, 1)), [[1.0], [np.nan], [np.inf]], "text_features .* 2 rows, first row 1"),
    ],
)
def test_vectors_that_do_not_fit(picture_rows, image, text, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelDataset(picture_rows).with_features(image, text)


def test_what_a_dataset_lacks_is_named(rows: datasets.Dataset) -> None:
    with pytest.raises(DatasetError, match="has no column 'image'"):
        LabelDataset(rows).pictures([0])
    with pytest.raises(DatasetError, match="has no column 'captions'"):
        LabelDataset(rows).texts([0])
    with pytest.raises(DatasetError, match="labels are missing in one modality"):
        LabelDataset(rows.remove_columns("text_label"))
