"""Layouts of folders that people have, each read or refused with what to do."""

import base64
import csv
import io
import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import datasets
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noisy_xmodal.data import DatasetError, as_pairs, inject_noise, load_pairs, validate_pairs
from noisy_xmodal.data.any_dataset import config_names


def png(shade: int, kind: str = "png") -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (24, 24), (shade * 20, 0, 0)).save(buffer, format=kind)
    return buffer.getvalue()


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pictures(folder: Path, *names: str) -> Path:
    for shade, name in enumerate(names):
        put(folder, name, png(shade))
    return folder


def load(
    name: Path | str, **given: Any
) -> tuple[dict[str, dict[str, list[str]]], dict[str, list[str]]]:
    """Captions by split and name of the image, and what was left out."""
    left_out: dict[str, list[str]] = {}
    found = load_pairs(name, left_out=left_out, **given)
    for split, rows in found.items():
        validate_pairs(rows, split)
        assert [picture.size for picture in rows["image"]] == [(24, 24)] * len(rows)
    return {
        split: dict(zip(rows["image_id"], rows["captions"], strict=True))
        for split, rows in found.items()
    }, left_out


def coco(*names: str) -> dict[str, Any]:
    return {
        "info": {"year": 2017},
        "images": [{"id": 7 + i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [
            {"id": 10 * i + k, "image_id": 7 + i, "caption": f"{name} {k}"}
            for i, name in enumerate(names)
            for k in range(2)
        ],
    }


def llava(image: str, *answers: str) -> dict[str, Any]:
    turns = [{"from": "human", "value": "<image>\nDescribe it."}]
    for answer in answers:
        turns += [{"from": "gpt", "value": answer}, {"from": "human", "value": "And?"}]
    return {"id": image, "image": image, "conversations": turns}


@pytest.mark.parametrize("suffix", ["txt", "caption", "TXT"])
def test_a_text_beside_each_picture(tmp_path: Path, suffix: str) -> None:
    pictures(tmp_path, "a.jpg", "b.PNG", "in/c.webp", "d.jpg", "e.jpg")
    for name, text in {"a": "one\n", "b": "two, text, picture\nthree\n\n", "in/c": "four"}.items():
        put(tmp_path, f"{name}.{suffix}", text)
    put(tmp_path, f"d.{suffix}", " \n")
    put(tmp_path, f"readme.{suffix}", "Of whom?")
    found, left_out = load(tmp_path)
    captions = {"a.jpg": ["one"], "b.PNG": ["two, text, picture", "three"], "in/c.webp": ["four"]}
    assert found == {"train": captions}
    lines = "\n".join(left_out["train"])
    assert f"d.{suffix} is empty" in lines
    assert "1 texts have no picture of the same name: ['readme" in lines
    assert "2 of 5 pictures have no row: ['d.jpg', 'e.jpg']" in lines
    with pytest.raises(DatasetError, match=rf"d\.{suffix} is empty.*left_out=\{{\}}"):
        load_pairs(tmp_path)


def test_texts_of_other_names(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFC", "caf\u00e9")
    pictures(tmp_path, "a.jpg", "b.jpg", f"{name}.jpg")
    put(tmp_path, "a.jpg.txt", "one")
    put(tmp_path, "b.caption", "two")
    put(tmp_path, f"{unicodedata.normalize('NFD', name)}.txt", "three")
    assert list(load(tmp_path)[0]["train"].values()) == [["one"], ["two"], ["three"]]


def test_texts_in_a_folder_of_their_own_and_by_split(tmp_path: Path) -> None:
    pictures(tmp_path / "one", "images/1/a.jpg", "images/2/b.jpg", "images/2/x.jpg")
    put(tmp_path / "one", "text/1/a.txt", "one")
    put(tmp_path / "one", "text/2/b.txt", "two")
    assert load(tmp_path / "one")[0] == {"train": {"1/a.jpg": ["one"], "2/b.jpg": ["two"]}}
    pictures(tmp_path / "cut", "train/a.jpg", "val/a.jpg")
    put(tmp_path / "cut", "train/a.txt", "one")
    put(tmp_path / "cut", "val/a.txt", "two")
    found = load(tmp_path / "cut")[0]
    assert {split: list(rows.values()) for split, rows in found.items()} == {
        "train": [["one"]],
        "validation": [["two"]],
    }


def test_json_beside_each_picture(tmp_path: Path) -> None:
    pictures(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    put(tmp_path, "a.json", '{"caption": "one", "width": 24, "url": "u"}')
    put(tmp_path, "b.json", '{"caption": ["two", "three"], "width": "?"}')
    put(tmp_path, "c.json", "{")
    found, left_out = load(tmp_path)
    assert found == {"train": {"a.jpg": ["one"], "b.jpg": ["two", "three"]}}
    assert any("c.json is not JSON" in line for line in left_out["train"])


@pytest.mark.parametrize("give", ["folder", "annotations", "file"])
def test_coco_captions(tmp_path: Path, give: str) -> None:
    root = pictures(tmp_path / "coco", "train2017/a.jpg", "train2017/b.jpg", "val2017/c.jpg")
    notes = root / "annotations"
    train = coco("a.jpg", "b.jpg", "gone.jpg")
    train["images"].append({"id": 99, "file_name": "bare.jpg"})
    train["annotations"].append({"id": 5, "image_id": 1234, "caption": "of nothing"})
    put(notes, "captions_train2017.json", json.dumps(train))
    put(notes, "captions_val2017.json", json.dumps(coco("c.jpg")))
    boxes = {"images": train["images"], "annotations": [{"image_id": 7, "bbox": [1, 2, 3, 4]}]}
    put(notes, "instances_train2017.json", json.dumps(boxes))
    given = {"folder": root, "annotations": notes, "file": notes / "captions_train2017.json"}
    found, left_out = load(given[give])
    assert found["train"] == {"7": ["a.jpg 0", "a.jpg 1"], "8": ["b.jpg 0", "b.jpg 1"]}
    lines = "\n".join(left_out["train"])
    assert "gone.jpg): the file does not exist" in lines
    assert "1 captions of" in lines
    assert "'1234'" in lines
    assert "1 images of" in lines
    assert "'bare.jpg'" in lines
    if give != "file":
        assert found["validation"] == {"7": ["c.jpg 0", "c.jpg 1"]}
    with pytest.raises(DatasetError, match=r"boxes or other .*no captions.*captions_\*\.json"):
        load_pairs(notes / "instances_train2017.json")


@pytest.mark.parametrize("form", ["gpt", "assistant", "parts"])
def test_conversations(tmp_path: Path, form: str) -> None:
    pictures(tmp_path, "images/a.jpg", "images/b.jpg")
    rows = [llava("a.jpg", "one", "more"), llava("b.jpg", "two"), llava("a.jpg")]
    if form != "gpt":
        for row in rows:
            turns = row.pop("conversations")
            names = {"human": "user", "gpt": "assistant"}
            texts = [turn["value"] for turn in turns]
            if form == "parts":
                texts = [
                    [{"type": "image", "text": None}, {"type": "text", "text": t}] for t in texts
                ]
            row["messages"] = [
                {"role": names[turn["from"]], "content": text}
                for turn, text in zip(turns, texts, strict=True)
            ]
    put(tmp_path, "llava.json", json.dumps(rows))
    found, left_out = load(tmp_path)
    assert found == {"train": {"a.jpg": ["one"], "b.jpg": ["two"]}}
    assert any("no caption with text" in line for line in left_out["train"])


JSON_FORMS = {
    "by name": {"a.jpg": ["one", "two"], "b.jpg": "three"},
    "lists": {"image": ["a.jpg", "b.jpg"], "captions": [["one", "two"], ["three"]]},
    "pandas": {
        "image": {"0": "a.jpg", "1": "b.jpg"},
        "captions": {"0": ["one", "two"], "1": ["three"]},
    },
    "karpathy": {
        "images": [
            {"filename": "a.jpg", "sentences": [{"raw": "one"}, {"raw": "two"}]},
            {"filename": "b.jpg", "sentences": [{"raw": "three"}]},
        ],
        "dataset": "own",
    },
    "mixed": [
        {"image": "a.jpg", "caption": ["one", "two"]},
        {"image": "b.jpg", "caption": "three"},
    ],
    "pairs": [["a.jpg", ["one", "two"]], ["b.jpg", "three"]],
    "prompt": [
        {"image": "a.jpg", "prompt": ["one", "two"]},
        {"image": "b.jpg", "prompt": ["three"]},
    ],
}


@pytest.mark.parametrize("form", JSON_FORMS)
@pytest.mark.parametrize("give", ["folder", "file"])
def test_json_tables(tmp_path: Path, form: str, give: str) -> None:
    pictures(tmp_path, "a.jpg", "b.jpg")
    file = put(tmp_path, "own.json", json.dumps(JSON_FORMS[form], indent=1))
    found, left_out = load(tmp_path if give == "folder" else file)
    assert found == {"train": {"a.jpg": ["one", "two"], "b.jpg": ["three"]}}
    assert left_out == {"train": []}


def test_a_table_in_a_folder_beside_the_pictures(tmp_path: Path) -> None:
    pictures(tmp_path, "images/a.jpg", "images/b.jpg")
    put(tmp_path, "labels/own.csv", "number,image,text\n1,a.jpg,one\n2,b.jpg,two\n")
    assert load(tmp_path)[0] == {"train": {"a.jpg": ["one"], "b.jpg": ["two"]}}


def test_a_table_in_the_folder_of_each_split(tmp_path: Path) -> None:
    pictures(tmp_path, "train/a.jpg", "dev/a.jpg")
    put(tmp_path, "train/captions.csv", "image,text\na.jpg,one\n")
    put(tmp_path, "dev/captions.csv", "image,text\na.jpg,two\n")
    found = load(tmp_path)[0]
    assert found == {"train": {"a.jpg": ["one"]}, "validation": {"a.jpg": ["two"]}}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "c.parquet",
            "version https://git-lfs.github.com/spec/v1\n",
            r"c\.parquet is a Git LFS pointer",
        ),
        ("c.parquet", "PAR1", r"c\.parquet cannot be read: "),
        ("c.csv", "version https://git-lfs.github.com/spec/v1\n", r"c\.csv is a Git LFS pointer"),
        ("c.json", '[{"image": "a.jpg", "text": "one"}, {"im', r"c\.json is not JSON"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    pictures(tmp_path, "a.jpg")
    with pytest.raises(DatasetError, match=message):
        load_pairs(put(tmp_path, name, content))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.json", '[{"image": "a.jpg", "text"', r" d\.json \(Line 1 of .* is not JSON"),
        ("metadata.csv", "", r"cannot be opened: .* metadata\.csv \(.* is empty\)\. Name"),
        ("metadata.csv", "image_id,caption\na,one\n", r"'image_id', 'caption'\]\)\. Name"),
    ],
)
def test_tables_that_are_not_taken_are_named_with_the_reason(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    pictures(tmp_path, "a.jpg")
    put(tmp_path, name, content)
    with pytest.raises(DatasetError, match=message):
        load_pairs(tmp_path)


def test_columns_named_as_the_message_asks_open_the_table(tmp_path: Path) -> None:
    pictures(tmp_path, "a.jpg")
    put(tmp_path, "metadata.csv", "image_id,caption\na,one\n")
    found = load_pairs(tmp_path, image_column="image_id", caption_column="caption")
    assert found["train"]["captions"][:] == [["one"]]


def test_other_faults_are_told_without_tables(tmp_path: Path) -> None:
    pictures(tmp_path, "a.jpg", "b.jpg")
    put(tmp_path, "a.txt", "one\n")
    put(tmp_path, "b.txt", "")
    with pytest.raises(DatasetError, match=r"b\.txt is empty\. Correct the data\. To [^.]*\.$"):
        load_pairs(tmp_path)


def test_a_file_that_cannot_be_read_is_named_once(tmp_path: Path) -> None:
    file = put(tmp_path, "c.parquet", "PAR1xxxxPAR1")
    with pytest.raises(DatasetError, match=r"c\.parquet cannot be read: ") as refused:
        load_pairs(file)
    assert str(refused.value).count("cannot be read") == 1


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_not_the_working_directory(name: str) -> None:
    with pytest.raises(DatasetError, match="name of the dataset is empty"):
        load_pairs(name)


def test_line_i_for_picture_i_is_refused(tmp_path: Path) -> None:
    root = pictures(tmp_path / "d", "a.jpg", "b.jpg")
    file = put(root, "captions.txt", "A man, who sits on a bench.\nA dog runs over it.\n")
    for name in (file, root):
        with pytest.raises(DatasetError, match=r"(?i)line i is not used as .* picture i"):
            load_pairs(name)


def test_pictures_with_classes_or_nothing(tmp_path: Path) -> None:
    pictures(tmp_path / "classes", "cat/a.jpg", "dog/b.jpg")
    with pytest.raises(
        DatasetError, match=r"A class is not a caption\. .*\.txt file next to each picture"
    ):
        load_pairs(tmp_path / "classes")
    pictures(tmp_path / "bare", "a.jpg", "b.jpg")
    with pytest.raises(DatasetError, match=r"the captions\..*\.txt file next to each"):
        load_pairs(tmp_path / "bare")


def test_pictures_without_a_row_are_counted(tmp_path: Path) -> None:
    root = pictures(tmp_path / "d", "a.jpg", "b.jpg", "more/c.jpg", ".hidden/x.jpg")
    put(root, "train.csv", "image,caption\na.jpg,one\n")
    put(root, "val.csv", "image,caption\nb.jpg,two\n")
    _, left_out = load(root)
    line = "1 of 3 pictures have no row: ['more/c.jpg']"
    assert left_out == {"train": [line], "validation": [line]}
    _, left_out = load(root / "train.csv")
    assert left_out == {"train": ["1 of 2 pictures have no row: ['b.jpg']"]}
    with pytest.warns(UserWarning, match="1 of 3 pictures have no row"):
        load_pairs(root)
    parts = pictures(tmp_path / "parts", "train/a.jpg", "train/b.jpg")
    put(parts, "train/metadata.csv", "file_name,text\na.jpg,one\n")
    _, left_out = load(parts)
    assert left_out == {"train": ["1 of 2 pictures have no row: ['train/b.jpg']"]}


def parquet(file: Path, shades: list[int], names: list[str | None]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": png(s), "path": n} for s, n in zip(shades, names, strict=True)]
    captions = [[f"of {shade}"] for shade in shades]
    datasets.Dataset.from_dict({"image": images, "text": captions}).to_parquet(file)


def test_stored_paths_name_pictures(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", [0, 1, 2, 3, 4], ["x.jpg", "same.jpg", "same.jpg", None, ""])
    found, _ = load(tmp_path / "a.parquet")
    assert list(found["train"]) == ["x.jpg", "row-000001", "row-000002", "row-000003", "row-000004"]
    rows = datasets.Dataset.from_dict(
        {"image": [{"bytes": png(0), "path": "x.jpg"}] * 2, "text": ["one", "two"]}
    )
    assert as_pairs(rows)["captions"][:] == [["one", "two"]]
    assert as_pairs(rows)["image_id"][:] == ["x.jpg"]


def audit_table(file: Path) -> None:
    names = ["pair_id", "image_id", "caption", "clean_probability", "loss", "suggested_caption"]
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: ["x"] for name in names}), file)
    for suffix in (".json", ".html"):
        file.with_suffix(suffix).write_text('{"n_pairs": 1}')


@pytest.mark.parametrize("names", [("train-0-of-1", "test"), ("one", "two"), ("data/part-0",)])
@pytest.mark.parametrize("card", [False, True])
def test_files_of_an_audit_are_no_data(tmp_path: Path, names: tuple[str, ...], card: bool) -> None:
    root = tmp_path / "d"  # the cache of these tests lies in tmp_path
    for shade, name in enumerate(names):
        parquet(root / f"{name}.parquet", [shade], [f"{shade}.jpg"])
    if card:
        put(
            root,
            "README.md",
            "---\nconfigs:\n- config_name: default\n  data_files: '**/*.parquet'\n---\n",
        )
    before, _ = load(root)
    audit_table(root / "audit.parquet")
    names = ("id", "image_id", "caption", "decision", "new_caption", "reviewer")
    pq.write_table(pa.table({name: ["x"] for name in names}), root / "reviews.parquet")
    after, left_out = load(root)
    assert after == before
    files = ["audit.html", "audit.json", "audit.parquet", "reviews.parquet"]
    told = [f"files of an earlier audit left out: {files}"]
    assert all(lines == told for lines in left_out.values())
    with pytest.raises(DatasetError, match=r"is the table of an audit.*Give the audited dataset"):
        load_pairs(root / "audit.parquet")
    audit_table(tmp_path / "only" / "audit.parquet")
    with pytest.raises(DatasetError, match=r"only the files of an audit, and no data"):
        load_pairs(tmp_path / "only")


def test_the_folder_of_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "hub"
    parquet(root / "data" / "train-0.parquet", [0, 1], ["0.jpg", "1.jpg"])
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n"
    put(root, "README.md", f"{card}    path: data/train-*.parquet\n---\n")
    whole, _ = load(root)
    names = config_names(root)
    for place, name in ((root, "."), (root, "./"), (root / "data", ".."), (tmp_path, "hub/")):
        monkeypatch.chdir(place)
        assert load(name)[0] == whole
        assert config_names(name) == names


@pytest.mark.parametrize(
    "name", ["./photos", "photso/", "a/b/c", "~/no such folder", "data/photso", "x.csv", "a\\b"]
)
def test_a_mistyped_folder_is_no_hub_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "photos").mkdir(parents=True)

    def no_hub(*_: object, **__: object) -> None:
        raise AssertionError("the Hub was asked")

    monkeypatch.setattr(datasets, "load_dataset", no_hub)
    monkeypatch.setattr(datasets, "get_dataset_config_names", no_hub)
    assert config_names(name) == []
    with pytest.raises(DatasetError, match=r"There is no file or folder") as refused:
        load_pairs(name)
    assert name != "data/photso" or "['photos']" in str(refused.value)


def test_a_name_of_the_hub_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("offline")

    monkeypatch.setattr(datasets, "load_dataset_builder", offline)
    with pytest.raises(DatasetError, match=r"'org/name' is not a local file or folder.*offline"):
        load_pairs("org/name")


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        *((kind, "csv") for kind in ("jpeg", "gif", "webp", "data uri", "url safe", "lines")),
        *(("png", table) for table in ("csv", "tsv", "jsonl", "parquet", "memory")),
    ],
)
def test_pictures_in_base64(tmp_path: Path, kind: str, table: str) -> None:
    plain = kind if kind in ("png", "jpeg", "gif", "webp") else "png"
    texts = [base64.b64encode(png(shade, plain)).decode() for shade in (1, 2)]
    if kind == "data uri":
        texts = [f"data:image/png;base64,{text}" for text in texts]
    elif kind == "url safe":
        texts = [text.replace("+", "-").replace("/", "_") for text in texts]
    elif kind == "lines":
        texts = [f"{text[:76]}\n{text[76:]}" for text in texts]
    columns = {"image_b64" if kind == "png" else "image": texts, "text": ["one", "two"]}
    file = tmp_path / f"own.{table}"
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if table in ("csv", "tsv"):
        with file.open("w", newline="") as out:
            writer = csv.writer(out, delimiter="," if table == "csv" else "\t")
            writer.writerows([columns, *(row.values() for row in rows)])
    elif table == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif table == "parquet":
        datasets.Dataset.from_dict(columns).to_parquet(file)
    else:
        assert as_pairs(datasets.Dataset.from_dict(columns))["captions"][:] == [["one"], ["two"]]
        return
    found, _ = load(file)
    assert list(found["train"].values()) == [["one"], ["two"]]


