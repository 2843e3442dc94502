"""Datasets in memory, whatever their columns are called, come out by the column contract."""

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import pytest

from noisy_xmodal.data import DatasetError, PairDataset, validate_pairs
from noisy_xmodal.data.any_dataset import as_pairs
from noisy_xmodal.data.regions import region_feature
from tar_files import picture as png

TEXTS = [["a dog", "a pet"], ["a cat", "no dog"], ["a bird", "wings"]]


def picture(shade: int) -> PIL.Image.Image:
    return PIL.Image.new("RGB", (8, 8), (shade, shade, shade))


def paths(folder: Path, shades: tuple[int, ...] = (0, 1, 2)) -> list[str]:
    """Writes pictures whose shade tells them apart; returns the path of each."""
    for shade in shades:
        picture(shade).save(folder / f"{shade}.png")
    return [str(folder / f"{shade}.png") for shade in shades]


def make(**columns: Any) -> datasets.Dataset:
    return datasets.Dataset.from_dict(columns)


def check(result: datasets.Dataset, texts: list[list[str]], shades: list[int]) -> None:
    """The result keeps the contract, and each row has its own picture and captions."""
    validate_pairs(result)
    assert result["captions"][:] == texts
    pairs = PairDataset(result)
    assert pairs[0]["image"].size == (8, 8)
    assert [image.getpixel((3, 3)) for image in pairs.images[:]] == [(s, s, s) for s in shades]


@pytest.fixture
def plain() -> datasets.Dataset:
    """By the contract, with columns that the contract does not know."""
    return make(
        image=[picture(shade) for shade in range(3)],
        captions=TEXTS,
        image_id=["x", "y", "z"],
        is_noisy=[[False, True]] * 3,
        tags=["t0", "t1", "t2"],
    )


def test_a_dataset_that_keeps_the_contract_is_returned(plain: datasets.Dataset) -> None:
    assert as_pairs(plain) is plain
    assert as_pairs(plain, image_column="image", caption_column="captions") is plain


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *[("anything", "pil"), ("image", "bytes"), ("jpg", "bytes"), ("img", "struct")],
        *[("image", "struct with a path"), ("Image-Path", "path"), ("file_name", "path")],
    ],
)
def test_image_columns(tmp_path: Path, name: str, kind: str) -> None:
    files = paths(tmp_path)
    columns: dict[str, list[Any]] = {
        "pil": [picture(shade) for shade in range(3)],
        "bytes": [png(shade) for shade in range(3)],
        "struct": [{"bytes": png(shade)} for shade in range(3)],
        "struct with a path": [{"path": f"{shade}.png", "bytes": png(shade)} for shade in range(3)],
        "path": files,
    }
    result = as_pairs(make(**{name: columns[kind], "captions": TEXTS, "n": [1, 2, 3]}))
    check(result, TEXTS, [0, 1, 2])
    rows = ["row-000000", "row-000001", "row-000002"]
    assert result["image_id"][:] == (["0.png", "1.png", "2.png"] if "path" in kind else rows)
    assert set(result.column_names) == {"image", "captions", "image_id", "n"}


@pytest.mark.parametrize(
    ("name", "values", "texts"),
    [
        ("TEXT", ["a dog", "a cat", "a bird"], [["a dog"], ["a cat"], ["a bird"]]),
        ("sentences", TEXTS, TEXTS),
        ("sentences", [[{"raw": text, "sentid": 1} for text in row] for row in TEXTS], TEXTS),
        ("json", [{"url": "u", "caption": row[0]} for row in TEXTS], [row[:1] for row in TEXTS]),
        ("caption", [{"text": row} for row in TEXTS], TEXTS),
        ("raw", [json.dumps(row) for row in TEXTS], TEXTS),
        ("raw", [repr(row) for row in TEXTS], TEXTS),
        ("text", ["[sic] a", '["b"]', "c"], [["[sic] a"], ['["b"]'], ["c"]]),
        ("text", [str(np.array(["a", "b"]))] * 3, [["['a' 'b']"]] * 3),
    ],
)
def test_caption_columns(name: str, values: list[Any], texts: list[list[str]]) -> None:
    images = [picture(shade) for shade in range(3)]
    check(as_pairs(make(image=images, label=["l"] * 3, **{name: values})), texts, [0, 1, 2])
    check(as_pairs(make(image=images, x=values), caption_column="x"), texts, [0, 1, 2])


