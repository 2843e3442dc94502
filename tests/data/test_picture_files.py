"""Files are found by the names that tables of other systems give them, or not at all."""

import os
import unicodedata
from pathlib import Path

import pytest

from noisy_xmodal.data.any_dataset import picture_files
from noisy_xmodal.data.any_dataset.picture_files import PictureFiles, files_below

COMPOSED = unicodedata.normalize("NFC", "\u00e9t\u00e9")


def make(folder: Path, *names: str) -> PictureFiles:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return PictureFiles(folder)


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("a.jpg", "a.jpg"),
        ("a.jpg", "in/deep/a.jpg"),
        ("deep/a.jpg", "in/deep/a.jpg"),
        ("./a.jpg", "in/a.jpg"),
        ("a.JPG", "a.jpg"),
        ("A.jpg", "in/a.JPG"),
        ("a", "a.jpg"),
        ("in/a", "in/a.webp"),
        ("in\\a.jpg", "in/a.jpg"),
        (".\\in\\a.jpg", "in/a.jpg"),
        ("a%20b.jpg", "a b.jpg"),
        ("a b.jpg", "in/a b.jpg"),
        ("50%.jpg", "50%.jpg"),
        ("a%20b.jpg", "a%20b.jpg"),
        ("a.jpg#3", "a.jpg"),
        (COMPOSED + ".jpg", unicodedata.normalize("NFD", COMPOSED) + ".jpg"),
        (unicodedata.normalize("NFD", COMPOSED), f"in/{COMPOSED}.JPG"),
        ("/home/somebody/photos/in/a.jpg", "in/a.jpg"),
        ("C:\\Users\\somebody\\in\\a.jpg", "x/in/a.jpg"),
        ("STRASSE.jpg", "stra\u00dfe.jpg"),
    ],
)
def test_names_of_one_file(tmp_path: Path, name: str, there: str) -> None:
    files = make(tmp_path, there, "other.jpg", "in/another.png")
    assert files.matches(name) == [str(tmp_path / there)]


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("a.jpg", ["b.jpg"]),
        ("less/a.jpg", ["more/a.jpg"]),
        ("a.jpg", ["a.png"]),
        ("xa.jpg", ["a.jpg"]),
        ("a.jpg", ["xa.jpg"]),
        ("", ["a.jpg"]),
        (".", ["a.jpg"]),
        ("\0", ["a.jpg"]),
        ("a.jpg/", ["a.jpg"]),
        ("a.jpg", [".hidden/a.jpg", "__MACOSX/a.jpg"]),
    ],
)
def test_names_of_no_file(tmp_path: Path, name: str, there: list[str]) -> None:
    assert [f for f in make(tmp_path, *there).matches(name) if not f.endswith("/")] == (
        [str(tmp_path / "a.jpg")] if name == "a.jpg/" else []
    )


@pytest.mark.parametrize(
    ("name", "there", "fitting"),
    [
        ("a.jpg", ["x/a.jpg", "y/a.jpg"], 2),
        ("a", ["a.jpg", "a.png"], 2),
        ("A.jpg", ["x/a.jpg", "x/a.JPG"], 2),
        ("x/a.jpg", ["x/a.jpg", "y/a.jpg"], 1),
        ("a.JPG", ["x/a.jpg", "x/a.JPG"], 1),
        ("/far/y/a.jpg", ["x/a.jpg", "y/a.jpg"], 1),
        ("/far/z/a.jpg", ["x/a.jpg", "y/a.jpg"], 2),
    ],
)
def test_names_that_fit_several(tmp_path: Path, name: str, there: list[str], fitting: int) -> None:
    assert len(make(tmp_path, *there).matches(name)) == fitting


def test_links_lead_to_one_file_and_to_no_loop(tmp_path: Path) -> None:
    make(tmp_path / "real", "a.jpg", "in/b.jpg")
    files = make(tmp_path / "d")
    (tmp_path / "d").mkdir(exist_ok=True)
    os.symlink(tmp_path / "real", tmp_path / "d" / "images")
    os.symlink(tmp_path / "d", tmp_path / "real" / "in" / "loop")
    os.symlink(tmp_path / "nowhere", tmp_path / "real" / "gone.jpg")
    os.symlink(tmp_path / "real" / "a.jpg", tmp_path / "real" / "same.jpg")
    assert files.matches("b.jpg") == [str(tmp_path / "d/images/in/b.jpg")]
    assert files.matches("gone.jpg") == []
    below = sorted(os.path.relpath(path, tmp_path / "d") for path in files_below(tmp_path / "d"))
    assert below == ["images/a.jpg", "images/in/b.jpg", "images/same.jpg"]


def test_pictures_beside_a_folder_of_annotations(tmp_path: Path) -> None:
    make(tmp_path, "train2017/a.jpg", "annotations/x.json", "tables/x.json")
    assert PictureFiles(tmp_path / "annotations").matches("a.jpg")
    assert not PictureFiles(tmp_path / "tables").matches("a.jpg")


def test_names_from_a_folder_above(tmp_path: Path) -> None:
    make(tmp_path / "data", "photos/in/a.jpg", "b.jpg")
    files = PictureFiles(tmp_path / "data" / "photos")
    assert files.matches("data/photos/in/a.jpg") == [str(tmp_path / "data/photos/in/a.jpg")]
    assert (
        files.matches("data/b.jpg") == files.matches("b.jpg") == files.matches("c/in/a.jpg") == []
    )


def test_many_files_of_one_name_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number}/0.jpg" for number in range(50)]
    files = make(tmp_path, *names)
    read: list[str] = []
    key = picture_files._key
    monkeypatch.setattr(picture_files, "_key", lambda name: read.append(name) or key(name))
    for name in names:
        for given in (f"/elsewhere/{name}", f"/elsewhere/{name.removesuffix('.jpg')}"):
            assert files.matches(given) == [str(tmp_path / name)]
    assert len(read) <= 4 * len(names)  # files and names
    assert len(files.matches("0.jpg")) == len(files.matches("0")) == 50
    assert files.matches("50/0.jpg") == files.matches("1/1.jpg") == []
