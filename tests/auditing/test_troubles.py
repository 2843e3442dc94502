"""Kinds of trouble that need no judge: each on data that has it, and on data that has not."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from noisy_xmodal.arguments.audit import TROUBLES, AuditOptions
from noisy_xmodal.auditing import troubles
from noisy_xmodal.auditing.image_scan import look_at_images
from noisy_xmodal.auditing.loading import AuditRows, load_rows
from noisy_xmodal.auditing.troubles import (
    Trouble,
    find_troubles,
    has_language_identifier,
    has_markup,
    in_other_language,
    is_file_name,
    is_mostly_digits,
    is_mostly_url,
    unchecked_kinds,
)
from noisy_xmodal.data import PairDataset


def photo(seed: int, size: tuple[int, int] = (80, 60), quality: int = 90) -> bytes:
    cells = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    picture = Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def plain(color: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (80, 60), color).save(file, "JPEG")
    return file.getvalue()


def rows_of(pictures: list[bytes], captions: list[list[str]], **changes: Any) -> AuditRows:
    columns = {
        "image_id": [f"{row}.jpg" for row in range(len(pictures))],
        "image": [{"bytes": content, "path": None} for content in pictures],
        "captions": captions,
    }
    rows = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    return AuditRows(PairDataset(rows), "train", look_at_images(rows), **changes)


def by_name(rows: AuditRows) -> dict[str, Trouble]:
    return {trouble.name: trouble for trouble in find_troubles(rows)}


def test_every_kind_has_a_finder_and_a_description():
    assert list(troubles._IMAGE_FINDERS | troubles._PAIR_FINDERS) == list(TROUBLES)


def test_good_pairs_have_no_trouble():
    captions = [[f"a photo of thing {row} outdoors", f"thing {row}"] for row in range(12)]
    assert find_troubles(rows_of([photo(row) for row in range(12)], captions)) == []


def test_unusable_pictures_are_named_with_all_their_pairs():
    pictures = [photo(0), photo(1, (31, 90)), photo(2, (600, 100)), plain("teal"), photo(0)]
    captions = [["one"], ["two", "zwei"], ["three"], ["four"], ["five"]]
    kinds = by_name(rows_of(pictures, captions))
    pairs = {name: np.flatnonzero(kind.has_it).tolist() for name, kind in kinds.items()}
    assert pairs == {
        "tiny_images": [1, 2],
        "long_images": [3],
        "flat_images": [4],
        "copied_images": [5],
    }
    assert kinds["tiny_images"].n_images == 1
    assert kinds["tiny_images"].examples == [("1.jpg", "two")]
    assert kinds["tiny_images"].summary()["n_pairs"] == 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_colours_of_equal_brightness_are_more_than_one(kind: str):
    sea, star = (90, 150, 200), (222, 105, 110)
    grays = [Image.new("RGB", (1, 1), color).convert("L").getpixel((0, 0)) for color in (sea, star)]
    assert abs(grays[0] - grays[1]) < 4
    files = []
    for color in (star, sea):
        picture = Image.new("RGB", (200, 160), sea)
        picture.paste(color, (40, 40, 120, 120))
        file = io.BytesIO()
        picture.save(file, kind)
        files.append(file.getvalue())
    kinds = by_name(rows_of(files, [["a star"], ["the sea"]]))
    assert np.flatnonzero(kinds["flat_images"].has_it).tolist() == [1]


@pytest.mark.parametrize(("n_texts", "is_placeholder"), [(5, True), (3, True), (2, False)])
def test_a_placeholder_is_one_picture_with_many_captions(n_texts: int, is_placeholder: bool):
    pictures = [photo(row) for row in range(100)] + [plain("gray")] * 5
    captions = [[f"thing {row}"] for row in range(100)]
    captions += [[f"offer {row % n_texts}"] for row in range(5)]
    kinds = by_name(rows_of(pictures, captions))
    assert ("placeholder_images" in kinds) == is_placeholder
    if is_placeholder:
        assert np.flatnonzero(kinds["placeholder_images"].has_it).tolist() == list(range(100, 105))


@pytest.mark.parametrize("n", [9, 10])
def test_a_caption_of_ten_images_is_repeated(n: int):
    captions = [["Buy  now"] if row < n else [f"thing {row}"] for row in range(12)]
    captions[0] = ["buy now", "BUY NOW"]  # one image
    kinds = by_name(rows_of([photo(row) for row in range(12)], captions))
    assert ("repeated_captions" in kinds) == (n == 10)
    if n == 10:
        assert np.flatnonzero(kinds["repeated_captions"].has_it).tolist() == list(range(n + 1))


@pytest.mark.parametrize(
    ("judge", "yes", "no"),
    [
        (
            is_file_name,
            ["IMG_2041.jpg", "dsc01234", "my photo (2).PNG", "a94a8fe5ccb19ba61c4c0873d391e987"],
            ["a jpg of a dog", "image of a dog", "P", "Deadbeef the band", "photo 12", "IMG."],
        ),
        (
            is_mostly_url,
            ["http://a.b/c", "see https://example.org/page", "www.shop.example"],
            ["a dog from www.shop.example that sleeps on a sofa", "http", "wwwhat"],
        ),
        (
            has_markup,
            ["<b>Dog</b>", "cats &amp; dogs", "a<br/>b", "&#39;hi&#39;", '<a href="x">y</a>'],
            ["a < b > c", "I <3 dogs", "R&B singer", "AT&T; store", "<dog>"],
        ),
        (is_mostly_digits, ["2021 04 12", "12a", "5"], ["a4b", "7 dogs run", "route 66"]),
    ],
)
def test_captions_are_judged_by_their_text(judge: Any, yes: list[str], no: list[str]):
    assert [text for text in yes if not judge(text)] == []
    assert [text for text in no if judge(text)] == []


@pytest.mark.skipif(not has_language_identifier(), reason="py3langid is not installed")
def test_captions_in_another_language_than_most_are_told():
    english = [
        "a black dog runs over the green meadow",
        "two children are playing in the sand",
        "a man in a red shirt climbs a rock",
        "the woman is walking down the street",
        "dog",
        "12 34",
    ]
    foreign = [
        "Ein Hund läuft über die grüne Wiese",
        "Un homme en chemise bleue est debout",
        "Мужчина едет на велосипеде",
        "一只狗在草地上奔跑",
    ]
    captions = english * 20 + foreign
    assert np.flatnonzero(in_other_language(captions)).tolist() == list(range(120, 124))
    half = english + ["Ein Hund läuft über die grüne Wiese"] * 5
    assert not in_other_language(half).any()  # German is common there


def test_pictures_and_captions_of_another_split_are_told(tmp_path: Path):
    def write(split: str, pictures: list[bytes], captions: list[str]) -> None:
        (tmp_path / split).mkdir()
        lines = ["file_name,caption"]
        for row, (content, caption) in enumerate(zip(pictures, captions, strict=True)):
            (tmp_path / split / f"{split}{row}.jpg").write_bytes(content)
            lines.append(f"{split}{row}.jpg,{caption}")
        (tmp_path / split / "metadata.csv").write_text("\n".join(lines))

    big = (400, 300)
    write("train", [photo(seed, big) for seed in range(4)], ["one", "two", "three", "four"])
    again = [photo(2, big, quality=60), photo(1, big), photo(9, big)]
    write("test", again, ["Four", "five", "six"])
    rows = load_rows(AuditOptions(str(tmp_path), disable_tqdm=True))
    kinds = by_name(rows)
    assert np.flatnonzero(kinds["leaked_images"].has_it).tolist() == [1, 2]
    assert kinds["leaked_images"].examples == [
        ("train1.jpg", "test: test1.jpg"),
        ("train2.jpg", "test: test0.jpg"),
    ]
    assert np.flatnonzero(kinds["leaked_captions"].has_it).tolist() == [3]


def test_region_features_have_no_picture_trouble():
    columns = {
        "regions": [[[1.0]], [[1.0]], [[2.0]]],
        "captions": [["IMG_2041.jpg"], ["two"], ["three"]],
        "image_id": ["a", "b", "c"],
    }
    rows = datasets.Dataset.from_dict(columns)
    kinds = by_name(AuditRows(PairDataset(rows), "train", look_at_images(rows)))
    assert list(kinds) == ["copied_images", "file_names"]


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="--drop has flat, urlss: choose some of tiny_images, "):
        AuditOptions("photos", clean=Path("clean"), drop="urls, urlss,flat")
    assert AuditOptions(clean=Path("clean"), drop="all").kinds_to_drop == list(TROUBLES)


def test_kinds_that_are_not_looked_for_are_named_and_not_dropped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(troubles, "has_language_identifier", lambda: False)
    options = AuditOptions("photos", split="train", clean=Path("clean"), drop="all")
    assert list(unchecked_kinds(options)) == ["leaked_images", "leaked_captions", "other_language"]
    for name, reason in {
        "leaked_images": "without --split",
        "other_language": "pip install",
    }.items():
        with pytest.raises(ValueError, match=f"--drop {name} would drop nothing, .*{reason}"):
            unchecked_kinds(replace(options, drop=f"urls,{name}"))
    monkeypatch.setattr(troubles, "has_language_identifier", lambda: True)
    assert unchecked_kinds(AuditOptions("photos", drop="leaked_images", clean=Path("c"))) == {}
    assert unchecked_kinds(AuditOptions("photos", sample=100)) == {}