def test_numbered_columns_are_one_list() -> None:
    columns = {"caption_10": ["j", "k"], "caption_2": ["b", None], "text": ["no", "no"]}
    dataset = make(image=[picture(0), picture(1)], **columns)
    result = as_pairs(dataset)
    check(result, [["b", "j"], ["k"]], [0, 1])
    assert set(result.column_names) == {"image", "text", "captions", "image_id"}
    other = dataset.rename_columns({"caption_2": "alt1", "caption_10": "alt2"})
    check(as_pairs(other, caption_column="alt"), [["b", "j"], ["k"]], [0, 1])


def test_named_columns_replace_those_in_the_way(plain: datasets.Dataset) -> None:
    dataset = plain.remove_columns("is_noisy").rename_columns({"image": "photo", "tags": "image"})
    result = as_pairs(dataset, image_column="photo", caption_column="image_id", id_column="image")
    check(result, [["x"], ["y"], ["z"]], [0, 1, 2])
    assert result["image_id"][:] == ["t0", "t1", "t2"]
    assert set(result.column_names) == {"image", "captions", "image_id"}


@pytest.mark.parametrize("name", ["image_id", "imgid", "cocoid", "__key__", "FileName", "url"])
def test_id_columns(name: str) -> None:
    images = [picture(shade) for shade in range(2)]
    dataset = make(image=images, caption=["a", "b"], **{"__url__": ["shard"] * 2, name: [7, 8]})
    result = as_pairs(dataset)
    assert result["image_id"][:] == ["7", "8"]
    assert "__url__" in result.column_names


def test_rows_of_one_path_are_one_image(tmp_path: Path) -> None:
    a, b = paths(tmp_path, (0, 1))
    dataset = make(
        path=[b, a, b, a, b],
        caption=["b0", "a0", "b1", "a0", "b0"],
        is_noisy=[True, False, False, False, True],
        id=[10, 11, 12, 13, 14],
        extra=[0, 1, 2, 3, 4],
    )
    result = as_pairs(dataset)
    check(result, [["b0", "b1"], ["a0"]], [1, 0])
    assert result["is_noisy"][:] == [[True, False], [False]]
    assert result["image_id"][:] == ["10", "11"]
    assert result["extra"][:] == [0, 1]
    typed = dataset.cast_column("path", datasets.Image()).remove_columns("id")
    result = as_pairs(typed)
    check(result, [["b0", "b1"], ["a0"]], [1, 0])
    assert result["image_id"][:] == ["1.png", "0.png"]


def test_rows_of_one_id_are_one_image_if_the_bytes_agree() -> None:
    images = [picture(shade) for shade in (0, 1, 0)]
    dataset = make(image=images, img_id=[5, 6, 5], caption=["a", "b", "c"])
    check(as_pairs(dataset), [["a", "c"], ["b"]], [0, 1])
    with pytest.raises(DatasetError, match=r"Rows 0 and 1 .*'dev'.* named '5' .*'img_id'.*id_colu"):
        as_pairs(dataset.remove_columns("img_id").add_column("img_id", [5, 5, 6]), split="dev")
    blocks = datasets.concatenate_datasets([dataset] * 200)
    assert as_pairs(blocks).num_rows == 2
    nothing = make(image=[None], img_id=[5], caption=["d"]).cast(dataset.features)
    with pytest.raises(DatasetError, match=r"Row 600 .* has no image"):
        as_pairs(datasets.concatenate_datasets([blocks, nothing]))


@pytest.mark.parametrize("same", [True, False])
def test_region_features(same: bool) -> None:
    values = [np.full((2, 4), row if not same else row % 2).tolist() for row in range(4)]
    columns = {"regions": values, "caption": list("abcd"), "image_id": ["x", "y", "x", "y"]}
    types = {name: datasets.Value("string") for name in columns}
    dataset = datasets.Dataset.from_dict(
        columns, features=datasets.Features({**types, "regions": region_feature(4)})
    )
    if not same:
        with pytest.raises(DatasetError, match="Rows 0 and 2"):
            as_pairs(dataset)
        return
    result = as_pairs(dataset.rename_column("regions", "feats"), image_column="feats")
    validate_pairs(result)
    assert result["captions"][:] == [["a", "c"], ["b", "d"]]
    assert PairDataset(result)[2]["regions"].tolist() == values[1]