def test_long_values_are_not_printed(tmp_path: Path) -> None:
    junk = "A" * 100_000
    for name, text in {
        "a.csv": f"image,text\n{junk},one\n",
        "b.jsonl": json.dumps({"image": junk, "text": "one"}),
        "c.csv": f"image,text\na.jpg,{junk},{junk}\n",
        "d.csv": f"image,{junk}\na.jpg,one\n",
    }.items():
        with pytest.raises(DatasetError) as refused:
            load_pairs(put(tmp_path, name, text))
        assert len(str(refused.value)) < 1500


@pytest.mark.parametrize(
    "use", [as_pairs, lambda rows: inject_noise(rows, "cmp_20"), validate_pairs]
)
def test_streams_are_refused_with_what_to_do(use: Any) -> None:
    rows = datasets.Dataset.from_dict({"image": ["a.jpg"], "text": ["one"]}).to_iterable_dataset()
    for stream in (rows, datasets.IterableDatasetDict(train=rows)):
        with pytest.raises(DatasetError, match=r"without streaming.*"):
            use(stream)


def test_raw_columns_are_told_of_as_pairs() -> None:
    rows = datasets.Dataset.from_dict({"image": [{"bytes": png(0), "path": None}], "label": [0]})
    with pytest.raises(DatasetError, match=r"as_pairs\(dataset\)"):
        validate_pairs(rows.cast_column("image", datasets.Image()))


