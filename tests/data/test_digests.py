"""What rows are made of: told by content, not by names, places and times."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from noisy_xmodal import LabelDataset
from noisy_xmodal.data import PairDataset, digests
from noisy_xmodal.data.digests import combined_digest, image_digests
from noisy_xmodal.data.pair_dataset import GridPairs
from toy_labels import toy_labels
from toy_pairs import toy_pairs


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path) -> Path:
    """Four pictures of one size, without compression, so that their files have one size too."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, color in enumerate(("red", "green", "blue", "white")):
        Image.new("RGB", (5, 4), color).save(folder / f"{number}.bmp")
    return folder


def rows(folder: Path, captions: list[list[str]] | None = None) -> datasets.Dataset:
    """The pictures of a folder as files, with captions and names."""
    files = sorted(folder.iterdir())
    columns = {
        "image": [str(file) for file in files],
        "image_id": [file.name for file in files],
        "captions": captions or [[f"picture {file.stem}", "a picture"] for file in files],
    }
    return datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())


def digest_slowly(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def copy(folder: Path) -> Path:
    return Path(shutil.copytree(folder, folder.with_name("copy")))


def move(folder: Path) -> Path:
    return folder.rename(folder.with_name("elsewhere"))


def touch(folder: Path) -> Path:
    os.utime(folder / "1.bmp", (1, 1))
    return folder


def replace(folder: Path) -> Path:
    shutil.copy(folder / "3.bmp", folder / "1.bmp")
    return folder


def replace_by_one_of_the_same_size_and_times(folder: Path) -> Path:
    before = os.stat(folder / "1.bmp")
    replace(folder)
    os.utime(folder / "1.bmp", ns=(before.st_atime_ns, before.st_mtime_ns))
    return folder


def cut(folder: Path) -> Path:
    (folder / "1.bmp").write_bytes((folder / "1.bmp").read_bytes()[:-1])
    return folder


@pytest.mark.parametrize("change", [copy, move, touch])
def test_the_same_pictures_elsewhere_are_the_same(photos, cache, change):
    before = image_digests(rows(photos), cache)
    assert before.tolist() == [digest_slowly(f.read_bytes()) for f in sorted(photos.iterdir())]
    assert image_digests(rows(change(photos)), cache).tolist() == before.tolist()


@pytest.mark.parametrize("change", [replace, replace_by_one_of_the_same_size_and_times, cut])
def test_a_picture_that_is_replaced_under_its_name_is_another(photos, cache, change, caplog):
    before = image_digests(rows(photos), cache)
    after = image_digests(rows(change(photos)), cache)
    assert (after != before).tolist() == [False, True, False, False]
    assert "1 of 4 pictures have changed since the last run" in caplog.text
    assert "1.bmp. Everything derived from them is computed again." in caplog.text


def test_a_picture_that_is_away_or_back_is_another(photos, cache):
    dataset = rows(photos)
    before = image_digests(dataset, cache)
    content = (photos / "1.bmp").read_bytes()
    (photos / "1.bmp").unlink()
    assert (image_digests(dataset, cache) != before).tolist() == [False, True, False, False]
    (photos / "1.bmp").write_bytes(content)
    assert image_digests(dataset, cache).tolist() == before.tolist()


def test_pictures_in_the_rows_are_those_of_the_files_that_they_were(photos, tmp_path, cache):
    rows(photos).to_parquet(tmp_path / "all.parquet")
    packed = datasets.Dataset.from_parquet(str(tmp_path / "all.parquet"), cache_dir=str(cache))
    assert image_digests(packed, cache).tolist() == image_digests(rows(photos), cache).tolist()
    some = packed.select([2, 0])
    assert image_digests(some, cache).tolist() == image_digests(packed, cache)[[2, 0]].tolist()


def test_files_that_have_not_changed_are_read_once(photos, cache, monkeypatch):
    read: list[str] = []
    digest = digests._file_digest
    monkeypatch.setattr(digests, "_file_digest", lambda path: (read.append(path), digest(path))[1])
    for _ in range(3):
        image_digests(rows(photos), cache)
    assert len(read) == 4
    replace(photos)
    image_digests(rows(photos), cache)
    assert [Path(path).name for path in read[4:]] == ["1.bmp"]


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"x" * 300])
def test_damaged_notes_are_made_anew(photos, cache, damage):
    before = image_digests(rows(photos), cache)
    (kept,) = (cache / "noisy_xmodal_pictures").iterdir()
    kept.write_bytes(damage)
    assert image_digests(rows(photos), cache).tolist() == before.tolist()


