"""Vectors of two modalities: every form that files may have, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noisy_xmodal.data import clean_split
from noisy_xmodal.data.columns import DatasetError
from noisy_xmodal.data.readers import CleanSplit, XMediaNet
from noisy_xmodal.data.readers.array_file import ArrayFile

LABELS = [2, 0, 1, 1, 2, 0, 0, 2, 1, 0]
N, IMAGE_DIM, TEXT_DIM = len(LABELS), 4, 3


def vectors(name: str, dim: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(len(name)).standard_normal((N, dim)).astype(dtype)


def write_split(
    folder: Path, stem: str = "train", dtype: Any = np.float32, labels: Any = LABELS
) -> Path:
    """Writes ten pairs; labels are an array, lines of text, or None."""
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{stem}_image.npy", vectors(stem, IMAGE_DIM, dtype))
    np.save(folder / f"{stem}_text.npy", vectors(stem + "text", TEXT_DIM, dtype))
    if isinstance(labels, str):
        (folder / f"{stem}_labels.txt").write_text(labels)
    elif labels is not None:
        np.save(folder / f"{stem}_labels.npy", np.asarray(labels))
    return folder


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_split(tmp_path / "raw")


def one_hot(labels: list[int] = LABELS) -> np.ndarray:
    return np.arange(3) == np.array(labels)[:, None]


def lines(*values: Any) -> str:
    return "".join(f"{value}\n" for value in values)


def read(folder: Path) -> dict[str, CleanSplit]:
    return XMediaNet(data_dir=str(folder)).read()


def values_of(split: CleanSplit, column: str) -> np.ndarray:
    return np.array(split.read(0, len(split))[column].to_pylist())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_vectors_stay_in_their_files(tmp_path: Path, dtype: Any) -> None:
    split = read(write_split(tmp_path / "raw", dtype=dtype))["train"]
    assert isinstance(split.columns["image_features"].values, ArrayFile)
    stored = np.float16 if dtype == np.float16 else np.float32
    for column, name, dim in (
        ("image_features", "train", IMAGE_DIM),
        ("text_features", "traintext", TEXT_DIM),
    ):
        expected = vectors(name, dim, dtype).astype(stored)
        np.testing.assert_array_equal(values_of(split, column), expected)
        np.testing.assert_array_equal(
            split.read(3, 5)[column].to_pylist(), expected[3:5].astype(np.float64)
        )
        assert split.features()[column].feature.dtype == np.dtype(stored).name
    assert split.read(2, 4)["image_id"] == ["train-2", "train-3"]
    assert "text_id" not in split.features()


@pytest.mark.parametrize(
    "labels",
    [
        LABELS,
        np.array(LABELS, dtype=np.uint8)[:, None],
        np.array(LABELS, dtype=np.float64),
        one_hot(),
        one_hot().T.astype(np.int32),
        lines(*LABELS),
    ],
    ids=["numbers", "column", "floats", "one-hot", "one-hot-transposed", "text"],
)
def test_forms_of_labels(tmp_path: Path, labels: Any) -> None:
    split = read(write_split(tmp_path / "raw", labels=labels))["train"]
    assert split.labels is not None
    assert split.labels.tolist() == LABELS
    assert split.class_names == ("0", "1", "2")


@pytest.mark.parametrize("labels", [LABELS, [n + 1 for n in LABELS], lines(*LABELS)])
def test_numbers_index_the_names_from_0_or_from_1(tmp_path: Path, labels: Any) -> None:
    raw = write_split(tmp_path / "raw", labels=labels)
    (raw / "classes.txt").write_text("art\nbiology\nfilm\n")
    split = read(raw)["train"]
    assert split.class_names == ("art", "biology", "film")
    assert split.labels is not None
    assert split.labels.tolist() == LABELS


def test_where_numbers_begin_is_asked_of_all_splits(tmp_path: Path) -> None:
    raw = write_split(tmp_path / "raw", labels=[n + 1 for n in LABELS])
    write_split(raw, "test", labels=[2, 3] * 5)
    (raw / "classes.txt").write_text("art\nbiology\nfilm\n")
    split = read(raw)["test"]
    assert [split.class_names[n] for n in split.labels] == ["biology", "film"] * 5


def test_names_as_labels(tmp_path: Path) -> None:
    named = lines(*("cab"[n] for n in LABELS))
    raw = write_split(tmp_path / "raw", labels=named)
    split = read(raw)["train"]
    assert split.class_names == ("a", "b", "c")
    assert [split.class_names[n] for n in split.labels] == ["cab"[n] for n in LABELS]
    (raw / "classes.txt").write_text("c\nb\na\nnobody\n")
    assert read(raw)["train"].class_names == ("c", "b", "a", "nobody")


def test_ids_come_from_files(raw: Path) -> None:
    (raw / "train_image_ids.txt").write_text(lines(*(f"picture {i}" for i in range(N))))
    (raw / "train_text_ids.txt").write_text(lines(*(f"page {i // 2}" for i in range(N))))
    columns = read(raw)["train"].read(4, 6)
    assert columns["image_id"] == ["picture 4", "picture 5"]
    assert columns["text_id"] == ["page 2", "page 2"]


@pytest.mark.parametrize("stem", ["val", "dev", "validation"])
def test_names_of_the_validation_split(raw: Path, stem: str) -> None:
    write_split(raw, stem, labels=[0, 2] * 5)
    splits = read(raw)
    assert set(splits) == {"train", "validation"}
    assert splits["validation"].labels.tolist() == [0, 2] * 5
    assert splits["validation"].read(0, 1)["image_id"] == ["validation-0"]


def test_an_evaluation_split_may_be_alone_or_lack_classes(tmp_path: Path) -> None:
    raw = write_split(tmp_path / "raw", "test", labels=[7, 5] * 5)
    assert read(raw)["test"].class_names == ("5", "7")
    write_split(raw, labels=[5, 6, 7, 8, 9] * 2)
    split = read(raw)["test"]
    assert split.class_names == ("5", "6", "7", "8", "9")
    assert split.labels.tolist() == [2, 0] * 5


def spoil_vector(raw: Path, value: float = np.nan, dtype: Any = np.float32) -> None:
    spoilt = vectors("train", IMAGE_DIM, np.float64)
    spoilt[7, 1] = value
    np.save(raw / "train_image.npy", spoilt.astype(dtype))


def cut_file(raw: Path) -> None:
    path = raw / "train_text.npy"
    path.write_bytes(path.read_bytes()[:-8])


def save(name: str, array: Any) -> Callable[[Path], None]:
    return lambda raw: np.save(raw / name, array, allow_pickle=True)


def write(name: str, text: str) -> Callable[[Path], Any]:
    return lambda raw: (raw / name).write_text(text)


def remove(name: str) -> Callable[[Path], None]:
    return lambda raw: (raw / name).unlink()


OBJECTS = np.array([{}] * N, dtype=object)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_vector, r"train_image\.npy, split 'train', row 7 .*NaN or infinite"),
        (lambda raw: spoil_vector(raw, 1e300, np.float64), r"row 7 .*infinite values as float32"),
        (cut_file, r"train_text\.npy is truncated or damaged"),
        (
            save("train_image.npy", OBJECTS),
            r"train_image\.npy is not a numeric array",
        ),
        (save("train_labels.npy", OBJECTS), r"train_labels\.npy is not a numeric .*never loaded"),
        (save("train_image.npy", np.ones((N, 2), dtype=int)), r"train_image\.npy is int64"),
        (save("train_image.npy", np.ones(N)), r"train_image\.npy has shape \(10,\)"),
        (
            save("train_image.npy", np.ones((3, N), dtype=np.float32).T),
            r"train_image\.npy is stored column by column",
        ),
        (
            save("train_text.npy", np.ones((9, 3))),
            r"train_text\.npy has shape \(9, 3\), but .*train_labels\.npy has 10 rows",
        ),
        (
            save("train_labels.npy", LABELS[:9]),
            r"image\.npy has shape \(10, 4\), but .*labels\.npy has 9 rows",
        ),
        (
            save("train_labels.npy", [*LABELS[:9], 0.5]),
            r"train_labels\.npy, row 9 .*0\.5 is not a class",
        ),
        (save("train_labels.npy", np.ones((N, 3))), r"exactly one 1 .*neither"),
        (save("train_labels.npy", np.eye(N)), r"in every row and in every column"),
        (save("train_labels.npy", ["a"] * N), r"train_labels\.npy is <U1"),
        (save("train_labels.npy", [*LABELS[:9], 5]), r"class 5 occurs once in train \(row 9"),
        (
            write("train_labels.txt", lines(*LABELS)),
            r"train_labels\.npy and .*train_labels\.txt both exist",
        ),
        (
            write("train_image_ids.txt", lines(*"abcdefghia")),
            r"rows 0 and 9 .* same id 'a'",
        ),
        (
            write("train_text_ids.txt", lines(*"abc")),
            r"train_text_ids\.txt has 3 rows, but .* 10 rows",
        ),
        (write("classes.txt", lines("a", "b")), r"row 0 of split 'train' .*class 2, but 2 classes"),
        (write("classes.txt", lines("a", "b", "a")), r"class 'a' is on lines 1 and 3"),
        (remove("train_image.npy"), r"train_image\.npy is missing"),
        (remove("train_text.npy"), r"train_text\.npy is missing"),
        (remove("train_labels.npy"), r"split 'train' has no classes"),
    ],
)
def test_files_that_break_the_layout(
    raw: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(raw)
    with pytest.raises(DatasetError, match=message):
        read(raw)


def test_a_number_below_the_first_class(tmp_path: Path) -> None:
    raw = write_split(tmp_path / "raw", labels=[*LABELS[:9], -1])
    (raw / "classes.txt").write_text("a\nb\nc\n")
    with pytest.raises(DatasetError, match=r"row 9 of split 'train' .*class -1.*from 0 to 2"):
        read(raw)


def test_rows_are_counted_over_blocks(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean_split, "BLOCK_BYTES", 3 * 4 * IMAGE_DIM)
    blocks = read(raw)["train"].blocks("Reading")
    assert list(blocks)[:2] == [(0, 3), (3, 6)]
    spoil_vector(raw)
    with pytest.raises(DatasetError, match=r"row 7 "):
        read(raw)


def test_splits_that_do_not_fit_together(raw: Path) -> None:
    write_split(raw, "dev")
    write_split(raw, "val")
    with pytest.raises(DatasetError, match=r"files of val and of dev, which are all .*validation"):
        read(raw)
    for path in raw.glob("val_*"):
        path.unlink()
    np.save(raw / "dev_image.npy", np.ones((N, IMAGE_DIM + 1), dtype=np.float32))
    with pytest.raises(DatasetError, match="the splits differ in 'image_features'"):
        read(raw)
    write_split(raw, "dev", dtype=np.float16)
    with pytest.raises(DatasetError, match=r"differ in 'image_features'.*float16"):
        read(raw)
    write_split(raw, "dev", labels=[0, 9] * 5)
    with pytest.raises(DatasetError, match=r"row 1 of split 'validation' .*class 9"):
        read(raw)
    write_split(raw, "dev")
    (raw / "dev_text_ids.txt").write_text(lines(*range(N)))
    with pytest.raises(DatasetError, match="the splits differ in 'text_id'"):
        read(raw)


def test_a_folder_without_arrays(tmp_path: Path) -> None:
    (tmp_path / "features.h5").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"has no split: .*it contains features\.h5"):
        read(tmp_path)


def test_npy_and_matlab_files_in_one_folder(raw: Path) -> None:
    (raw / "more.mat").touch()
    with pytest.raises(DatasetError, match=r"as \.npy and as \.mat \(more\.mat\)"):
        read(raw)