def test_a_selection_of_rows(plain: datasets.Dataset) -> None:
    dataset = plain.rename_column("captions", "raw").remove_columns("is_noisy").select([2, 0])
    check(as_pairs(dataset), [TEXTS[2], TEXTS[0]], [2, 0])
    numbered = dataset.remove_columns("image_id").add_column("id", [4, 5])
    check(as_pairs(numbered), [TEXTS[2], TEXTS[0]], [2, 0])


def test_pictures_are_not_copied(plain: datasets.Dataset) -> None:
    def address(dataset: datasets.Dataset, name: str) -> int:
        column = dataset.data.column(name).chunk(0)
        return int((column if name == "jpg" else column.field("bytes")).buffers()[2].address)

    ids = plain.select_columns("image").rename_column("image", "img").add_column("id", [1, 1, 2])
    merged = as_pairs(ids.add_column("text", ["a", "b", "c"]).select([0, 2]))
    assert merged["captions"][:] == [["a"], ["c"]]
    undecoded = plain.cast_column("image", datasets.Image(decode=False)).rename_column("image", "i")
    result = as_pairs(undecoded)
    assert address(result, "image") == address(plain, "image")
    assert result.features["image"] == datasets.Image(decode=False)
    raw = make(jpg=[png(shade) for shade in range(3)], txt=["a", "b", "c"])
    assert address(as_pairs(raw), "image") == address(raw, "jpg")


P = [picture(0), picture(1)]


@pytest.mark.parametrize(
    ("columns", "given", "message"),
    [
        (
            {"caption": "ab", "n": [1, 2]},
            {},
            r"No column .*'dev'.* the pictures.*'n' \(int64\).*im",
        ),
        ({"a": P, "b": P, "text": "ab"}, {}, r"Several .*'dev'.*\['a', 'b'\].*image_column='a'"),
        ({"img": ["p", "q"], "path": ["p", "q"], "text": "ab"}, {}, r"\['img', 'path'\]"),
        (
            {"image": P, "x": "ab"},
            {},
            r"No column .* the captions: it has 'x' \(string\).*caption_",
        ),
        (
            {"image": P, "Text": "ab", "text": "ab"},
            {},
            r"\['Text', 'text'\].*caption_column='Text'",
        ),
        ({"image": P, "text": "ab", "text_1": "ab"}, {}, r"\['text', 'text_1'\].*caption_column"),
        ({"image": P, "text": "ab", "ID": [1, 2], "id": [1, 2]}, {}, r"\['ID', 'id'\].*id_column"),
        ({"image": P, "text": "ab"}, {"image_column": "p"}, r"no column 'p' for image_column="),
        ({"image": P, "n": [1, 2]}, {"caption_column": "n"}, r"'n' .*int64.*not a string, list"),
        ({"n": [1, 2], "text": "ab"}, {"image_column": "n"}, r"'n' .*int64.*not a picture, path"),
        ({"image": P, "text": "ab", "f": [0.5, 1]}, {"id_column": "f"}, r"'f' .*float64.*id_col"),
        ({"image": P, "text": "ab", "image_id": [0.5, 1]}, {}, r"'image_id' .*float64.*id_column"),
        ({"image": P, "text": [[["a", "dog"]]] * 2}, {}, r"No column .* the captions"),
        (
            {"image": P, "text": ["a", None]},
            {},
            r"Caption 0 of row 1 .*'dev' .*is empty \(None\).*'text'.*, or remove it. To leave out",
        ),
        ({"image": P, "text": [["a"], []]}, {}, r"Row 1 of split 'dev' \(.* 0\) has no captions"),
        (
            {"image": P, "text1": ["a", ""], "text2": ["b", None]},
            {},
            r"Row 1 .*columns \['text1', ",
        ),
        (
            {"image": [P[0], None], "text": "ab"},
            {},
            r"Row 1 .*'dev' .*has no image in column 'image'",
        ),
        (
            {"image": P, "text": "ab", "id": ["a", None]},
            {},
            r"Row 1 .* no name in column 'id'.*id_co",
        ),
        ({"img": ["no.png", "x.png"], "text": "ab"}, {}, r"Row 0 .*'no.png'.*'img'.*2 of 2 rows"),
        (
            {"image": ["http://a/b.png"] * 2, "text": "ab"},
            {},
            r"Row 0 .* a link .*Download the files",
        ),
        (
            {"image": P, "text": "ab", "is_noisy": [[True], [True, False]]},
            {},
            r"Row 1 .*1 captions",
        ),
        ({"image": P, "text": "ab", "is_noisy": [2, 0]}, {}, r"Row 0 .* 2 in 'is_noisy'.*boolean"),
    ],
)
def test_what_is_refused(columns: dict[str, Any], given: dict[str, str], message: str) -> None:
    dataset = make(**{name: list(values) for name, values in columns.items()})
    with pytest.raises(DatasetError, match=message):
        as_pairs(dataset, split="dev", **given)


