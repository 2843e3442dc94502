"""The original files of Flickr8k, which are read where there is no split file."""

from pathlib import Path
from typing import Any

import pytest

from karpathy_layout import karpathy_entries, load, truth, write_karpathy, write_picture
from noisy_xmodal.data.columns import DatasetError
from noisy_xmodal.data.readers import CleanSplit, write_dataset
from noisy_xmodal.data.readers.flickr8k import Flickr8k

Entries = list[dict[str, Any]]
SPLITS = {"train": 10, "val": 2, "test": 3}


def write(raw: Path, out: Path, configs: list[str] | None = None) -> dict[str, CleanSplit]:
    return write_dataset(Flickr8k, out, configs or ["clean"], data_dir=str(raw))


def write_original(raw: Path, splits: dict[str, int]) -> Entries:
    """The original files of Flickr8k, with a picture that no list has, as published."""
    entries = karpathy_entries(splits)
    (raw / "Flickr8k_text").mkdir(parents=True)
    lines = ["2258277193.jpg.1#0\tListed nowhere"]
    for number, entry in enumerate(entries):
        write_picture(raw / "Flicker8k_Dataset" / entry["filename"], number)
        lines += [f"{entry['filename']}#{k}\tPicture {number} caption {k} ." for k in range(5)]
    (raw / "Flickr8k_text" / "Flickr8k.token.txt").write_text("\n".join(lines) + "\n")
    for split, name in (("train", "train"), ("val", "dev"), ("test", "test")):
        names = [entry["filename"] for entry in entries if entry["split"] == split]
        path = raw / "Flickr8k_text" / f"Flickr_8k.{name}Images.txt"
        path.write_text("\n".join(reversed(names)) + "\n")
    return entries


def test_flickr8k_original_files(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    entries = write_original(raw, SPLITS)
    splits = write(raw, out, ["clean", "cmp_image_40"])
    assert splits["train"].notes[0] == (
        "listed by Flickr8k.token.txt and its image lists, pictures of Flicker8k_Dataset/"
    )
    loaded = load(out, "cmp_image_40")
    assert {name: len(rows) for name, rows in loaded.items()} == {
        "train": 10,
        "validation": 2,
        "test": 3,
    }
    assert loaded["train"]["is_noisy"][:] == truth(loaded["train"])
    assert {sum(row) for row in loaded["train"]["is_noisy"][:]} == {0, 5}
    listed = [entry["filename"][:-4] for entry in entries if entry["split"] == "test"]
    assert loaded["test"]["image_id"][:] == listed[::-1]
    assert loaded["test"]["captions"][0][4] == f"Picture {int(listed[-1][-6:], 16)} caption 4 ."


def test_flickr8k_prefers_the_split_file(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    entries = write_original(raw, SPLITS)
    write_karpathy(raw, "flickr8k", entries[:4], pictures=None)
    splits = write(raw, tmp_path / "out")
    assert sum(map(len, splits.values())) == 4


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("Flickr8k.token.txt", "a.jpg#0 A dog", r"line 77: 'a.jpg#0 A dog' is not 'name.jpg#0"),
        ("Flickr8k.token.txt", "a.jpg#0\t ", r"line 77: 'a.jpg#0' is not 'name"),
        ("Flickr8k.token.txt", "1000_000000.jpg#1\tA dog", r"lines 3 and 77: both are caption"),
        ("Flickr_8k.devImages.txt", "a.jpg", r"devImages.txt, line 3: 'a.jpg' has no caption"),
        (
            "Flickr_8k.devImages.txt",
            "1000_000000.jpg",
            r"\(train\) and \d+ \(validation\), counted",
        ),
    ],
)
def test_flickr8k_original_files_that_break_the_layout(
    tmp_path: Path, name: str, line: str, message: str
) -> None:
    write_original(tmp_path / "raw", SPLITS)
    with open(tmp_path / "raw" / "Flickr8k_text" / name, "a") as file:
        file.write(line + "\n")
    with pytest.raises(DatasetError, match=message):
        write(tmp_path / "raw", tmp_path / "out")


def test_flickr8k_original_lists_must_be_there(tmp_path: Path) -> None:
    write_original(tmp_path / "raw", SPLITS)
    (tmp_path / "raw" / "Flickr8k_text" / "Flickr_8k.testImages.txt").unlink()
    with pytest.raises(DatasetError, match=r"Flickr_8k\.testImages\.txt is missing"):
        write(tmp_path / "raw", tmp_path / "out")
