"""Picture files: what counts as bad, and how it is said or left out, before anything is read."""

import warnings
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image, ImageFile

from karpathy_layout import write_picture
from noisy_xmodal.data.builders.clean_split import Facts, block_table
from noisy_xmodal.data.builders.image_files import ImageSplit, check_images, check_splits
from noisy_xmodal.data.columns import DatasetError
from noisy_xmodal.data.pictures import image_problems


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
    assert check_images(paths, "skip") == [True, True, False, True]
    with pytest.raises(DatasetError, match=rf"^1 of 4 pictures are bad\. c \(.*c\.{suffix}\): .+"):
        check_images(paths)


def test_good_files_of_all_kinds(tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 70, 3), np.uint8))
    for name, mode in (("a.jpg", "CMYK"), ("b.jpg", "L"), ("c.png", "RGBA"), ("d.gif", "P")):
        picture.convert(mode).save(tmp_path / name)
    picture.save(tmp_path / "e.jpg", progressive=True)
    assert all(check_images(sorted(tmp_path.iterdir())))


def test_the_error_counts_all_and_names_three(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path, [f"{i}.jpg" for i in range(20)])
    for path in paths[5:12]:
        cut(path)
    ids = [f"id{i}" for i in range(20)]
    with pytest.raises(DatasetError) as caught:
        check_images(paths, "error", ids)
    message = str(caught.value)
    assert "7 of 20 pictures are bad. The first 3: id5 (" in message
    assert "id7" in message
    assert "id8" not in message
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
            check_images(paths)
        assert check_images(paths, "skip") == [False]


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
    assert check_images(write_pictures(tmp_path, ["a.png"])) == [True]


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
        check_images(paths, on_bad_image)


def split_of(paths: list[Path]) -> ImageSplit:
    n = len(paths)
    facts = Facts(
        captions=[[f"caption {i}"] for i in range(n)],
        objects=[[i] for i in range(n)],
        tags=[[str(i)] for i in range(n)],
        labels=np.arange(n),
    )
    return ImageSplit(paths, [f"id{i}" for i in range(n)], facts, {"height": list(range(n))})


def test_columns_hold_the_files(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path, [f"{i}.jpg" for i in range(5)])
    columns = split_of(paths).columns(1, 3)
    assert columns["image"].to_pylist() == [
        {"bytes": path.read_bytes(), "path": path.name} for path in paths[1:3]
    ]
    assert columns["image_id"] == ["id1", "id2"]
    assert columns["height"] == [1, 2]
    features = datasets.Features({"image": datasets.Image(), "height": datasets.Value("int32")})
    table = block_table(columns, {}, 1, 3, features.arrow_schema)
    read = datasets.Dataset(table)[1]["image"]
    with Image.open(paths[2]) as expected:
        np.testing.assert_array_equal(np.asarray(read), np.asarray(expected))


def test_bad_rows_are_left_out_everywhere_and_counted(tmp_path: Path) -> None:
    train = split_of(write_pictures(tmp_path / "a", [f"{i}.jpg" for i in range(9)]))
    test = split_of(write_pictures(tmp_path / "b", [f"{i}.jpg" for i in range(3)]))
    for row in (0, 3, 4, 8):
        cut(train.paths[row])
    check_splits({"train": train, "test": test}, "skip")
    left = [1, 2, 5, 6, 7]
    assert len(train) == 5
    assert train.image_ids == [f"id{i}" for i in left]
    assert [path.name for path in train.paths] == [f"{i}.jpg" for i in left]
    assert train.facts.captions == [[f"caption {i}"] for i in left]
    assert train.facts.objects == [[i] for i in left]
    assert train.facts.tags == [[str(i)] for i in left]
    assert train.facts.labels is not None
    assert train.facts.labels.tolist() == left
    assert train.extra == {"height": left}
    assert train.facts.notes == [
        "4 of 9 pictures do not decode and were left out: 0.jpg, 3.jpg, 4.jpg, ..."
    ]
    assert len(test) == 3
    assert test.facts.notes == []


def test_bad_files_are_counted_over_all_splits(tmp_path: Path) -> None:
    splits = {
        name: split_of(write_pictures(tmp_path / name, ["0.jpg", "1.jpg"]))
        for name in ("train", "test")
    }
    for split in splits.values():
        cut(split.paths[1])
    with pytest.raises(DatasetError, match="2 of 4 pictures are bad"):
        check_splits(splits, "error")
    cut(splits["test"].paths[0])
    with pytest.raises(DatasetError, match="None of the 2 pictures of split 'test' decodes"):
        check_splits(splits, "skip")
