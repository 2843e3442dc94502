"""Rows with classes: what is refused, and datasets of other forms brought to the contract."""

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from noisy_xmodal.data import (
    DatasetError,
    as_label_pairs,
    inject_noise,
    load_label_pairs,
    noise_protocol,
    validate_label_pairs,
)
from noisy_xmodal.data.columns import read_vectors

CLASSES = datasets.ClassLabel(names=["cat", "dog", "owl"])
NUMBERS = datasets.Value("int64")
LABELS = [0, 1, 2, 0, 1, 2]


def vector_rows(n_rows: int = 6, **columns: Any) -> datasets.Dataset:
    """Rows by the contract; a column is replaced by (values, feature), or left out by None."""
    rng = np.random.default_rng(0)
    floats = datasets.List(datasets.Value("float32"))
    found = {
        "image_features": (rng.normal(size=(n_rows, 4)).tolist(), floats),
        "text_features": (rng.normal(size=(n_rows, 3)).tolist(), floats),
        "image_label": (LABELS[:n_rows], CLASSES),
        "text_label": (LABELS[:n_rows], CLASSES),
    } | columns
    kept = {name: column for name, column in found.items() if column is not None}
    return datasets.Dataset.from_dict(
        {name: values for name, (values, _) in kept.items()},
        features=datasets.Features({name: feature for name, (_, feature) in kept.items()}),
    )


def floats(values: list[Any], dtype: str = "float32", length: int = -1) -> tuple[list[Any], Any]:
    return values, datasets.List(datasets.Value(dtype), length=length)


def picture_rows() -> datasets.Dataset:
    pictures = [Image.new("RGB", (2, 2), (i, 0, 0)) for i in range(4)]
    return datasets.Dataset.from_dict(
        {"photo": pictures, "text": list("abcd"), "label": [3, 7, 3, 7]},
        features=datasets.Features(
            {
                "photo": datasets.Image(),
                "text": datasets.Value("string"),
                "label": NUMBERS,
            }
        ),
    )


def test_rows_by_the_contract_pass() -> None:
    validate_label_pairs(vector_rows(), minimum_pairs=6)
    validate_label_pairs(vector_rows(image_label=(LABELS, NUMBERS), text_label=(LABELS, NUMBERS)))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image_features": None}, "neither 'image_features' nor 'image'.*image_column=NAME"),
        ({"text_features": None}, "neither 'text_features' nor 'captions'.*text_column=NAME"),
        ({"text_features": (["a"] * 6, datasets.Value("string"))}, "not a list of numbers"),
        ({"text_label": None}, "no 'text_label': labels are missing in one modality"),
        ({"image_label": None}, r"label_column='text_label'"),
        ({"image_label": None, "text_label": None}, "label_column=NAME"),
        ({"text_label": (["a"] * 6, datasets.Value("string"))}, "Number the classes"),
        ({"text_label": ([0.0] * 6, datasets.Value("float32"))}, "not class numbers"),
        ({"text_label": ([0, 1, -1, -1, 0, 1], CLASSES)}, r"Row 2 .*\(-1\).*2 rows"),
        ({"image_label": ([0, None, 1, 0, 0, 1], CLASSES)}, r"Row 1 .*\(None\).*1 rows"),
        ({"image_label": ([0, 1, 2, -3, 0, 1], NUMBERS)}, r"Row 3 .*\(-3\)"),
        ({"image_label": ([0, 1, 2, 3, 0, 1], NUMBERS)}, "Row 3 .* class 3 .* 3 classes"),
        ({"text_label": (LABELS, datasets.ClassLabel(names=["a", "b", "c"]))}, "different classes"),
        ({"image_features": floats([[1.0]] * 4 + [[1.0, 2.0]] * 2)}, "Row 4 .* 2 numbers .* has 1"),
        ({"image_features": floats([[1.0], None] * 3)}, "Row 1 .* no vector in 'image_features'"),
        (
            {"text_features": floats([[1.0, 2.0]] * 5 + [[1.0, None]])},
            "Row 5 .* null at position 1",
        ),
        ({"text_features": floats([[]] * 6)}, "Row 0 .* 0 numbers"),
        (
            {"text_features": floats([[1.0]] * 3 + [[np.nan], [1.0], [np.inf]])},
            "Row 3 .* 2 rows",
        ),
        ({"text_features": floats([[1e300]] * 6, "float64")}, "Row 0 .* infinite"),
    ],
)
def test_what_breaks_the_contract_is_named(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        validate_label_pairs(vector_rows(**columns))


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DatasetError, match="6 pairs, fewer than the 7"):
        validate_label_pairs(vector_rows(), minimum_pairs=7)


