"""Bad rows are left out and named where that is asked for, and errors where it is not."""

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import pytest

from noisy_xmodal.data import DatasetError, PairDataset, load_pairs
from noisy_xmodal.data.regions import region_feature


def write_pictures(folder: Path, names: str = "abcd") -> None:
    for shade, name in enumerate(names):
        PIL.Image.new("RGB", (8, 8), (shade,) * 3).save(folder / f"{name}.png")


def write_table(folder: Path, rows: list[dict[str, Any]], name: str = "pairs.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def load(path: Path) -> tuple[datasets.DatasetDict, dict[str, list[str]]]:
    left_out: dict[str, list[str]] = {}
    return load_pairs(path, left_out=left_out), left_out


def shades(dataset: datasets.Dataset) -> list[int]:
    return [image.getpixel((0, 0))[0] for image in PairDataset(dataset).images[:]]


def test_pictures_that_are_no_files_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    write_pictures(tmp_path / "data")
    write_pictures(tmp_path, "x")
    monkeypatch.chdir(tmp_path)  # where there is an x.png, which is not meant
    (tmp_path / "data" / "c.png").unlink()
    rows = [{"file_name": f"{n}.png", "caption": f"text {n}"} for n in "axb"]
    rows += [{"file_name": None, "caption": "nothing"}, {"file_name": "d.png", "caption": "last"}]
    path = write_table(tmp_path / "data", rows)
    found, left_out = load(path)
    assert found["train"]["captions"][:] == [["text a"], ["text b"], ["last"]]
    assert shades(found["train"]) == [0, 1, 3]
    assert left_out == {
        "train": [
            "row 1 of train (x.png): the file does not exist",
            "row 3 of train: it has no picture",
        ]
    }
    with pytest.raises(DatasetError, match=r"Row 1 of .* names the picture 'x\.png'"):
        load_pairs(path)


def test_blank_captions_of_strings_are_left_out(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    texts = ["one", " ", None, "four"]
    rows = [{"image": f"{n}.png", "caption": t} for n, t in zip("abcd", texts, strict=True)]
    path = write_table(tmp_path, rows)
    found, left_out = load(path)
    assert found["train"]["captions"][:] == [["one"], ["four"]]
    assert shades(found["train"]) == [0, 3]
    assert found["train"]["image_id"][:] == ["a.png", "d.png"]
    assert [line.split(" (")[0] for line in left_out["train"]] == [
        "row 1 of train",
        "row 2 of train",
    ]
    assert all(line.endswith("its caption is empty") for line in left_out["train"])
    with pytest.raises(DatasetError, match="Caption 0 of row 1"):
        load_pairs(path)


def test_blank_captions_of_lists_take_their_flags_along(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    rows = [
        {"image": "a.png", "captions": ["one", "", "two"], "is_noisy": [False, True, True]},
        {"image": "b.png", "captions": ["", None], "is_noisy": [True, True]},
        {"image": "c.png", "captions": [], "is_noisy": []},
        {"image": "d.png", "captions": ["four"], "is_noisy": [False]},
    ]
    path = write_table(tmp_path, rows)
    found, left_out = load(path)
    assert found["train"]["captions"][:] == [["one", "two"], ["four"]]
    assert found["train"]["is_noisy"][:] == [[False, True], [False]]
    lines = left_out["train"]
    assert len(lines) == 3
    for row, name, why in (
        (1, "b", "no caption with"),
        (2, "c", "no caption with"),
        (0, "a", "1 of"),
    ):
        (line,) = [line for line in lines if line.startswith(f"row {row} of train")]
        assert f"{name}.png" in line
        assert why in line
    with pytest.raises(DatasetError, match="Caption 1 of row 0"):
        load_pairs(path)


def test_flags_that_do_not_fit_are_still_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    rows = [
        {"image": "a.png", "captions": ["one", ""], "is_noisy": [False, True]},
        {"image": "b.png", "captions": ["two"], "is_noisy": [False, True]},
    ]
    with pytest.raises(DatasetError, match="one boolean per caption"):
        load(write_table(tmp_path, rows))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"captions": [{"raw": "one"}, {"raw": " "}]}, {"captions": [{"raw": None}]}),
        ({"captions": '["one", ""]'}, {"captions": '["", " "]'}),
        ({"caption_0": "one", "caption_1": ""}, {"caption_0": None, "caption_1": " "}),
    ],
)
def test_captions_of_any_form_can_be_blank(
    first: dict[str, Any], second: dict[str, Any], tmp_path: Path
) -> None:
    write_pictures(tmp_path)
    rows = [{"image": "a.png"} | first, {"image": "b.png"} | second]
    found, left_out = load(write_table(tmp_path, rows))
    assert found["train"]["captions"][:] == [["one"]]
    assert any(line.startswith("row 1 of train") for line in left_out["train"])


