"""A person's own data through the script: from files of theirs to noisy configs."""

import io
import json
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from noisy_xmodal.data import DatasetError, noise_protocol, validate_pairs
from noisy_xmodal.data.readers import OwnPairs, write_dataset
from tar_files import pairs, write_tar

SCRIPT = Path(__file__).parents[2] / "dataset_scripts" / "pairs.py"


def color(i: int) -> tuple[int, int, int]:
    return (10 * i, 5 * i, 255 - 10 * i)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of pictures with a table of two captions a picture."""
    folder = tmp_path / "photos"
    folder.mkdir()
    lines = ["photo,what it shows"]
    for i in range(10):
        Image.new("RGB", (6, 4), color(i)).save(folder / f"{i}.png")
        lines += [f'{i}.png,"picture {i}, first"', f"{i}.png,picture {i} second"]
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")
    return folder


def load(out: Path, config: str) -> datasets.DatasetDict:
    return datasets.load_dataset(str(out), config)


def test_the_script_writes_a_folder_of_pictures(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [
        *(SCRIPT, "--source", photos, "--caption_column", "what it shows", "--out", out),
        *("--configs", "clean", "cmp_40", "cmp_image_40"),
    ]
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "train: 10 rows, 20 captions" in done.stdout
    train = load(out, "cmp_40")["train"]
    validate_pairs(train)
    stored = train.cast_column("image", datasets.Image(decode=False))["image"]
    assert [picture["path"] for picture in stored] == [f"{i}.png" for i in range(10)]
    assert train["image_id"][:] == [f"{i}.png" for i in range(10)]
    for i, row in enumerate(train):
        assert row["image"].getpixel((1, 1)) == color(i)
        wrong = [f"picture {i}" not in text for text in row["captions"]]
        assert wrong == row["is_noisy"]
    assert sum(map(sum, train["is_noisy"])) == 8
    assert noise_protocol(load(out, "cmp_image_40")["train"])["level"] == "image"
    card = (out / "README.md").read_text()
    assert "whether the other captions are correct" in card
    assert str(tmp_path) not in card


def test_other_columns_stay(tmp_path: Path) -> None:
    rows = {
        "regions": np.arange(60, dtype=np.float32).reshape(5, 3, 4).tolist(),
        "caption": [f"text {i}" for i in range(5)],
        "source": ["web", "book", "web", "web", "book"],
    }
    datasets.Dataset.from_dict(rows).to_parquet(str(tmp_path / "mine.parquet"))
    write_dataset(OwnPairs, tmp_path / "out", ["clean"], source=str(tmp_path / "mine.parquet"))
    train = load(tmp_path / "out", "clean")["train"]
    assert train["source"][:] == rows["source"]
    assert train["captions"][:] == [[text] for text in rows["caption"]]
    np.testing.assert_array_equal(train["regions"][:], rows["regions"])


def test_bad_pictures_are_named_or_left_out(photos: Path, tmp_path: Path) -> None:
    (photos / "3.png").write_bytes((photos / "3.png").read_bytes()[:40])
    options = {"source": str(photos), "caption_column": "what it shows"}
    with pytest.raises(DatasetError, match=r"1 of 10 pictures are bad.*3\.png.*on_bad_image"):
        write_dataset(OwnPairs, tmp_path / "out", ["clean"], **options)
    assert not (tmp_path / "out").exists()
    write_dataset(OwnPairs, tmp_path / "out", ["cmp_image_40"], on_bad_image="skip", **options)
    train = load(tmp_path / "out", "cmp_image_40")["train"]
    assert len(train) == 9
    assert sum(map(sum, train["is_noisy"])) == 8  # round(.4 * 9) lists of two
    assert "1 of 10 pictures do not decode" in (tmp_path / "out" / "README.md").read_text()


def test_shards_that_are_not_whole(tmp_path: Path) -> None:
    for shard in range(2):
        members = pairs(range(4 * shard, 4 * shard + 4))
        write_tar(tmp_path / f"s-{shard}.tar", members[: 8 - shard])
    options = {"source": str(tmp_path / "s-{0..1}.tar")}
    with pytest.raises(DatasetError, match=r"1 sample without a caption: 007 in s-1\.tar"):
        write_dataset(OwnPairs, tmp_path / "out", ["clean"], **options)
    write_dataset(OwnPairs, tmp_path / "out", ["clean"], on_bad_image="skip", **options)
    assert load(tmp_path / "out", "clean")["train"]["captions"][:] == [
        [f"shade {shade}"] for shade in range(7)
    ]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "left out: 1 sample without a caption: 007 in s-1.tar" in card
    assert str(tmp_path) not in card


def test_embedded_pictures(tmp_path: Path) -> None:
    def stored(i: int) -> dict[str, object]:
        buffer = io.BytesIO()
        Image.new("RGB", (5, 5), color(i)).save(buffer, "png")
        return {"bytes": buffer.getvalue(), "path": None}

    rows = {"img": [stored(i) for i in range(6)], "text": [[f"a {i}", f"b {i}"] for i in range(6)]}
    data = datasets.Dataset.from_dict(rows).cast_column("img", datasets.Image())
    data.to_parquet(str(tmp_path / "mine.parquet"))
    mine = str(tmp_path / "mine.parquet")
    write_dataset(OwnPairs, tmp_path / "out", ["cmp_50"], source=mine)
    train = load(tmp_path / "out", "cmp_50")["train"]
    assert [picture.getpixel((0, 0)) for picture in train["image"]] == [color(i) for i in range(6)]


def test_pictures_that_a_table_names_are_never_replaced(photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.mkdir()
    lines = [f"{photos / f'{i}.png'},picture {i}" for i in range(10)]
    (table / "captions.csv").write_text("\n".join(["image,caption", *lines]) + "\n")
    source = str(table / "captions.csv")
    with pytest.raises(DatasetError, match=r"photos contains .*png, which is an input"):
        write_dataset(OwnPairs, photos, ["clean"], source=source, overwrite=True)
    assert len(list(photos.glob("*.png"))) == 10


def test_data_that_is_noisy_already_is_refused(photos: Path, tmp_path: Path) -> None:
    options = {"source": str(photos), "caption_column": "what it shows"}
    write_dataset(OwnPairs, tmp_path / "noisy", ["cmp_40"], **options)
    with pytest.raises(DatasetError, match="has noise already"):
        write_dataset(OwnPairs, tmp_path / "out", ["cmp_20"], source=str(tmp_path / "noisy"))
    protocols = json.loads((tmp_path / "noisy" / "noise_protocol.json").read_text())
    assert protocols["cmp_40"]["n_wrong"] == 8
    with pytest.raises(DatasetError, match="give source"):
        write_dataset(OwnPairs, tmp_path / "out", ["clean"])


def test_columns_that_splits_do_not_share_are_left_out(tmp_path: Path) -> None:
    for split, extra in (("train", ",photographer"), ("test", "")):
        lines = [f"image,caption{extra}"]
        for i in range(4):
            Image.new("RGB", (4, 4), color(i)).save(tmp_path / f"{split}{i}.png")
            lines.append(f"{split}{i}.png,{split} {i}" + (",me" if extra else ""))
        (tmp_path / f"{split}.csv").write_text("\n".join(lines) + "\n")
    write_dataset(OwnPairs, tmp_path / "out", ["clean"], source=str(tmp_path))
    loaded = load(tmp_path / "out", "clean")
    assert loaded["train"].column_names == loaded["test"].column_names
    assert "photographer" not in loaded["train"].column_names
    card = (tmp_path / "out" / "README.md").read_text()
    assert "left out, as not all splits have them: ['photographer']" in card


def test_the_builder_tells_folders_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def built(folder: str, words: str) -> list[list[str]]:
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        lines = ["image,caption"]
        for i in range(3):
            Image.new("RGB", (4, 4), color(i)).save(f"{i}.png")
            lines.append(f"{i}.png,{words} {i}")
        Path("captions.csv").write_text("\n".join(lines) + "\n")
        builder = OwnPairs(source="captions.csv")
        builder.download_and_prepare()
        return list(builder.as_dataset("train")["captions"])

    assert built("a", "cat") == [["cat 0"], ["cat 1"], ["cat 2"]]
    assert built("b", "dog") == [["dog 0"], ["dog 1"], ["dog 2"]]