def test_several_splits_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"DatasetDict .*dataset\[split\]"):
        validate_label_pairs(datasets.DatasetDict({"train": vector_rows()}))


def test_pictures_and_captions_pass_and_empty_captions_do_not() -> None:
    rows = as_label_pairs(picture_rows(), image_column="photo")
    validate_label_pairs(rows)
    feature = rows.features["captions"]
    texts = [["a"], ["b", " "], ["c"], ["d"]]
    with pytest.raises(DatasetError, match="Caption 1 of row 1"):
        validate_label_pairs(
            rows.remove_columns("captions").add_column("captions", texts, feature=feature)
        )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
@pytest.mark.parametrize("length", [-1, 3])
def test_vectors_are_read_in_any_storage(dtype: str, length: int) -> None:
    expected = np.arange(18).reshape(6, 3)
    column = floats(expected.astype(dtype).tolist(), dtype, length)
    rows = vector_rows(text_features=column)
    whole = datasets.concatenate_datasets([rows, rows.select([5, 1])])
    for dataset, order in (
        (rows, range(6)),
        (rows.select([4, 0]), [4, 0]),
        (whole, [*range(6), 5, 1]),
    ):
        found = read_vectors(dataset, "text_features")
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, expected[list(order)])


def test_one_piece_of_float32_is_not_copied() -> None:
    rows = vector_rows()
    found = read_vectors(rows, "image_features")
    stored = rows.data.column("image_features").chunk(0).flatten().to_numpy()
    assert np.shares_memory(found, stored)


def test_rows_by_the_contract_stay_as_they_are() -> None:
    noisy = inject_noise(vector_rows(), "sym_40", seed=1)
    done = as_label_pairs(noisy)
    assert done.column_names == noisy.column_names
    assert done["image_label"][:] == noisy["image_label"][:]
    assert noise_protocol(done) == noise_protocol(noisy)


@pytest.mark.parametrize(
    ("labels", "feature", "names"),
    [
        ([1, 0, 1, 0, 1, 0], datasets.ClassLabel(names=["b", "a"]), ["b", "a"]),
        ([9, 4, 9, 4, 9, 4], NUMBERS, ["4", "9"]),
        (["y", "x", "y", "x", "y", "x"], datasets.Value("string"), ["x", "y"]),
    ],
)
def test_one_label_fills_both_sides(labels: list[Any], feature: Any, names: list[str]) -> None:
    rows = vector_rows(image_label=None, text_label=None, label=(labels, feature))
    done = as_label_pairs(rows)
    assert "label" not in done.column_names
    for name in ("image_label", "text_label"):
        assert done.features[name].names == names
        assert done[name][:] == [1, 0, 1, 0, 1, 0]
    named = as_label_pairs(rows.rename_column("label", "topic"), label_column="topic")
    assert named["text_label"][:] == done["text_label"][:]


def test_splits_share_their_classes() -> None:
    strings = datasets.Value("string")
    train = vector_rows(image_label=None, text_label=None, label=(list("cabcab"), strings))
    test = vector_rows(2, image_label=None, text_label=None, label=(["c", "c"], strings))
    done = as_label_pairs(datasets.DatasetDict(train=train, test=test))
    assert done["test"].features["image_label"].names == ["a", "b", "c"]
    assert done["test"]["image_label"][:] == [2, 2]
    other = vector_rows(2, image_label=None, text_label=None, label=(["c", "z"], strings))
    with pytest.raises(DatasetError, match=r"row 1 of split 'test'.* class 'z'"):
        as_label_pairs(datasets.DatasetDict(train=train, test=other))


def test_sides_with_classes_of_their_own_and_the_oracle_are_numbered_alike() -> None:
    strings = datasets.Value("string")
    rows = vector_rows(
        image_label=None,
        text_label=None,
        seen=(list("cacaca"), strings),
        told=(list("bcbcbc"), strings),
        true_label=(list("caacac"), strings),
    )
    done = as_label_pairs(rows, image_label_column="seen", text_label_column="told")
    assert done.features["text_label"].names == ["a", "b", "c"]
    assert done["image_label"][:] == [2, 0] * 3
    assert done["text_label"][:] == [1, 2] * 3
    assert done["true_label"][:] == [2, 0, 0, 2, 0, 2]


def test_vectors_under_other_names() -> None:
    rows = vector_rows().rename_columns({"image_features": "vgg", "text_features": "lda"})
    rows = rows.add_column("text_features", ["in the way"] * 6)
    done = as_label_pairs(rows, image_column="vgg", text_column="lda")
    assert done["image_features"][:] == rows["vgg"][:]
    assert done["text_features"][:] == rows["lda"][:]


