"""Folders, tables, shards and dataset folders on disk load by the column contract."""

import json
from pathlib import Path

import datasets
import pytest

from noisy_xmodal.data import DatasetError, PairDataset, validate_pairs
from noisy_xmodal.data.any_dataset import config_names, load_pairs
from tar_files import Member, write_tar
from tar_files import picture as png

HARD = 'Two dogs, one "black", run'


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def lines(*rows: dict[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures in a subfolder; the shade is the number in the name."""
    images = tmp_path / "data" / "Images"
    images.mkdir(parents=True)
    for shade in range(3):
        (images / f"{shade}.png").write_bytes(png(shade))
    return tmp_path / "data"


def check(
    loaded: datasets.DatasetDict,
    expected: dict[str, dict[int, list[str]]],
    ids: list[str] | None = None,
) -> None:
    """Every split keeps the contract and has the captions that are expected for each shade."""
    assert list(loaded) == list(expected)
    found = {}
    for split, dataset in loaded.items():
        validate_pairs(dataset, split)
        pairs = PairDataset(dataset)
        assert pairs[0]["caption"] == dataset[0]["captions"][0]
        shades = [image.getpixel((3, 3))[0] for image in pairs.images[:]]
        found[split] = dict(zip(shades, dataset["captions"][:], strict=True))
    assert found == expected
    if ids is not None:
        assert [name for dataset in loaded.values() for name in dataset["image_id"]] == ids


KAGGLE = f'image,caption\n0.png,a dog\n0.png,"{HARD.replace(chr(34), chr(34) * 2)}"\n1.png,None\n'


@pytest.mark.parametrize("give", ["folder", "file"])
def test_kaggle_captions(folder: Path, give: str) -> None:
    table = write(folder, {"captions.txt": KAGGLE, "readme.txt": "Images, and captions."})
    loaded = load_pairs(table if give == "folder" else table / "captions.txt")
    check(loaded, {"train": {0: ["a dog", HARD], 1: ["None"]}}, ["0.png", "1.png"])


@pytest.mark.parametrize(
    ("name", "text", "ids"),
    [
        ("any.csv", "file_name,text\nImages/0.png,a\nImages/1.png,b\n", ["Images/0.png"]),
        ("any.csv", ",Path,Caption,id\n0,0.png,a,x\n\n1,1.png,b,y\n", ["x", "y"]),
        ("b.csv", '\ufeff"satz";"img"\r\na;0.png\r\nb;1.png\r\n', ["0.png"]),
        ("t.tsv", "image\tcaption\n0.png\ta\n1.png\tb\n", ["0.png", "1.png"]),
        ("m.csv", 'img,raw,img_id\n0.png,"[\'a\']",7\n1.png,"[""b""]",8\n', ["7", "8"]),
        (
            "x.jsonl",
            lines({"image": "0.png", "caption": "a"}, {"image": "1.png", "caption": "b", "n": 1}),
            ["0.png", "1.png"],
        ),
        (
            "metadata.jsonl",
            lines({"file_name": "Images/0.png", "captions": ["a"]}, {"file_name": "1.png"})[
                :-1
            ].replace('"1.png"', '"1.png", "captions": ["b"]'),
            ["Images/0.png", "1.png"],
        ),
    ],
)
def test_tables_of_a_folder(folder: Path, name: str, text: str, ids: list[str]) -> None:
    given = {"caption_column": "satz"} if "satz" in text else {}
    loaded = load_pairs(str(write(folder, {name: text})), **given)
    check(loaded, {"train": {0: ["a"], 1: ["b"]}})
    assert loaded["train"]["image_id"][: len(ids)] == ids
    assert "" not in loaded["train"].column_names


def test_a_table_with_bars_does_not_quote(folder: Path) -> None:
    rows = 'image_name| comment_number| comment\n0.png| 0|"a" b\n0.png| 1| c, "d"\n'
    loaded = load_pairs(write(folder, {"results.csv": rows}))
    check(loaded, {"train": {0: ['"a" b', 'c, "d"']}}, ["0.png"])


def test_karpathy_json(folder: Path) -> None:
    def image(name: str, split: str, cocoid: int) -> dict[str, object]:
        sentences = [{"raw": f"{split} {k}", "tokens": [split], "sentid": k} for k in range(2)]
        row = {"filepath": "Images", "filename": name, "cocoid": cocoid, "split": split}
        return {**row, "sentences": sentences, "sentids": [0, 1]}

    images = [image("0.png", "val", 5), image("1.png", "restval", 6), image("2.png", "train", 7)]
    text = json.dumps({"images": images, "dataset": "coco"})
    loaded = load_pairs(write(folder, {"dataset.json": text}) / "dataset.json")
    train = {1: ["restval 0", "restval 1"], 2: ["train 0", "train 1"]}
    check(loaded, {"train": train, "validation": {0: ["val 0", "val 1"]}}, ["6", "7", "5"])
    only = load_pairs(folder / "dataset.json", split="val")
    assert list(only) == ["validation"]
    with pytest.raises(DatasetError, match=r"no split 'test'.*\['train', 'validation'\]"):
        load_pairs(folder / "dataset.json", split="test")


def test_a_table_per_split_and_the_oracle(folder: Path) -> None:
    header = "image,text,is_noisy\n"
    files = {"dev.csv": f"{header}0.png,a,0\n", "train.csv": f"{header}1.png,b,True\n"}
    loaded = load_pairs(write(folder, files))
    check(loaded, {"train": {1: ["b"]}, "validation": {0: ["a"]}})
    assert PairDataset(loaded["train"]).is_noisy.tolist() == [True]
    with pytest.raises(DatasetError, match=r"Several tables .*'dev.csv', 'other.csv'.*Give one of"):
        load_pairs(write(folder, {"other.csv": header}))


def test_names_are_given_for_a_table(folder: Path) -> None:
    write(folder, {"bilder.csv": "bild,satz,nr\n0.png,a,x\n0.png,b,x\n2.png,c,z\n"})
    loaded = load_pairs(folder, image_column="bild", caption_column="satz", id_column="nr")
    check(loaded, {"train": {0: ["a", "b"], 2: ["c"]}}, ["x", "z"])
    loaded = load_pairs(folder, image_column="bild", caption_column="satz", id_column="bild")
    check(loaded, {"train": {0: ["a", "b"], 2: ["c"]}}, ["0.png", "2.png"])


def test_imagefolder_with_metadata_per_split(tmp_path: Path) -> None:
    for split, shades in {"train": (0, 1), "test": (2, 3)}.items():
        rows = "".join(f"{shade}.png,{split} {k}\n" for shade in shades for k in range(2))
        write(tmp_path / "d", {f"{split}/metadata.csv": f"file_name,text\n{rows}"})
        for shade in shades:
            (tmp_path / "d" / split / f"{shade}.png").write_bytes(png(shade))
    train, test = ["train 0", "train 1"], ["test 0", "test 1"]
    check(
        load_pairs(tmp_path / "d"),
        {"train": {0: train, 1: train}, "test": {2: test, 3: test}},
        ["0.png", "1.png", "2.png", "3.png"],
    )
    (tmp_path / "d" / "test" / "2.png").unlink()
    with pytest.raises(DatasetError, match=r"Row 0 of split 'test'.*2.png.*2 of 4 rows"):
        load_pairs(tmp_path / "d", split="test")


@pytest.mark.parametrize("give", ["folder", "file"])
@pytest.mark.parametrize("kind", ["txt", "json"])
def test_webdataset(tmp_path: Path, kind: str, give: str) -> None:
    members = list[Member]()
    for shade in range(2):
        text = f"shade {shade}"
        caption = text if kind == "txt" else json.dumps({"caption": text, "url": "u"})
        members += [(f"k{shade}.png", png(shade)), (f"k{shade}.{kind}", caption)]
    write_tar(tmp_path / "d" / "000.tar", members)
    loaded = load_pairs(tmp_path / "d" if give == "folder" else tmp_path / "d" / "000.tar")
    check(loaded, {"train": {0: ["shade 0"], 1: ["shade 1"]}}, ["k0", "k1"])


def parquet(file: Path, shades: list[int], **columns: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": png(shade), "path": f"{shade}.png"} for shade in shades]
    captions = [[f"of {shade}"] for shade in shades]
    dataset = datasets.Dataset.from_dict({"image": images, "alt_text": captions, **columns})
    dataset.to_parquet(file)


def test_parquet_files(tmp_path: Path) -> None:
    parquet(tmp_path / "d" / "train-0-of-1.parquet", [0, 1])
    parquet(tmp_path / "d" / "dev.parquet", [2])
    write(tmp_path / "d", {"extra/a.txt": "a", "extra/b.txt": "b", "extra/c.txt": "c"})
    first = {0: ["of 0"], 1: ["of 1"]}
    check(load_pairs(tmp_path / "d" / "train-0-of-1.parquet"), {"train": first})
    check(load_pairs(tmp_path / "d"), {"train": first, "validation": {2: ["of 2"]}})


def test_a_split_column_of_embedded_pictures(tmp_path: Path) -> None:
    parts, ids = ["test", "train", "testA", "train"], ["a", "b", "a", "b"]
    parquet(tmp_path / "one.parquet", [0, 1, 2, 1], split=parts, img_id=ids)
    loaded = load_pairs(tmp_path / "one.parquet")
    check(
        loaded,
        {"train": {1: ["of 1"]}, "test": {0: ["of 0"]}, "testA": {2: ["of 2"]}},
        ["b", "a", "a"],
    )
    parquet(tmp_path / "two.parquet", [0, 1], split=["test", ""])
    with pytest.raises(DatasetError, match=r"Row 1 .* has no split"):
        load_pairs(tmp_path / "two.parquet")


def test_configurations_of_a_card(tmp_path: Path) -> None:
    parquet(tmp_path / "d" / "a" / "x.parquet", [0])
    parquet(tmp_path / "d" / "b" / "x.parquet", [1])
    card = "---\nconfigs:\n" + "".join(
        f"- config_name: {name}\n  data_files:\n  - split: test\n    path: {name}/*\n"
        for name in "ab"
    )
    write(tmp_path / "d", {"README.md": f"{card}---\n", "other.csv": "image,caption\n"})
    check(load_pairs(tmp_path / "d", "b"), {"test": {1: ["of 1"]}})
    assert config_names(tmp_path / "d") == ["a", "b"]
    assert config_names(str(tmp_path / "d" / "a" / "x.parquet")) == []
    for config, what in (("c", "no configuration 'c'"), (None, "several configurations")):
        with pytest.raises(DatasetError, match=rf"has {what}; choose one of \['a', 'b'\]"):
            load_pairs(tmp_path / "d", config)


def test_a_folder_that_datasets_saved(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", [0])
    loaded = load_pairs(tmp_path / "a.parquet")
    loaded.save_to_disk(tmp_path / "all")
    loaded["train"].save_to_disk(tmp_path / "one")
    for name in ("all", "one"):
        check(load_pairs(tmp_path / name), {"train": {0: ["of 0"]}})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "t.csv",
            "image,caption\n0.png,a\n7.png,b\n8.png,c\n",
            r"Row 1 of .*t.csv.*'7.png'.*2 of 3",
        ),
        ("t.csv", "image,caption\nhttp://a/0.png,a\n", r"Row 0 .*train.* a link"),
        ("t.csv", "image,caption\n0.png,a\n,b\n", r"Row 1 .* no image in column 'image'"),
        ("t.csv", "image,caption\n0.png,a\n1.png, \n", r"Caption 0 of row 1 .* is empty"),
        ("t.csv", "image,caption\n0.png,a, b\n", r"Line 2 of .*t.csv has 3 fields.*2: \['image'"),
        ("t.csv", 'image,caption\n0.png,"a" b\n', r"Line 2 of .*t.csv is not CSV.*Double the"),
        ("t.csv", "image,image\n0.png,a\n", r"t.csv names a column twice"),
        ("t.csv", "image,caption\n", r"t.csv has no rows"),
        ("t.csv", "image,caption,is_noisy\n0.png,a,maybe\n", r"Row 0 .*1 captions and 'maybe'"),
        ("t.json", "[1, 2]", r"t.json is not a table: give a list of objects"),
        ("t.json", '{"a": [{"x": 1}], "b": [{"x": 1}]}', r"t.json is not a table"),
        ("t.jsonl", '{"image": "0.png"}\n{"image"\n', r"Line 2 of .*t.jsonl is not JSON"),
        (
            "t.jsonl",
            '{"caption": {"raw": "a"}}\n{"caption": 1}\n',
            r"Column 'caption' .*different types",
        ),
        ("t.xyz", "", r"t.xyz has an unsupported type; give one of .*'.csv'.*'.tar'"),
    ],
)
def test_tables_that_are_refused(folder: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        load_pairs(write(folder, {name: text}) / name)


def test_a_name_that_fits_several_files(folder: Path) -> None:
    (folder / "More").mkdir()
    (folder / "More" / "0.png").write_bytes(png(9))
    write(folder, {"captions.csv": "image,caption\n0.png,a\n"})
    with pytest.raises(
        DatasetError, match=r"captions.csv names .*'0.png', which matches 2 files below"
    ):
        load_pairs(folder)
    write(folder, {"captions.csv": "image,caption\nLess/0.png,a\n"})
    with pytest.raises(DatasetError, match=r"Row 0 of .*'Less/0.png', which is not in"):
        load_pairs(folder)
    write(folder, {"captions.csv": "image,caption\nMore/0.png,a\n"})
    check(load_pairs(folder), {"train": {9: ["a"]}})


def test_what_does_not_exist(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"There is no file .*none.csv"):
        load_pairs(tmp_path / "none.csv")
    write(folder, {"captions.txt": KAGGLE})
    with pytest.raises(DatasetError, match=r"is a file: it has no configuration 'small'"):
        load_pairs(folder / "captions.txt", "small")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="cannot be opened as a file"):
        load_pairs(tmp_path / "empty")
    assert config_names(tmp_path / "empty") == []
    (tmp_path / "latin.csv").write_bytes("image,caption\n0.png,caf\xe9\n".encode("latin-1"))
    with pytest.raises(DatasetError, match=r"latin.csv is not UTF-8"):
        load_pairs(tmp_path / "latin.csv")