def test_one_id_for_two_paths(tmp_path: Path) -> None:
    a, b = paths(tmp_path, (0, 1))
    dataset = make(path=[a, b, b], text=["x", "y", "z"], id=["n", "m", "n"])
    with pytest.raises(DatasetError) as raised:
        as_pairs(dataset)
    for part in ("Rows 0 and 2", "'n' in column 'id'", f"({a!r} and {b!r})", "id_column="):
        assert part in str(raised.value)
    assert as_pairs(dataset, id_column="path")["image_id"][:] == ["0.png", "1.png"]


def test_a_dict_of_splits_is_refused(plain: datasets.Dataset) -> None:
    with pytest.raises(DatasetError, match=r"one split .* not a DatasetDict.*dataset\[split\]"):
        as_pairs(datasets.DatasetDict(train=plain))


@pytest.mark.parametrize("id_column", [None, "id", "key"])
def test_one_caption_a_row_with_the_picture_in_each(id_column: str | None) -> None:
    rows = [(shade, text) for shade, texts in enumerate(TEXTS) for text in texts]
    columns: dict[str, Any] = {
        "jpg": [png(shade) for shade, _ in rows],
        "text": [text for _, text in rows],
    }
    if id_column is not None:
        columns[id_column] = list(range(len(rows)))  # numbers captions, not pictures
    check(as_pairs(make(**columns)), TEXTS, [0, 1, 2])


def test_equal_pictures_that_are_named_apart_stay_apart() -> None:
    columns = {"image": [png(0), png(0)], "caption": ["a", "b"], "image_id": ["x", "y"]}
    assert len(as_pairs(make(**columns))) == 2


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"image": [picture(0), None]},
            r"Row 1 of split 'train' .* no image in column 'image'",
        ),
        ({"captions": [["a"], None]}, r"row 1 of split 'train' .* is empty \(None\)"),
        (
            {"image": ["gone.png", "gone2.png"]},
            r"Row 0 .*gone.png'.* does not exist \(2 of 2 r",
        ),
    ],
)
def test_gaps_in_the_columns_of_the_contract(columns: dict[str, Any], message: str) -> None:
    values = {"image": [picture(0), picture(1)], "captions": [["a"], ["b"]], "image_id": ["x", "y"]}
    rows = make(**values | columns).cast_column("image", datasets.Image())
    with pytest.raises(DatasetError, match=message):
        as_pairs(rows)


def test_a_gap_in_a_row_that_is_not_selected(plain: datasets.Dataset) -> None:
    rows = plain.to_list()
    rows[1]["image"] = None
    gap = datasets.Dataset.from_list(rows, features=plain.features).select([2, 0])
    check(as_pairs(gap), [TEXTS[2], TEXTS[0]], [2, 0])
    assert as_pairs(gap).features == plain.features


def test_files_by_the_contract_are_returned(tmp_path: Path) -> None:
    rows = make(image=paths(tmp_path), captions=TEXTS, image_id=["x", "y", "z"])
    rows = rows.cast_column("image", datasets.Image())
    assert as_pairs(rows) is rows
