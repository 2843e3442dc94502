"""Readers of data answer damaged files with their own errors: no crash, no hang, no memory.

For long: FUZZ_EXAMPLES=20000 OMP_NUM_THREADS=1 pytest tests/data/test_reader_fuzz.py
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import answers, any_file, changed, fuzz, json_bytes, npy_bytes, npy_files
from karpathy_layout import karpathy_entries
from noisy_xmodal.data import DatasetError, validate_pairs
from noisy_xmodal.data.any_dataset import load_pairs
from noisy_xmodal.data.readers.karpathy import find_pictures, read_karpathy
from noisy_xmodal.data.readers.precomp import check_features, read_precomp
from noisy_xmodal.data.readers.vectors import named_classes
from noisy_xmodal.noise import read_noise_index


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


IMAGES = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
PRECOMP = {
    "train_ims.npy": npy(IMAGES),
    "train_caps.txt": "".join(f"a caption of {i}é\n" for i in range(8)).encode(),
    "train_ids.txt": b"a.jpg\nb.jpg\nc.jpg\nd.jpg\n",
    "train_labels.txt": b"0\n1\n0\n1\n",
    "dev_ims.npy": npy(IMAGES[:2]),
    "dev_caps.txt": b"one\ntwo\n",
    "dev_labels.txt": b"0\n1\n",
}
INDEX = np.array([1, 0, 3, 2, 5, 4], dtype=np.int64)


def read_all(folder: Path) -> None:
    """What the builder does with a folder of the layout before it writes."""
    splits = read_precomp(folder)
    check_features(splits)
    for split in splits.values():
        columns = split.read(0, len(split))
        assert len(columns["regions"]) == len(columns["image_id"]) == len(split)
        assert split.n_captions % len(split) == 0


@fuzz(40)
@given(st.data())
def test_precomp(tmp_path: Path, data: Any) -> None:
    name = data.draw(st.sampled_from(sorted(PRECOMP)))
    content = any_file(PRECOMP[name])
    if name.endswith(".npy"):
        content = st.one_of(content, npy_files(IMAGES.tobytes()))
    for other, valid in PRECOMP.items():
        (tmp_path / other).write_bytes(valid)
    (tmp_path / name).write_bytes(data.draw(content))
    with answers(str(tmp_path)):
        read_all(tmp_path)


@fuzz(40)
@given(content=st.one_of(any_file(npy(INDEX)), npy_files(INDEX.tobytes())))
def test_noise_index(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "index.npy"
    path.write_bytes(content)
    with answers(str(path)):
        pairs = read_noise_index(path, 2, 3).pairs
        assert np.bincount(pairs.image).tolist() == [2, 2, 2]


KARPATHY = {"images": karpathy_entries({"train": 2, "val": 1, "test": 1}, 2, True), "dataset": "x"}
LISTING = st.one_of(
    changed(KARPATHY, ("filepath", "split", "cocoid")).map(json_bytes),
    any_file(json_bytes(KARPATHY)),
)


@fuzz(40)
@given(content=LISTING)
def test_karpathy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "dataset_coco.json"
    path.write_bytes(content)
    with answers(str(tmp_path), errors=(DatasetError, OSError)):  # a name of 70,000 letters
        images = read_karpathy(path, "coco")
        for image in images:
            "".join((*image.captions, image.filename, image.image_id)).encode()
            assert image.captions
            assert all(image.captions)
        find_pictures(tmp_path, images)


ROWS: list[dict[str, Any]] = [
    {"image": "0.png", "captions": ["a dog", "a cat"], "split": "train", "is_noisy": [True, False]},
    {"image": "1.png", "captions": ["a bird"], "split": "val", "is_noisy": [False]},
    {"image": "0.png", "captions": ["a dog", "more"], "split": "train", "is_noisy": [False, True]},
]
KEYS = ("caption_0", "caption_1", "image_id", "id", "text", "filepath", "filename", "split")
JSON_ROWS = changed(ROWS, KEYS)
TABLES = {
    ".jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
    ".json": json_bytes({"images": ROWS}),
    ".csv": b'image,caption,is_noisy,split\n0.png,"a, ""b""",0,train\n1.png,c,[true],val\n',
    ".tsv": "image\tcaption\n0.png\tein Bär\n1.png\t['a', 'b']\n".encode(),
    ".txt": b"image|caption_0|caption_1\n0.png|a|b\n1.png|c|d\n",
}


def json_lines(rows: Any) -> bytes:
    return b"\n".join(json_bytes(row) for row in rows) if isinstance(rows, list) else b""


@fuzz(40)
@given(st.data())
@pytest.mark.filterwarnings("ignore")
def test_tables(tmp_path: Path, data: Any) -> None:
    for name in ("0.png", "1.png"):
        (tmp_path / name).write_bytes(b"")
    for suffix in TABLES:
        (tmp_path / f"own{suffix}").unlink(missing_ok=True)
    suffix = data.draw(st.sampled_from(sorted(TABLES)))
    content = any_file(TABLES[suffix])
    if suffix.startswith(".json"):
        rows = JSON_ROWS.map(json_lines if suffix == ".jsonl" else json_bytes)
        content = st.one_of(content, rows, rows)
    path = tmp_path / f"own{suffix}"
    path.write_bytes(data.draw(content))
    with answers(str(path), "olumn", "split '"):
        for split, pairs in load_pairs(path).items():
            validate_pairs(pairs, split)