def test_linked_folders_and_files(tmp_path: Path) -> None:
    real = pictures(tmp_path / "real", "a.jpg", "in/b.jpg")
    root = tmp_path / "d"
    root.mkdir()
    os.symlink(real, root / "images")
    os.symlink(real / "a.jpg", root / "c.jpg")
    os.symlink(root, real / "loop")
    put(root, "m.csv", "file_name,text\na.jpg,one\nb.jpg,two\nc.jpg,three\n")
    found, left_out = load(root)
    assert list(found["train"].values()) == [["one"], ["two"], ["three"]]
    assert left_out == {"train": []}


def test_an_old_script_beside_a_table(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "photos", "a.png")
    put(folder, "captions.csv", "image,caption\na.png,one\n")
    put(folder, "photos.py", "")
    assert config_names(folder) == []
    assert load(folder)[0] == {"train": {"a.png": ["one"]}}
    (folder / "captions.csv").unlink()
    with pytest.raises(DatasetError, match=r"photos\.py.*Move the script out of the folder"):
        load_pairs(folder)


def test_a_hub_dataset_with_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("Dataset scripts are no longer supported, but found name.py")

    monkeypatch.setattr(datasets, "load_dataset_builder", refused)
    monkeypatch.setattr(datasets, "get_dataset_config_names", refused)
    assert config_names("org/name") == []
    with pytest.raises(DatasetError, match=r"'org/name'.*name\.py.*Download its files, and give"):
        load_pairs("org/name")


def test_a_card_that_is_not_utf_8(tmp_path: Path) -> None:
    folder = pictures(tmp_path, "a.png", "b.png")
    put(folder, "a.txt", "one")
    put(folder, "b.txt", "two")
    put(folder, "README.md", "Fotos aus Köln".encode("latin-1"))
    assert load(folder)[0] == {"train": {"a.png": ["one"], "b.png": ["two"]}}
