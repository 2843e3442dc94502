"""Datasets with a Karpathy split file: round trips, places of the pictures, forms, errors."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from karpathy_layout import karpathy_entries, load, truth, write_karpathy
from noisy_xmodal.data.columns import DatasetError, validate_pairs
from noisy_xmodal.data.pair_dataset import PairDataset
from noisy_xmodal.data.protocol import noise_protocol
from noisy_xmodal.data.readers import CleanSplit, write_dataset
from noisy_xmodal.data.readers.flickr30k import Flickr30k

Entries = list[dict[str, Any]]
Writer = Callable[..., Path]
SCRIPTS = Path(__file__).parents[2] / "dataset_scripts"
SPLITS = {"train": 10, "val": 2, "test": 3}


def write(
    raw: Path,
    out: Path,
    configs: list[str] | None = None,
    **options: Any,
) -> dict[str, CleanSplit]:
    return write_dataset(Flickr30k, out, configs or ["clean"], data_dir=str(raw), **options)


def test_round_trip(tmp_path: Path) -> None:
    entries = karpathy_entries(SPLITS)
    raw, out = write_karpathy(tmp_path / "raw", "flickr30k", entries), tmp_path / "out"
    write(raw, out, ["clean", "cmp_40"])
    clean, noisy = load(out, "clean"), load(out, "cmp_40")
    assert {name: len(rows) for name, rows in noisy.items()} == {
        "train": 10,
        "validation": 2,
        "test": 3,
    }
    for split, name in (("train", "train"), ("validation", "val"), ("test", "test")):
        listed = [entry for entry in entries if entry["split"] == name]
        for row, entry in zip(noisy[split], listed, strict=True):
            assert row["image_id"] + ".jpg" == entry["filename"]
            with Image.open(raw / "images" / entry["filename"]) as picture:
                np.testing.assert_array_equal(np.asarray(row["image"]), np.asarray(picture))
        validate_pairs(noisy[split])
        assert clean[split]["captions"][:] == [
            [sentence["raw"].strip() for sentence in entry["sentences"]] for entry in listed
        ]
        if split != "train":
            assert noisy[split]["captions"][:] == clean[split]["captions"][:]
            assert not any(map(any, noisy[split]["is_noisy"][:]))
    assert noisy["train"]["is_noisy"][:] == truth(noisy["train"])
    assert sum(map(sum, noisy["train"]["is_noisy"][:])) == 20
    assert len(PairDataset(noisy["train"])) == 50


def test_files_are_stored_as_they_are(tmp_path: Path) -> None:
    raw = write_karpathy(tmp_path / "raw", "flickr30k", karpathy_entries({"train": 4}))
    write(raw, tmp_path / "out")
    rows = load(tmp_path / "out", "clean")["train"].cast_column(
        "image", datasets.Image(decode=False)
    )
    for row in rows:
        assert row["image"]["bytes"] == (raw / "images" / row["image"]["path"]).read_bytes()


def test_the_card(tmp_path: Path) -> None:
    raw = write_karpathy(tmp_path / "raw", "flickr30k", karpathy_entries(SPLITS))
    write(raw, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert (
        "- train: 10 rows; 50 captions; listed by dataset_flickr30k.json, pictures of images/; "
        "the published split has 29,000 images" in card
    )
    for text in ("not at hand", "on request from", "young2014image", "karpathy2015deep"):
        assert text in " ".join(card.split())


def test_published_sizes_need_no_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Flickr30k, "SIZES", (10, 2, 4))
    raw = write_karpathy(tmp_path / "raw", "flickr30k", karpathy_entries(SPLITS))
    splits = write(raw, tmp_path / "out")
    has_note = {name: "published" in str(split.notes) for name, split in splits.items()}
    assert has_note == {"train": False, "validation": False, "test": True}


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("", "data_dir itself"),
        ("flickr30k-images", "flickr30k-images/"),
        ("Flicker8k_Dataset", "Flicker8k_Dataset/"),
        ("mine", "mine/"),
        ("download/pictures", "download/pictures/"),
    ],
)
def test_places_of_the_pictures(tmp_path: Path, place: str, told: str) -> None:
    raw = write_karpathy(tmp_path / "raw", "flickr30k", karpathy_entries({"train": 3}), place)
    splits = write(raw, tmp_path / "out")
    assert splits["train"].notes[0].endswith(f"pictures of {told}")


def test_the_split_file_may_lie_one_folder_down(tmp_path: Path) -> None:
    raw = write_karpathy(tmp_path / "raw", "flickr30k", karpathy_entries({"train": 3}))
    (raw / "karpathy").mkdir()
    (raw / "dataset_flickr30k.json").rename(raw / "karpathy" / "dataset.json")
    assert len(write(raw, tmp_path / "out")["train"]) == 3


def test_breaks_in_captions_become_spaces(tmp_path: Path) -> None:
    entries = karpathy_entries({"train": 2})
    entries[1]["sentences"][2]["raw"] = " A dog\nruns\t\r\nhome.  Fast. \n"
    raw = write_karpathy(tmp_path / "raw", "flickr30k", entries)
    splits = write(raw, tmp_path / "out")
    assert splits["train"].captions is not None
    assert splits["train"].captions[1][2] == "A dog runs home.  Fast."


def test_bad_pictures(tmp_path: Path) -> None:
    entries = karpathy_entries(SPLITS)
    raw = write_karpathy(tmp_path / "raw", "flickr30k", entries)
    bad = raw / "images" / entries[0]["filename"]
    bad.write_bytes(bad.read_bytes()[:-100])
    with pytest.raises(DatasetError, match=r"1 of 15 pictures are bad\. 1000_000000 \(.*truncated"):
        write(raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    write(raw, tmp_path / "out", ["cmp_40"], on_bad_image="skip")
    train = load(tmp_path / "out", "cmp_40")["train"]
    assert len(train) == 9
    assert "1000_000000" not in train["image_id"][:]
    assert not any("Picture 0 " in text for texts in train["captions"] for text in texts)
    assert noise_protocol(train)["n_pairs"] == 45
    card = (tmp_path / "out" / "README.md").read_text()
    assert "1 of 10 pictures do not decode and were left out: 1000_000000.jpg" in card


def test_missing_pictures(tmp_path: Path) -> None:
    entries = karpathy_entries(SPLITS)
    raw = write_karpathy(tmp_path / "raw", "flickr30k", entries)
    for entry in entries[1:4]:
        (raw / "images" / entry["filename"]).unlink()
    with pytest.raises(
        DatasetError, match=r"3 of 15 pictures are missing\. 1001_000001\.jpg, .*/images\."
    ):
        write(raw, tmp_path / "out", on_bad_image="skip")
    for path in (raw / "images").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=r"neither '1000_000000\.jpg' nor the 14 after it"):
        write(raw, tmp_path / "out")


def change(entries: Entries, number: int, **values: Any) -> None:
    entries[number] |= values


SPOILS: list[tuple[Callable[[Entries], object], str]] = [
    (lambda e: e[3].pop("split"), r"image 3 \(counted from 0, 1003_000003\.jpg\): the key 'split'"),
    (lambda e: e[3].pop("filename"), r"image 3 \(counted from 0\): the key 'filename' is missing"),
    (lambda e: e[2].pop("sentences"), r"image 2 .*the key 'sentences' is missing"),
    (lambda e: change(e, 2, sentences=[]), r"image 2 .*there are no sentences"),
    (lambda e: e[4]["sentences"][1].pop("raw"), r"image 4 .*sentence 1: 'raw' is missing"),
    (
        lambda e: change(e[4]["sentences"], 1, raw=" \n"),
        r"image 4 .*sentence 1: 'raw' is .*empty or not",
    ),
    (lambda e: change(e, 1, split="dev"), r"image 1 .*the split 'dev' is unknown"),
    (
        lambda e: change(e, 5, filename=e[2]["filename"]),
        r"images 2 \(test\) and 5 \(test\), counted from 0, both have the file '1002_",
    ),
    (lambda e: change(e, 5, filename="1002_000002.png"), r"rows 2 and 5 .* same id '1002_000002'"),
    (lambda e: change(e, 1, filename="../../secret.jpg"), r"'../../secret.jpg' .*without a path"),
    (lambda e: e.__setitem__(1, "x"), r"image 1 .*expected an object, but found 'x'"),
    (lambda e: e.clear(), r"no list of 'images'"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILS)
def test_split_files_that_break_the_layout(
    tmp_path: Path, spoil: Callable[[Entries], object], message: str
) -> None:
    entries = karpathy_entries(SPLITS)
    spoil(entries)
    raw = write_karpathy(tmp_path / "raw", "flickr30k", entries, pictures=None)
    with pytest.raises(DatasetError, match=message):
        write(raw, tmp_path / "out")


def test_other_files(tmp_path: Path) -> None:
    raw = write_karpathy(tmp_path / "raw", "flickr8k", karpathy_entries({"train": 2}))
    with pytest.raises(
        DatasetError, match=r"neither dataset_flickr30k\.json nor dataset\.json nor"
    ):
        write(raw, tmp_path / "out")
    path = raw / "dataset_flickr8k.json"
    path.rename(raw / "dataset.json")
    with pytest.raises(DatasetError, match="lists 'flickr8k', not 'flickr30k'"):
        write(raw, tmp_path / "out")
    (raw / "dataset.json").write_text('{"images": [')
    with pytest.raises(DatasetError, match=r"dataset\.json is truncated or not a JSON"):
        write(raw, tmp_path / "out")
    (raw / "dataset.json").write_bytes(b'"\xff"')
    with pytest.raises(DatasetError, match=r"dataset\.json is not UTF-8"):
        write(raw, tmp_path / "out")
    with pytest.raises(DatasetError, match="There is no folder"):
        write(raw / "dataset.json", tmp_path / "out")


def test_partial_noise_asks_where_objects_come_from(tmp_path: Path) -> None:
    raw = write_karpathy(tmp_path / "raw", "flickr30k", karpathy_entries(SPLITS))
    with pytest.raises(DatasetError, match=r"no object sets.*objects_from="):
        write(raw, tmp_path / "out", ["part_40"])
    assert not (tmp_path / "out").exists()


def test_region_features(write_split: Writer, tmp_path: Path) -> None:
    raw = write_split("train")
    write_split("dev", n_images=4)
    write(raw, tmp_path / "out", ["clean", "cmp_40"])
    loaded = load(tmp_path / "out", "cmp_40")
    assert set(loaded) == {"train", "validation"}
    features = np.load(raw / "train_ims.npy")
    for item in PairDataset(loaded["train"]).__getitems__(list(range(50))):
        np.testing.assert_array_equal(item["regions"], features[item["image_row"]])
        assert item["regions"].dtype == np.float16
    assert sum(map(sum, loaded["train"]["is_noisy"][:])) == 20
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Region features with captions" in card
    assert "the published split has 29,000 images" in card
    features[3] = np.inf
    np.save(raw / "train_ims.npy", features)
    with pytest.raises(DatasetError, match=r"row 3 .*: the features have NaN"):
        write(raw, tmp_path / "other")


def test_the_builder_reads_changed_files_anew(tmp_path: Path) -> None:
    raw = write_karpathy(tmp_path / "raw", "flickr30k", karpathy_entries({"train": 4}))

    def build() -> datasets.Dataset:
        builder = Flickr30k(config_name="clean", data_dir=str(raw), cache_dir=str(tmp_path / "c"))
        builder.download_and_prepare()
        return builder.as_dataset("train")

    assert len(build()) == 4
    write_karpathy(raw, "flickr30k", karpathy_entries({"train": 5}))
    assert len(build()) == 5
    content = json.loads((raw / "dataset_flickr30k.json").read_text())
    content["images"][0]["sentences"][0]["raw"] = "A new caption, which is longer."
    (raw / "dataset_flickr30k.json").write_text(json.dumps(content))
    assert build()["captions"][0][0] == "A new caption, which is longer."


@pytest.mark.parametrize("name", ["flickr30k", "flickr8k", "coco"])
def test_the_script(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    entries = karpathy_entries(SPLITS, coco=name == "coco")
    raw, out = write_karpathy(tmp_path / "raw", name, entries, "."), tmp_path / "out"
    bad = raw / entries[0].get("filepath", ".") / entries[0]["filename"]
    bad.write_bytes(b"")
    script = str(SCRIPTS / f"{name}.py")
    options = ["--data_dir", str(raw), "--out", str(out), "--configs", "cmp_40", "clean"]
    monkeypatch.setattr(sys, "argv", [script, *options])
    with pytest.raises(SystemExit):
        runpy.run_path(script, run_name="__main__")
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: 1 of 15 pictures are bad")
    monkeypatch.setattr(sys, "argv", [script, *options, "--on_bad_image", "skip"])
    runpy.run_path(script, run_name="__main__")
    printed = capsys.readouterr().out
    assert "train: 9 rows, 45 captions" in printed
    assert "1 of 10 pictures do not decode" in printed
    assert len(load(out, "cmp_40")["train"]) == 9