def test_a_cache_that_cannot_be_written_is_done_without(photos, tmp_path):
    (tmp_path / "file").write_text("no folder")
    assert len(image_digests(rows(photos), tmp_path / "file")) == 4


def test_of_many_region_features_some_rows_are_read(monkeypatch):
    dataset = toy_pairs(60)
    other = toy_pairs(60, seed=1)
    whole = image_digests(dataset)
    assert len(set(whole.tolist())) == 60
    monkeypatch.setattr(digests, "is_checked_as_read", lambda _: True)
    monkeypatch.setattr(digests, "SAMPLED_ROWS", 5)
    some = image_digests(dataset)
    assert np.flatnonzero(some).tolist() == [0, 14, 29, 44, 59]
    assert some[some > 0].tolist() == whole[some > 0].tolist()
    assert (some != image_digests(other)).sum() == 5


def without_oracle(dataset: datasets.Dataset) -> datasets.Dataset:
    return dataset.remove_columns("is_noisy")


def another_caption(dataset: datasets.Dataset) -> datasets.Dataset:
    def correct(row: dict, number: int) -> dict:
        return {"captions": [row["captions"][0], "corrected"]} if number == 3 else {}

    return dataset.map(correct, with_indices=True)


def reversed_rows(dataset: datasets.Dataset) -> datasets.Dataset:
    return dataset.select(range(len(dataset))[::-1])


def a_caption_given_to_the_next_image(dataset: datasets.Dataset) -> datasets.Dataset:
    captions = list(dataset["captions"])
    captions[0], captions[1] = captions[0][:1], captions[0][1:] + captions[1]
    feature = dataset.features["captions"]
    return dataset.remove_columns("captions").add_column("captions", captions, feature=feature)


@pytest.mark.parametrize(
    ("change", "different"),
    [
        (without_oracle, {}),
        (another_caption, {"pair: caption": [7]}),
        (a_caption_given_to_the_next_image, {"pair: image": [1]}),
    ],
)
def test_pairs_are_told_by_captions_images_and_order(
    change: Callable[..., datasets.Dataset], different: dict[str, list[int]]
):
    dataset = toy_pairs(6)
    own, other = PairDataset(dataset).identity(), PairDataset(change(dataset)).identity()
    assert own.keys() == other.keys()
    found = {name: np.flatnonzero(own[name] != other[name]).tolist() for name in own}
    assert {name: places for name, places in found.items() if places} == different


def test_the_same_rows_in_another_order_are_others():
    own = PairDataset(toy_pairs(6)).identity()
    other = PairDataset(reversed_rows(toy_pairs(6))).identity()
    assert other["image: picture"].tolist() == own["image: picture"].tolist()[::-1]
    assert sorted(other["pair: caption"]) == sorted(own["pair: caption"])
    assert other["pair: caption"].tolist() != own["pair: caption"].tolist()


def test_features_beside_the_rows_count():
    dataset = toy_pairs(6)
    features = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float16)
    own = GridPairs(dataset, features).select(np.array([1, 4])).identity()["image: picture"]
    features[4, 1, 2] += 1
    other = GridPairs(dataset, features).select(np.array([1, 4])).identity()["image: picture"]
    assert (own != other).tolist() == [False, True]


def test_labels_and_vectors_count_and_true_labels_do_not():
    dataset = toy_labels(20, "sym_40")
    own = LabelDataset(dataset).identity()
    plain = LabelDataset(dataset.remove_columns("true_label")).identity()
    assert all((own[name] == plain[name]).all() for name in own)
    assert own.keys() == plain.keys()
    other = LabelDataset(toy_labels(20)).identity()
    assert (own["pair: class of its text"] != other["pair: class of its text"]).any()
    vectors = LabelDataset(dataset).image_features.copy(), LabelDataset(dataset).text_features
    vectors[0][5, 0] += 1
    changed = LabelDataset(dataset).with_features(*vectors).identity()
    name = "pair: vector in 'image_features'"
    assert np.flatnonzero(own[name] != changed[name]).tolist() == [5]


def test_a_name_is_of_all_parts_in_their_order():
    parts = (np.array([1, 2], np.uint64), "ab", "c")
    others = (parts, parts[::-1], (parts[0], "a", "bc"), parts[:2])
    names = {combined_digest(*other) for other in others}
    assert len(names) == 4
    assert combined_digest(*parts) == combined_digest(np.array([1, 2], np.uint64), "ab", "c")
