"""Pascal Sentence: pictures with sentences in the layout of the page's copies, and vectors."""

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from noisy_xmodal.data.columns import DatasetError, validate_pairs
from noisy_xmodal.data.protocol import noise_protocol
from noisy_xmodal.data.readers import CleanSplit
from noisy_xmodal.data.readers.pascal_sentence import PascalSentence
from noisy_xmodal.data.writing import write_dataset

CLASSES = ("aeroplane", "bird", "sofa")


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (number % 256, 3, 7)).save(buffer, "JPEG")
    return buffer.getvalue()


def write_pascal(
    folder: Path,
    per_class: int = 50,
    pictures: str = "dataset",
    sentences: str = "sentence",
    ending: str = ".txt",
) -> Path:
    """Writes three classes; a sentence names its class and picture."""
    for c, name in enumerate(CLASSES):
        (folder / pictures / name).mkdir(parents=True)
        (folder / sentences / name).mkdir(parents=True)
        for i in range(per_class):
            image_id = f"2008_{i:06d}"
            (folder / pictures / name / f"{image_id}.jpg").write_bytes(picture(50 * c + i))
            text = "".join(f"A {name} of {image_id}, sentence {k}.\n" for k in range(5))
            (folder / sentences / name / f"{image_id}{ending}").write_text(text)
    return folder


def read(folder: Path) -> dict[str, CleanSplit]:
    return PascalSentence(data_dir=str(folder)).read()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_pascal(tmp_path / "raw")


def load(out: Path, config: str) -> datasets.DatasetDict:
    return datasets.load_dataset(str(out), config, cache_dir=str(out.parent / "load_cache"))


def is_wrong(row: dict[str, object]) -> list[bool]:
    name, image_id = str(row["image_id"]).split("/")
    return [f"A {name} of {image_id}," not in text for text in row["captions"]]