def test_pictures_and_texts_are_found_and_not_merged() -> None:
    done = as_label_pairs(datasets.concatenate_datasets([picture_rows(), picture_rows()]))
    assert done["captions"][:] == [[c] for c in "abcdabcd"]
    assert done["image"][1].getpixel((0, 0)) == (1, 0, 0)
    assert done["image_label"][:] == [0, 1] * 4


def test_vectors_of_one_side_alone() -> None:
    rows = vector_rows(text_features=None).add_column("note", list("abcdef"))
    done = as_label_pairs(rows, text_column="note")
    assert done["captions"][:] == [[c] for c in "abcdef"]
    by_name = as_label_pairs(rows.rename_column("note", "caption"))
    assert by_name["captions"][:] == done["captions"][:]
    with pytest.raises(DatasetError, match=r"recognized as the captions.* with text_column="):
        as_label_pairs(rows)


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"text_label": None}, {}, "missing in one modality"),
        ({"image_label": None, "text_label": None}, {}, "label_column=NAME"),
        ({}, {"label_column": "kind"}, "no column 'kind'"),
        ({}, {"label_column": "image_label", "text_label_column": "text_label"}, "give it, or"),
        ({}, {"image_column": "vgg"}, "no column 'vgg'.*image_column="),
        ({}, {"image_column": "text_label"}, "one vector or one picture"),
        ({"label": ([0.5] * 6, datasets.Value("float32"))}, {"label_column": "label"}, "integer"),
        (
            {"label": (["a", None, "a", "", "a", "a"], datasets.Value("string"))},
            {"label_column": "label"},
            "Row 1 .* 2 rows",
        ),
        ({"label": ([1, 1, 1, 1, 2, 1], NUMBERS)}, {"label_column": "label"}, "occurs once"),
    ],
)
def test_what_cannot_be_brought_to_the_contract(
    columns: dict[str, Any], options: dict[str, str], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        as_label_pairs(vector_rows(**columns), **options)


def test_other_things_are_refused() -> None:
    with pytest.raises(DatasetError, match="not a list"):
        as_label_pairs([1, 2])


def test_texts_that_are_not_found_are_asked_for_by_the_option_there_is() -> None:
    with pytest.raises(DatasetError, match="with text_column="):
        as_label_pairs(picture_rows().rename_column("text", "words"))


def test_folders_of_parquet_and_files_are_loaded(tmp_path: Path) -> None:
    rows = inject_noise(datasets.DatasetDict(train=vector_rows(), test=vector_rows()), "sym_40")
    folder = tmp_path / "rows"
    folder.mkdir()
    for split, part in rows.items():
        part.to_parquet(folder / f"{split}.parquet")
    found = load_label_pairs(folder)
    assert list(found) == ["train", "test"]
    for split, part in rows.items():
        assert found[split].to_dict() == part.to_dict()
    assert list(load_label_pairs(folder / "test.parquet")) == ["test"]


def test_json_lines_of_vectors_are_loaded(tmp_path: Path) -> None:
    lines = [{"img": [i, 0.5], "txt": [1.0], "topic": "ab"[i % 2], "split": s} for i, s in
             enumerate(["train"] * 4 + ["val"] * 2)]  # fmt: skip
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    found = load_label_pairs(file, image_column="img", text_column="txt", label_column="topic")
    assert {split: len(part) for split, part in found.items()} == {"train": 4, "validation": 2}
    assert read_vectors(found["validation"], "image_features").tolist() == [[4, 0.5], [5, 0.5]]
    assert found["validation"]["text_label"][:] == [0, 1]


def test_a_table_beside_pictures_is_loaded(tmp_path: Path) -> None:
    for i in range(4):
        Image.new("RGB", (2, 2), (i, 0, 0)).save(tmp_path / f"{i}.png")
    table = ["file,text,label", *(f"{i}.png,text {i},{'ab'[i % 2]}" for i in range(4))]
    (tmp_path / "rows.csv").write_text("\n".join(table), encoding="utf-8")
    found = load_label_pairs(tmp_path / "rows.csv")["train"]
    assert found["image"][3].getpixel((0, 0)) == (3, 0, 0)
    assert found["captions"][2] == ["text 2"]
    assert found["text_label"][:] == [0, 1, 0, 1]
    with pytest.raises(DatasetError, match="it has no configuration 'small'"):
        load_label_pairs(tmp_path / "rows.csv", "small")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no file .*none\.parquet"):
        load_label_pairs(tmp_path / "none.parquet")