# What mutation found: each of these raised something else, or an error that names nothing.

HEADERS = [
    "{",
    "{[]: 1}",
    "'a",
    repr({"descr": "<i8", "fortran_order": False, "shape": (-(2**62),)}),
]
ARRAYS = [*(npy_bytes(header, bytes(48)) for header in HEADERS), b"PK\x03\x04 no archive"]


@pytest.mark.parametrize("content", ARRAYS)
def test_damaged_arrays(tmp_path: Path, content: bytes) -> None:
    for name, valid in PRECOMP.items():
        (tmp_path / name).write_bytes(valid)
    (tmp_path / "dev_ims.npy").write_bytes(content)
    with pytest.raises(DatasetError, match=r"dev_ims\.npy is (truncated or|not a \.npy)"):
        read_all(tmp_path)
    with pytest.raises(ValueError, match=r"dev_ims\.npy (holds Python objects or is|is not a)"):
        read_noise_index(tmp_path / "dev_ims.npy", 2, 3)


def test_class_numbers_of_any_length(tmp_path: Path) -> None:
    for name, valid in PRECOMP.items():
        (tmp_path / name).write_bytes(valid)
    for digits in (19, 5000):
        (tmp_path / "train_labels.txt").write_text(f"0\n{'9' * digits}\n0\n1\n")
        with pytest.raises(DatasetError, match=r"_labels\.txt, image 2: '9{19}.*class numbers"):
            read_all(tmp_path)


ENTRY = KARPATHY["images"][0]
ENTRIES = [
    (ENTRY | {"split": ["train"]}, r"image 0 .*the split \['train'\] is unknown"),
    (ENTRY | {"filepath": ".."}, "names of a file and a folder, without"),
    (ENTRY | {"filename": "\ud800.jpg"}, "image 0 .*half of a surrogate pair"),
    (ENTRY | {"sentences": [{"raw": "a\udfff"}]}, "image 0 .*half of a surrogate pair"),
]


@pytest.mark.parametrize(("entry", "message"), ENTRIES)
def test_entries_of_a_split_file(tmp_path: Path, entry: Any, message: str) -> None:
    path = tmp_path / "dataset_coco.json"
    path.write_bytes(json_bytes({"images": [entry]}))
    with pytest.raises(DatasetError, match=message) as refused:
        read_karpathy(path, "coco")
    assert str(path) in str(refused.value)
    str(refused.value).encode()


DEEP, LONG = "[" * 100_000, "9" * 5000


@pytest.mark.parametrize("text", [DEEP, '{"images": ' + LONG + "}"])
def test_json_that_python_does_not_parse(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.json"
    path.write_text(text)
    with pytest.raises(DatasetError, match=r"own\.json is truncated or not a JSON"):
        read_karpathy(path, "coco")
    with pytest.raises(DatasetError, match=r"Line 1 of .*own\.json is not JSON"):
        load_pairs(path)


ROW = '{"image": "0.png", "caption": "a dog", '
JSON_TABLES = [
    (ROW + '"x": "\\ud800"}', r"Column 'x' of .*own\.jsonl has half of a surrogate pair"),
    (ROW + '"\\ud800": 1}', r"Column '\\ud800' of .* has half of a surrogate pair"),
    (ROW + '"x": ' + '{"a":' * 50 + "1" + "}" * 51, "Column 'x' of .* more than 16 nested levels"),
    (
        ROW + '"x": ' + '{"a":' * 600 + "1" + "}" * 601,
        "Column 'x' of .* more than 16 nested levels",
    ),
    (ROW + '"x": ' + DEEP, r"Line 1 of .*own\.jsonl is not JSON \(it is nested too deeply"),
]


@pytest.mark.parametrize(("text", "message"), JSON_TABLES)
def test_rows_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "0.png").write_bytes(b"")
    (tmp_path / "own.jsonl").write_text(text + "\n")
    with pytest.raises(DatasetError, match=message) as refused:
        load_pairs(tmp_path / "own.jsonl")
    str(refused.value).encode()


@pytest.mark.parametrize("text", [DEEP, ROW + DEEP])
def test_a_folder_with_a_strange_table_beside_the_good_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "0.png").write_bytes(b"")
    (tmp_path / "own.csv").write_text("image,caption\n0.png,a dog\n")
    (tmp_path / "other.jsonl").write_text(text)
    assert load_pairs(tmp_path)["train"]["captions"][:] == [["a dog"]]


def test_flags_and_numbers_in_names(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"")
    path = tmp_path / "own.csv"
    path.write_text(f"image,caption,is_noisy\n0.png,a dog,{DEEP}\n")
    with pytest.raises(DatasetError, match=r"Row 0 of split 'train' .*has 1 captions and"):
        load_pairs(path)
    path.write_text(f"image,caption_{LONG},caption_1,caption_2\n0.png,a,b,c\n")
    assert load_pairs(path)["train"]["captions"][:] == [["b", "c"]]


def test_classes_with_names_like_long_numbers() -> None:
    values = {"train": [LONG, "1", "1"]}
    assert named_classes(values, "here", None) == values
