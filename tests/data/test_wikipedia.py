"""Wikipedia: the published files where they are at hand, and small ones in the same layout."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from scipy import sparse
from scipy.io import loadmat, savemat

from noisy_xmodal.data.columns import DatasetError
from noisy_xmodal.data.readers import CleanSplit
from noisy_xmodal.data.readers.wikipedia import LISTS, Wikipedia
from noisy_xmodal.data.writing import write_dataset

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "wikipedia"
FORMS = ("raw_features.mat", "roph_wiki.mat")
needs_published = pytest.mark.skipif(
    not all((PUBLISHED / name).exists() for name in FORMS),
    reason="needs shared/data/wikipedia beside the checkout",
)

N_TRAIN, N_TEST, N_CLASSES = 40, 693, 4


def classes(n: int) -> np.ndarray:
    return np.random.default_rng(n).permutation(np.arange(n) % N_CLASSES)


def write_lists(folder: Path) -> Path:
    folder.mkdir()
    (folder / "categories.list").write_text("art\nbiology\nmedia\nsport\n")
    for split, n in (("train", N_TRAIN), ("test", N_TEST)):
        text = "".join(
            f"{split}-text{i}\t{split}-image{i}\t{c + 1}\n" for i, c in enumerate(classes(n))
        )
        (folder / LISTS[split]).write_text(text)
    return folder


def vectors(n: int, dim: int) -> np.ndarray:
    return np.random.default_rng(dim).standard_normal((n, dim))


def add_raw_features(folder: Path) -> None:
    arrays = {
        f"{initial}_{suffix}": vectors(n, dim)
        for initial, dim in (("I", 8), ("T", 5))
        for suffix, n in (("tr", N_TRAIN), ("te", N_TEST))
    }
    savemat(folder / "raw_features.mat", arrays, do_compression=True)


def add_projected_features(folder: Path, **changes: Any) -> None:
    n = N_TRAIN + N_TEST
    labels = np.concatenate([classes(N_TRAIN), classes(N_TEST)])
    order = np.random.default_rng(0).permutation(n) + 1
    arrays = {
        "X1": vectors(n, 7).T,
        "X2": vectors(n, 6).T,
        "Y": sparse.csc_array(np.arange(N_CLASSES)[:, None] == labels),
        "split": {"ind_train": order[:N_TRAIN], "ind_test": order[N_TRAIN:]},
    }
    savemat(folder / "roph_wiki.mat", {"data": arrays | changes})


def add_arrays(folder: Path, n_train: int = N_TRAIN) -> None:
    for split, n in (("train", n_train), ("test", N_TEST)):
        np.save(folder / f"{split}_image.npy", vectors(n, 3).astype(np.float16))
        np.save(folder / f"{split}_text.npy", vectors(n, 2).astype(np.float16))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_lists(tmp_path / "raw")


def load(out: Path, config: str) -> datasets.DatasetDict:
    return datasets.load_dataset(str(out), config, cache_dir=str(out.parent / "load_cache"))


def read(folder: Path) -> dict[str, CleanSplit]:
    return Wikipedia(data_dir=str(folder)).read()


def check_lists(splits: Any) -> None:
    """All splits are rows of the lists, in their order."""
    assert {name: len(split) for name, split in splits.items()} == {
        "train": N_TRAIN,
        "validation": 231,
        "test": 462,
    }
    for name, listed, first in (
        ("train", "train", 0),
        ("validation", "test", 0),
        ("test", "test", 231),
    ):
        split = splits[name]
        rows = range(first, first + len(split))
        assert split.columns["image_id"] == [f"{listed}-image{i}" for i in rows]
        assert split.columns["text_id"] == [f"{listed}-text{i}" for i in rows]
        whole = classes(N_TRAIN if listed == "train" else N_TEST)
        np.testing.assert_array_equal(split.labels, whole[rows])
        assert split.class_names == ("art", "biology", "media", "sport")


@pytest.mark.parametrize(
    ("add", "dims", "offset"),
    [
        (add_raw_features, (8, 5), 0),
        (add_projected_features, (7, 6), N_TRAIN),
        (add_arrays, (3, 2), 0),
    ],
    ids=["raw", "projected", "arrays"],
)
def test_rows_are_those_of_the_lists(
    raw: Path, add: Callable[[Path], None], dims: tuple[int, int], offset: int
) -> None:
    add(raw)
    splits = read(raw)
    check_lists(splits)
    dtype = np.float16 if add is add_arrays else np.float32
    for column, dim in zip(("image_features", "text_features"), dims, strict=True):
        whole = vectors(offset + N_TEST, dim).astype(dtype)
        first_test = offset + 231
        given = splits["test"].read(0, 462)[column].to_pylist()
        np.testing.assert_array_equal(given, whole[first_test : first_test + 462].astype(float))
        given = splits["train"].read(0, 5)[column].to_pylist()
        train = whole if offset else vectors(N_TRAIN, dim).astype(dtype)
        np.testing.assert_array_equal(given, train[:5].astype(float))


def test_which_features_are_taken(raw: Path) -> None:
    def dim() -> int:
        return read(raw)["train"].columns["image_features"].values.shape[1]

    add_raw_features(raw)
    add_projected_features(raw)
    add_arrays(raw)
    assert dim() == 8
    (raw / "raw_features.mat").unlink()
    assert dim() == 7
    (raw / "roph_wiki.mat").unlink()
    assert dim() == 3


def test_arrays_with_labels_of_their_own(raw: Path) -> None:
    add_arrays(raw, n_train=30)
    with pytest.raises(DatasetError, match=r"rows of the lists .*split 'train' has 30 rows\. Give"):
        read(raw)
    np.save(raw / "train_labels.npy", classes(30) + 1)
    with pytest.raises(DatasetError, match=r"split 'train' has 30 rows and labels"):
        read(raw)
    np.save(raw / "test_labels.npy", classes(N_TEST) + 1)
    for name in LISTS.values():
        (raw / name).unlink()
    splits = read(raw)
    assert [len(split) for split in splits.values()] == [30, 231, 462]
    np.testing.assert_array_equal(splits["train"].labels, classes(30))
    assert splits["train"].class_names[1] == "biology"
    (raw / "classes.txt").write_text("a\nb\nc\nd\n")
    assert read(raw)["train"].class_names[1] == "b"


def spoil_line(raw: Path, line: str) -> None:
    path = raw / LISTS["train"]
    path.write_text("\n".join([*path.read_text().splitlines()[:-1], line]) + "\n")


def spoil_feature(raw: Path) -> None:
    arrays = {k: v for k, v in loadmat(raw / "raw_features.mat").items() if k[0] != "_"}
    arrays["T_te"][300, 1] = np.inf
    savemat(raw / "raw_features.mat", arrays)


def swap_labels(raw: Path) -> None:
    (raw / "raw_features.mat").unlink()
    labels = np.concatenate([classes(N_TRAIN), classes(N_TEST)])
    labels[[50, 51]] = (labels[[50, 51]] + 1) % N_CLASSES
    add_projected_features(raw, Y=np.arange(N_CLASSES)[:, None] == labels)


def no_labels(raw: Path) -> None:
    (raw / "raw_features.mat").unlink()
    savemat(raw / "roph_wiki.mat", {"data": {"X1": vectors(733, 7).T, "X2": vectors(733, 6).T}})


def no_structure(raw: Path) -> None:
    (raw / "raw_features.mat").unlink()
    savemat(raw / "roph_wiki.mat", {"X1": vectors(733, 7)})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda raw: spoil_line(raw, "a\tb"), r"trainset.*list, line 40: 2 field\(s\)"),
        (lambda raw: spoil_line(raw, "a\tb\t5"), r"line 40: class '5' is not between 1 and 4"),
        (lambda raw: spoil_line(raw, "a\tb\tart"), r"line 40: class 'art' is not between 1 and 4"),
        (lambda raw: spoil_line(raw, "a\ttrain-image3\t1"), r"rows 3 and .* 'train-image3'"),
        (
            lambda raw: spoil_line(raw, "a\tb\t1\nc\td\t1"),
            r"key 'I_tr' has shape \(40, 8\), but .*trainset.* has 41 rows",
        ),
        (lambda raw: (raw / LISTS["test"]).unlink(), r"testset_txt_img_cat\.list is missing"),
        (lambda raw: (raw / "categories.list").unlink(), r"categories\.list is missing"),
        (
            lambda raw: savemat(raw / "raw_features.mat", {"I_te": 1}),
            "split 'test' has no key for its text, one of .*T_te",
        ),
        (spoil_feature, r"raw_features\.mat, key 'T_te', row 300 .*NaN or infinite"),
        (swap_labels, r"Row 50 .*trainset.* and .*key 'Y'; 2 rows in all differ"),
        (no_labels, "no key 'Y' in 'data'"),
        (no_structure, r"roph_wiki\.mat has no structure 'data'"),
        (
            lambda raw: (raw / "raw_features.mat").write_bytes(b"MATLAB 5.0 MAT-file"),
            r"raw_features\.mat is truncated",
        ),
    ],
)
def test_files_that_break_the_layout(
    raw: Path, tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    add_raw_features(raw)
    spoil(raw)
    with pytest.raises(DatasetError, match=message):
        write_dataset(Wikipedia, tmp_path / "out", data_dir=str(raw))
    assert not (tmp_path / "out").exists()


def test_a_class_that_occurs_once(raw: Path) -> None:
    add_raw_features(raw)
    lines = (raw / LISTS["train"]).read_text().splitlines()
    left = [line for line in lines if not line.endswith("\t4")]
    left += [line[:-1] + "1" for line in lines if line.endswith("\t4")][1:]
    (raw / LISTS["train"]).write_text("\n".join([*left, "a\tb\t4"]))
    with pytest.raises(DatasetError, match="class 'sport' occurs once in train"):
        read(raw)


def test_the_builder_needs_a_folder(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"raw has no features: neither raw_features\.mat"):
        read(raw)
    with pytest.raises(DatasetError, match="give data_dir=FOLDER"):
        _ = Wikipedia(config_name="clean", cache_dir=str(tmp_path)).splits


@needs_published
@pytest.mark.parametrize("form", FORMS)
def test_published_files(tmp_path: Path, form: str) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    for path in [*PUBLISHED.glob("*.list"), PUBLISHED / form]:
        (raw / path.name).symlink_to(path)
    write_dataset(Wikipedia, out, ["sym_40"], data_dir=str(raw))
    loaded = load(out, "sym_40")
    sizes = {name: len(split) for name, split in loaded.items()}
    assert sizes == {"train": 2173, "validation": 231, "test": 462}
    train = loaded["train"].with_format("numpy")[:]
    assert train["image_features"].shape == (2173, 128)
    listed = [line.split("\t") for line in (raw / LISTS["train"]).read_text().splitlines()]
    names = loaded["train"].features["true_label"].names
    assert names == (raw / "categories.list").read_text().split()
    true = np.array([int(fields[2]) - 1 for fields in listed])
    np.testing.assert_array_equal(train["true_label"], true)
    assert [fields[1] for fields in listed] == loaded["train"]["image_id"][:]
    assert Counter(true.tolist())[9] == 347
    for column in ("image_label", "text_label"):
        assert np.mean(train[column] != true) == pytest.approx(0.36, abs=0.02)
    if form == "raw_features.mat":
        whole = loadmat(PUBLISHED / form)["T_te"].astype(np.float32)
        np.testing.assert_array_equal(
            loaded["test"].with_format("numpy")[:]["text_features"], whole[231:]
        )


@needs_published
def test_the_two_published_forms_hold_the_same_pairs() -> None:
    """Rows with equal image vectors are the same in both, so that both are in one order."""
    first = loadmat(PUBLISHED / "raw_features.mat")
    second = loadmat(PUBLISHED / "roph_wiki.mat", simplify_cells=True)["data"]

    def repeats(rows: np.ndarray) -> set[tuple[int, ...]]:
        found: dict[bytes, list[int]] = {}
        for number, row in enumerate(np.ascontiguousarray(rows)):
            found.setdefault(row.tobytes(), []).append(number)
        return {tuple(numbers) for numbers in found.values() if len(numbers) > 1}

    found = repeats(np.vstack([first["I_tr"], first["I_te"]]))
    assert len(found) == 10
    assert sum(a < 2173 <= b for a, b in found) == 3
    assert repeats(second["X1"].T) == found
