"""Picture files: what counts as bad, and how it is said or left out, before anything is read."""

import warnings
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image, ImageFile

from karpathy_layout import write_picture
from noisy_xmodal.data.clean_split import CleanSplit, PictureFiles, block_table
from noisy_xmodal.data.columns import DatasetError
from noisy_xmodal.data.pictures import image_problems, keep_good_pictures
from noisy_xmodal.data.readers.image_files import check_pictures


def write_pictures(folder: Path, names: list[str]) -> list[Path]:
    for number, name in enumerate(names):
        write_picture(folder / name, number, (160, 120))
    return [folder / name for name in names]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def cut_progressive(path: Path) -> None:
    with Image.open(path) as image:
        image.load()
    image.save(path, progressive=True)
    cut(path)


def cut_end_marker(path: Path) -> None:
    """Leaves out the end marker of a JPEG, and the byte before."""
    path.write_bytes(path.read_bytes()[:-3])


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace_by_a_web_page(path: Path) -> None:
    path.write_text("<html>Not found</html>")


def check(paths: list[Path], on_bad_image: str = "error") -> list[str]:
    """The names of the pictures that are kept."""
    columns = {"image": PictureFiles(paths), "image_id": [path.stem for path in paths]}
    split = CleanSplit(columns)
    check_pictures({"train": split}, on_bad_image)
    return split.columns["image_id"]


@pytest.mark.parametrize(
    ("suffix", "spoil"),
    [
        *(("jpg", spoil) for spoil in (cut, cut_progressive, cut_end_marker)),
        *((s, spoil) for s in ("jpg", "png") for spoil in (halve, empty, replace_by_a_web_page)),
        ("png", cut),
    ],
)
def test_bad_files_are_found(tmp_path: Path, suffix: str, spoil: Callable[[Path], object]) -> None:
    paths = write_pictures(tmp_path, [f"{name}.{suffix}" for name in "abcd"])
    spoil(paths[2])
    assert check(paths, "skip") == ["a", "b", "d"]
    with pytest.raises(DatasetError, match=rf"^1 of 4 pictures are bad\. c \(.*c\.{suffix}\): .+"):
        check(paths)


def test_good_files_of_all_kinds(tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 70, 3), np.uint8))
    for name, mode in (("a.jpg", "CMYK"), ("b.jpg", "L"), ("c.png", "RGBA"), ("d.gif", "P")):
        picture.convert(mode).save(tmp_path / name)
    picture.save(tmp_path / "e.jpg", progressive=True)
    assert check(sorted(tmp_path.iterdir())) == list("abcde")


def test_the_error_counts_all_and_names_three(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path, [f"{i}.jpg" for i in range(20)])
    for path in paths[5:12]:
        cut(path)
    with pytest.raises(DatasetError) as caught:
        check(paths)
    message = str(caught.value)
    assert "7 of 20 pictures are bad. The first 3: 5 (" in message
    assert "7.jpg" in message
    assert "8.jpg" not in message
    assert "truncated" in message
    assert "on_bad_image='skip'" in message


@pytest.mark.parametrize("limit", [160 * 120 - 1, 160 * 60 - 1])  # Pillow warns, and refuses
def test_a_bomb_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    paths = write_pictures(tmp_path, ["a.png"])

    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DatasetError, match=r"a \(.*a\.png\): a decompression bomb"):
            check(paths)
        with pytest.raises(DatasetError, match="None of the 1 pictures"):
            check(paths, "skip")


def test_contents_are_judged_as_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noisy_xmodal.data.pictures._BLOCK", 3)
    paths = write_pictures(tmp_path, [f"{i}.jpg" for i in range(8)])
    cut(paths[1])
    empty(paths[6])
    by_file = image_problems(paths, 8)
    assert [row for row, problem in enumerate(by_file) if problem] == [1, 6]
    assert by_file[6] == "not a picture that Pillow can read (0 bytes)"
    contents = image_problems((path.read_bytes() for path in paths), 8)
    assert [problem is None for problem in contents] == [problem is None for problem in by_file]


def test_no_limit_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert check(write_pictures(tmp_path, ["a.png"])) == ["a"]