def test_round_trip(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_dataset(PascalSentence, out, ["clean"], data_dir=str(raw))
    loaded = load(out, "clean")
    assert {name: len(split) for name, split in loaded.items()} == {
        "train": 120,
        "validation": 15,
        "test": 15,
    }
    for split, first, last in (("train", 0, 40), ("validation", 40, 45), ("test", 45, 50)):
        stored = loaded[split].cast_column("image", datasets.Image(decode=False))
        ids = [f"{name}/2008_{i:06d}" for name in CLASSES for i in range(first, last)]
        assert stored["image_id"][:] == ids
        for row in stored:
            name, image_id = row["image_id"].split("/")
            path = raw / "dataset" / name / f"{image_id}.jpg"
            assert row["image"]["bytes"] == path.read_bytes()
            assert stored.features["true_label"].int2str(row["true_label"]) == name
            assert len({row[f"{kind}_label"] for kind in ("image", "text", "true")}) == 1
            assert len(row["captions"]) == 5
            assert not any(is_wrong(row))
        validate_pairs(loaded[split])
    assert Counter(loaded["train"]["true_label"][:]) == {0: 40, 1: 40, 2: 40}
    card = (out / "README.md").read_text()
    assert "were not at hand" in card
    assert "3 classes, not 20" in card


def test_noise_on_labels_leaves_sentences_alone(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_dataset(PascalSentence, out, ["clean", "sym_40", "sym_shared_40"], data_dir=str(raw))
    clean, noisy, shared = (load(out, name) for name in ("clean", "sym_40", "sym_shared_40"))
    assert noisy["train"]["captions"][:] == clean["train"]["captions"][:]
    assert not any(map(any, noisy["train"]["is_noisy"][:]))
    true = np.array(clean["train"]["true_label"][:])
    wrong = [(np.array(noisy["train"][f"{m}_label"][:]) != true).sum() for m in ("image", "text")]
    protocol = noise_protocol(noisy["train"])
    assert protocol is not None
    assert (protocol["n_wrong"], protocol["n_labels"]) == (sum(wrong), 240)
    assert max(wrong) <= 48
    assert shared["train"]["image_label"][:] == shared["train"]["text_label"][:]
    for split in ("validation", "test"):
        assert noisy[split].to_list() == clean[split].to_list()
    assert len(list(out.rglob("test-*.parquet"))) == 1


@pytest.mark.parametrize("config", ["cmp_40", "cmp_image_40"])
def test_noise_on_sentences_leaves_labels_alone(raw: Path, tmp_path: Path, config: str) -> None:
    out = tmp_path / "out"
    write_dataset(PascalSentence, out, [config], data_dir=str(raw))
    loaded = load(out, config)
    flags = loaded["train"]["is_noisy"][:]
    assert flags == [is_wrong(row) for row in loaded["train"].remove_columns("image")]
    assert sum(map(sum, flags)) == 240
    for column in ("image_label", "text_label"):
        assert loaded["train"][column][:] == loaded["train"]["true_label"][:]
    assert noise_protocol(loaded["train"])["n_pairs"] == 600


@pytest.mark.parametrize(
    ("pictures", "sentences", "ending"),
    [
        ("images", "sentences", ".txt"),
        ("dataset", "text", "txt"),
        ("images", "texts", ".txt"),
    ],
)
def test_names_of_folders_and_files(
    tmp_path: Path, pictures: str, sentences: str, ending: str
) -> None:
    raw = write_pascal(tmp_path / "raw", 10, pictures, sentences, ending)
    (raw / pictures / "bird" / ".DS_Store").touch()
    splits = read(raw)
    assert [len(split) for split in splits.values()] == [24, 3, 3]
    assert splits["train"].columns["image_id"][8] == "bird/2008_000000"
    assert splits["train"].captions[8][4] == "A bird of 2008_000000, sentence 4."


def test_an_incomplete_copy_says_so(tmp_path: Path) -> None:
    raw = write_pascal(tmp_path / "raw", 20)
    for path in raw.glob("*/bird/2008_000003.*"):
        path.unlink()
    (raw / "sentence" / "sofa" / "2008_000001.txt").write_text("One.\nTwo.")
    splits = read(raw)
    assert [len(split) for split in splits.values()] == [47, 5, 7]
    assert splits["train"].notes == [
        "3 classes, not 20",
        "class 'aeroplane' has 20 pictures, not 50",
        "class 'bird' has 19 pictures, not 50",
        "class 'sofa' has 20 pictures, not 50",
        "1 picture(s) without exactly 5 sentences",
    ]


def test_pictures_that_do_not_decode(tmp_path: Path) -> None:
    raw = write_pascal(tmp_path / "raw", 10)
    path = raw / "dataset" / "bird" / "2008_000002.jpg"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DatasetError, match=r"bird/2008_000002 "):
        write_dataset(PascalSentence, tmp_path / "out", ["clean"], data_dir=str(raw))
    assert not (tmp_path / "out").exists()
    splits = write_dataset(
        PascalSentence, tmp_path / "out", ["sym_40"], data_dir=str(raw), on_bad_image="skip"
    )
    assert len(splits["train"]) == 23
    loaded = load(tmp_path / "out", "sym_40")["train"]
    for row in loaded.remove_columns("image"):
        assert not any(is_wrong(row))
        assert CLASSES[row["true_label"]] == row["image_id"].split("/")[0]


def remove_class(raw: Path) -> None:
    for path in raw.glob("*/bird/2008_00000[0-4].*"):
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda raw: (raw / "dataset/bird/2008_000004.jpg").unlink(),
            r"bird/2008_000004\.txt has no picture of class 'bird' with the id '2008_000004'",
        ),
        (
            lambda raw: (raw / "sentence/bird/2008_000004.txt").unlink(),
            r"bird/2008_000004\.jpg has no sentences",
        ),
        (
            lambda raw: (raw / "sentence/bird/2008_000004.txt").write_text(""),
            r"2008_000004\.txt is empty",
        ),
        (
            lambda raw: (raw / "sentence/bird/2008_000004.txt").write_text("a\n\nb\n"),
            r"2008_000004\.txt, line 2: the line is empty",
        ),
        (
            lambda raw: (raw / "dataset/bird/2008_000004.png").touch(),
            r"2008_000004\.png and 2008_000004\.jpg have the same id",
        ),
        (lambda raw: (raw / "dataset/bird/Thumbs.db").touch(), r"Thumbs\.db is not a \.jpg"),
        (lambda raw: (raw / "sentence/bird/readme.md").touch(), r"readme\.md is not a \.txt file"),
        (lambda raw: (raw / "images").mkdir(), "found dataset and images"),
        (lambda raw: (raw / "sentence").rename(raw / "captions"), "sentence, .* found none"),
        (remove_class, r"class 'bird' has 5 pictures, too few for three splits"),
    ],
)
def test_folders_that_break_the_layout(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    raw = write_pascal(tmp_path / "raw", 10)
    spoil(raw)
    with pytest.raises(DatasetError, match=message):
        write_dataset(PascalSentence, tmp_path / "out", data_dir=str(raw))
    assert not (tmp_path / "out").exists()


def test_vectors(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    for split, n in (("train", 80), ("val", 10), ("test", 10)):
        np.save(raw / f"{split}_image.npy", np.random.default_rng(n).random((n, 6)))
        np.save(raw / f"{split}_text.npy", np.random.default_rng(n).random((n, 4)))
        np.save(raw / f"{split}_labels.npy", np.arange(n) % 5)
    write_dataset(PascalSentence, out, ["clean", "sym_40"], data_dir=str(raw))
    loaded = load(out, "sym_40")
    assert [len(split) for split in loaded.values()] == [80, 10, 10]
    np.testing.assert_array_equal(
        loaded["test"].with_format("numpy")[:]["image_features"],
        np.load(raw / "test_image.npy").astype(np.float32),
    )
    assert "captions" not in loaded["train"].column_names
    with pytest.raises(DatasetError, match=r"'cmp_40' gives captions .* feature vectors"):
        write_dataset(PascalSentence, tmp_path / "other", ["cmp_40"], data_dir=str(raw))