def test_pictures_that_are_paths_beside_bytes_are_checked_too(tmp_path: Path) -> None:
    write_pictures(tmp_path, "ab")
    rows = datasets.Dataset.from_dict(
        {
            "image": [
                {"bytes": None, "path": str(tmp_path / "a.png")},
                {"bytes": None, "path": str(tmp_path / "x.png")},
                {"bytes": (tmp_path / "b.png").read_bytes(), "path": "y.png"},
                {"bytes": None, "path": None},
            ],
            "captions": [["one"], ["two"], ["three"], ["four"]],
        }
    )
    rows.to_parquet(tmp_path / "pairs.parquet")
    found, left_out = load(tmp_path / "pairs.parquet")
    assert found["train"]["captions"][:] == [["one"], ["three"]]
    assert left_out["train"] == [
        "row 1 of train (x.png): the file does not exist",
        "row 3 of train: it has no picture",
    ]


def test_each_split_has_its_own_lines_and_its_own_row_numbers(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    rows = [
        {"image": "a.png", "caption": "one", "split": "train"},
        {"image": "x.png", "caption": "two", "split": "test"},
        {"image": "c.png", "caption": "three", "split": "test"},
        {"image": "d.png", "caption": "", "split": "train"},
    ]
    found, left_out = load(write_table(tmp_path, rows))
    assert found["train"]["captions"][:] == [["one"]]
    assert found["test"]["captions"][:] == [["three"]]
    assert [len(lines) for lines in left_out.values()] == [2, 2]
    for lines in left_out.values():
        assert lines.pop(0) == "1 of 4 pictures have no row: ['b.png']"
    assert left_out["train"][0].startswith("row 1 of train")
    assert left_out["test"][0].startswith("row 0 of test")


@pytest.mark.parametrize("blank", [[], [" "]])
def test_rows_by_the_contract_keep_their_names(tmp_path: Path, blank: list[str]) -> None:
    regions = datasets.Dataset.from_dict(
        {
            "regions": np.ones((2, 2, 3), np.float32).tolist(),
            "captions": [["one"], ["two", *blank, "three"]],
            "image_id": ["x", "y"],
        },
        features=datasets.Features(
            {
                "regions": region_feature(3),
                "captions": datasets.List(datasets.Value("string")),
                "image_id": datasets.Value("string"),
            }
        ),
    )
    regions.to_parquet(tmp_path / "pairs.parquet")
    found, left_out = load(tmp_path / "pairs.parquet")
    reason = "row 1 of train: 1 of its captions left out, because empty"
    assert left_out == {"train": [reason] * len(blank)}
    assert found["train"]["captions"][:] == [["one"], ["two", "three"]]
    assert found["train"]["image_id"][:] == ["x", "y"]


def test_a_split_of_which_nothing_is_left_is_not_there(tmp_path: Path) -> None:
    write_pictures(tmp_path, "a")
    write_table(tmp_path, [{"image": "a.png", "caption": "one"}], "train.jsonl")
    write_table(tmp_path, [{"image": "x.png", "caption": "two"}], "test.jsonl")
    found, left_out = load(tmp_path)
    assert list(found) == ["train"]
    assert [len(left_out[split]) for split in ("train", "test")] == [0, 1]


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    path = write_table(tmp_path, [{"image": "x.png", "caption": "one"}] * 5)
    message = r"pairs\.jsonl has no usable row: (row [012] of train \(x\.png\): .*){3}\.$"
    with pytest.raises(DatasetError, match=message) as refused:
        load(path)
    assert "row 3" not in str(refused.value)