@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
def test_missing_files_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_bad_image: str
) -> None:
    paths = write_pictures(tmp_path / "here", ["a.jpg", "b.jpg"])
    cut(paths[0])
    paths += [tmp_path / "there" / f"{i}.jpg" for i in range(4)]
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(
        DatasetError,
        match=r"4 of 6 pictures are missing\. The first 3: 0.jpg, 1.jpg, 2.jpg\. "
        r"Searched: [^,]*there\.",
    ):
        check(paths, on_bad_image)


def split_of(paths: list[Path]) -> CleanSplit:
    n = len(paths)
    columns = {
        "image": PictureFiles(paths),
        "image_id": [f"id{i}" for i in range(n)],
        "tags": [[str(i)] for i in range(n)],
        "captions": [[f"caption {i}"] for i in range(n)],
        "objects": [[i] for i in range(n)],
    }
    return CleanSplit(columns, labels=np.arange(n))


def test_columns_hold_the_files(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path, [f"{i}.jpg" for i in range(5)])
    columns = split_of(paths).read(1, 3)
    assert columns["image"].to_pylist() == [
        {"bytes": path.read_bytes(), "path": path.name} for path in paths[1:3]
    ]
    assert columns["image_id"] == ["id1", "id2"]
    features = datasets.Features({"image": datasets.Image(), "image_id": datasets.Value("string")})
    table = block_table(columns, {}, 1, 3, features.arrow_schema)
    read = datasets.Dataset(table)[1]["image"]
    with Image.open(paths[2]) as expected:
        np.testing.assert_array_equal(np.asarray(read), np.asarray(expected))


def test_bad_rows_are_left_out_everywhere_and_counted(tmp_path: Path) -> None:
    train = split_of(write_pictures(tmp_path / "a", [f"{i}.jpg" for i in range(9)]))
    test = split_of(write_pictures(tmp_path / "b", [f"{i}.jpg" for i in range(3)]))
    for row in (0, 3, 4, 8):
        cut(train.columns["image"].paths[row])
    check_pictures({"train": train, "test": test}, "skip")
    left = [1, 2, 5, 6, 7]
    assert len(train) == 5
    assert [path.name for path in train.columns["image"].paths] == [f"{i}.jpg" for i in left]
    assert {name: values for name, values in train.columns.items() if name != "image"} == {
        "image_id": [f"id{i}" for i in left],
        "tags": [[str(i)] for i in left],
        "captions": [[f"caption {i}"] for i in left],
        "objects": [[i] for i in left],
    }
    assert train.labels is not None
    assert train.labels.tolist() == left
    assert train.notes == [
        "4 of 9 pictures do not decode and were left out: 0.jpg, 3.jpg, 4.jpg, ..."
    ]
    assert len(test) == 3
    assert test.notes == []


def test_bad_files_are_counted_over_all_splits(tmp_path: Path) -> None:
    splits = {
        name: split_of(write_pictures(tmp_path / name, ["0.jpg", "1.jpg"]))
        for name in ("train", "test")
    }
    for split in splits.values():
        cut(split.columns["image"].paths[1])
    with pytest.raises(DatasetError, match="2 of 4 pictures are bad"):
        check_pictures(splits, "error")
    cut(splits["test"].columns["image"].paths[0])
    with pytest.raises(DatasetError, match="None of the 2 pictures of split 'test' decodes"):
        check_pictures(splits, "skip")


def test_links_are_named_as_links(tmp_path: Path) -> None:
    (path,) = write_pictures(tmp_path, ["a.jpg"])
    rows = datasets.Dataset.from_dict(
        {
            "image": [str(path), "https://host/b.jpg"],
            "captions": [["one"], ["two"]],
            "image_id": ["a", "b"],
        }
    ).cast_column("image", datasets.Image())
    with pytest.raises(DatasetError, match=r"1 of 2 .*bad\. b of train: a link, .*download"):
        keep_good_pictures(rows, "train")
    kept, notes = keep_good_pictures(rows, "train", "skip")
    assert kept["image_id"][:] == ["a"]
    assert len(notes) == 1
