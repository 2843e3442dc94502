"""CC152K: features and pictures in the published layout, unknown noise, and errors by line."""

import json
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from noisy_xmodal.data.columns import DatasetError, validate_pairs
from noisy_xmodal.data.pair_dataset import PairDataset
from noisy_xmodal.data.protocol import NOISE_VERSION, noise_protocol
from noisy_xmodal.data.readers import CC152K, write_dataset
from noisy_xmodal.data.readers.cc152k import read_pairs

SIZES = {"train": 6, "dev": 3, "test": 2}
REGIONS = (36, 2048)

_LOAD = """
import json, sys
import datasets
found = datasets.load_dataset(sys.argv[1], "natural", cache_dir=sys.argv[2])
assert not any(name.startswith("noisy_xmodal") for name in sys.modules)
plain = ["image_id", "captions"]
print(json.dumps({
    "columns": {name: split.column_names for name, split in found.items()},
    "rows": {name: split.select_columns(plain).to_list() for name, split in found.items()},
}))
"""


def link(split: str, row: int) -> str:
    return f"https://example.org/{split}/{row}.jpg"


def image_id(split: str, row: int) -> str:
    """Named as published: a number and the CRC-32 of the link."""
    return f"{1100 + row}_{zlib.crc32(link(split, row).encode())}"


def caption(split: str, row: int) -> str:
    return f"{split} person no . {row} , walking by the sea ."


def write_captions(folder: Path, split: str, extra: bool = False) -> None:
    folder.mkdir(exist_ok=True)
    rows = range(SIZES[split])
    lines = [f"{image_id(split, row)}\t{caption(split, row)}" for row in rows]
    if extra:
        lines = [f"{line}\t{link(split, row)}" for row, line in enumerate(lines)]
    (folder / f"{split}_caps.tsv").write_bytes("".join(f"{line}\r\n" for line in lines).encode())


def features(split: str, shape: Sequence[int] = REGIONS, dtype: Any = np.float32) -> np.ndarray:
    rng = np.random.default_rng(SIZES[split])
    return rng.standard_normal((SIZES[split], *shape), dtype=np.float32).astype(dtype)


@pytest.fixture
def feature_folder(tmp_path: Path) -> Path:
    """The published layout, with fewer rows and smaller vectors."""
    folder = tmp_path / "cc152k_precomp"
    for split in SIZES:
        write_captions(folder, split)
        np.save(folder / f"{split}_ims.npy", features(split, (3, 4)))
    return folder


@pytest.fixture
def picture_folder(tmp_path: Path) -> Path:
    """Train pictures in images/, dev pictures in dev/, test pictures without suffix."""
    folder = tmp_path / "cc152k"
    suffixes = {"train": (".jpg", ".png", ".JPEG", ".jpg", ".jfif")}
    suffixes |= {"dev": (".webp",), "test": ("",)}
    for split, size in SIZES.items():
        write_captions(folder, split, extra=True)
        pictures = folder / ("images" if split == "train" else split)
        pictures.mkdir()
        for row in range(size):
            suffix = suffixes[split][row % len(suffixes[split])]
            kind = {".png": "PNG", ".webp": "WEBP"}.get(suffix, "JPEG")
            name = image_id(split, row) + suffix
            Image.new("RGB", (8 + row, 8), (20 * row, 0, 0)).save(pictures / name, kind)
    return folder


def write(raw: Path, out: Path, **options: Any) -> dict[str, Any]:
    return write_dataset(CC152K, out, data_dir=str(raw), **options)


def load(out: Path) -> datasets.DatasetDict:
    return datasets.load_dataset(str(out), "natural", cache_dir=str(out.parent / "load_cache"))


def load_elsewhere(out: Path) -> dict[str, Any]:
    """What a process without this library reads."""
    cache = str(out.parent / "elsewhere")
    command = [sys.executable, "-c", _LOAD, str(out), cache]
    done = subprocess.run(command, capture_output=True, text=True, cwd=out.parent, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def expected_rows() -> dict[str, list[dict[str, Any]]]:
    names = {"train": "train", "dev": "validation", "test": "test"}
    return {
        names[split]: [
            {"image_id": image_id(split, row), "captions": [caption(split, row)]}
            for row in range(size)
        ]
        for split, size in SIZES.items()
    }


def check_unknown_noise(out: Path, loaded: datasets.DatasetDict) -> None:
    for split in loaded.values():
        assert "is_noisy" not in split.column_names
        assert PairDataset(split).is_noisy is None
        validate_pairs(split)
    assert noise_protocol(loaded["train"]) == {
        "type": "natural",
        "level": "caption",
        "ratio": None,
        "share_wrong": None,
        "n_wrong": None,
        "n_pairs": 6,
        "config": "natural",
        "seed": None,
        "version": NOISE_VERSION,
    }
    line = "| `natural` | natural | caption | - | unknown | unknown, of 6 pairs |"
    assert line in (out / "README.md").read_text()


def test_features(tmp_path: Path) -> None:
    raw, out = tmp_path / "cc152k_precomp", tmp_path / "out"
    for split in SIZES:
        write_captions(raw, split)
        np.save(raw / f"{split}_ims.npy", features(split))
    write(raw, out)
    seen = load_elsewhere(out)
    assert seen["rows"] == expected_rows()
    assert set(seen["columns"]["train"]) == {"regions", "image_id", "captions"}
    loaded = load(out)
    check_unknown_noise(out, loaded)
    for name, split in (("train", "train"), ("validation", "dev"), ("test", "test")):
        for row, item in enumerate(PairDataset(loaded[name]).__getitems__([0, 1])):
            np.testing.assert_array_equal(item["regions"], features(split)[row])
            assert item["regions"].dtype == np.float32
    assert (
        "train: 6 rows; features of 36 x 2048 float32; 6 captions"
        in (out / "README.md").read_text()
    )


def test_pictures(picture_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(picture_folder, out)
    seen = load_elsewhere(out)
    assert seen["rows"] == expected_rows()
    assert set(seen["columns"]["train"]) == {"image", "image_id", "captions"}
    loaded = load(out)
    check_unknown_noise(out, loaded)
    for split in loaded.values():
        assert [item["image"].width for item in PairDataset(split).__getitems__([0, 1])] == [8, 9]
    stored = loaded["train"].cast_column("image", datasets.Image(decode=False))[0]["image"]
    assert stored["bytes"] == (picture_folder / "images" / stored["path"]).read_bytes()


def test_ids_that_are_paths(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    (raw / "validation" / "a b").mkdir(parents=True)
    Image.new("RGB", (5, 5)).save(raw / "validation" / "a b" / "1.jpg")
    (raw / "test_caps.tsv").write_text("image_id\tcaption\nvalidation/a b/1.jpg\tsunset\n")
    write(raw, tmp_path / "out")
    loaded = load(tmp_path / "out")
    assert set(loaded) == {"test"}
    assert loaded["test"]["image_id"][:] == ["validation/a b/1.jpg"]


def test_other_features(feature_folder: Path, tmp_path: Path) -> None:
    for split in SIZES:
        np.save(feature_folder / f"{split}_ims.npy", features(split, (4,), np.float16))
    write(feature_folder, tmp_path / "out")
    item = PairDataset(load(tmp_path / "out")["train"])[2]
    np.testing.assert_array_equal(item["regions"], features("train", (4,), np.float16)[2:3])


def test_bad_pictures_can_be_left_out(picture_folder: Path, tmp_path: Path) -> None:
    out, images = tmp_path / "out", picture_folder / "images"
    (images / f"{image_id('train', 1)}.png").unlink()
    (images / f"{image_id('train', 3)}.jpg").write_text("<html>gone</html>")
    with pytest.raises(DatasetError, match=r"_caps\.tsv, line 2: no picture of '1101_.*1 of 6"):
        write(picture_folder, out)
    splits = write(picture_folder, out, on_bad_image="skip")
    assert len(splits["train"]) == 4
    loaded = load(out)
    assert loaded["train"].select_columns(["image_id", "captions"]).to_list() == [
        row for i, row in enumerate(expected_rows()["train"]) if i not in (1, 3)
    ]
    assert noise_protocol(loaded["train"])["n_pairs"] == 4
    card = (out / "README.md").read_text()
    assert "1 of 6 pictures were missing" in card
    assert "1 of 5 pictures do not decode" in card


def test_pictures_that_do_not_decode(picture_folder: Path, tmp_path: Path) -> None:
    name = image_id("dev", 2)
    (picture_folder / "dev" / f"{name}.webp").write_bytes(b"gone")
    with pytest.raises(DatasetError, match=rf"1 of 11 pictures are bad\. {name} .*on_bad_image"):
        write(picture_folder, tmp_path / "out")


def test_a_folder_without_any_picture(picture_folder: Path, tmp_path: Path) -> None:
    (picture_folder / "images").rename(picture_folder / "pictures")
    for mode in ("error", "skip"):
        with pytest.raises(DatasetError, match=r"line 1: no picture of .*; 6 of 6 pairs have none"):
            write(picture_folder, tmp_path / "out", on_bad_image=mode)


def test_two_files_of_one_id(picture_folder: Path, tmp_path: Path) -> None:
    images = picture_folder / "images"
    name = image_id("train", 0)
    (images / f"{name}.png").write_bytes((images / f"{name}.jpg").read_bytes())
    (images / f"{name}.json").write_text("{}")
    with pytest.raises(DatasetError, match=rf"train_caps\.tsv, line 1: '{name}' has two files"):
        write(picture_folder, tmp_path / "out")


@pytest.mark.parametrize("config", ["clean", "cmp_40", "sym_20", "noise_index"])
def test_noise_is_not_added_to_noise(feature_folder: Path, tmp_path: Path, config: str) -> None:
    with pytest.raises(DatasetError, match=rf"no config '{config}'\. Known configs: natural\."):
        write(feature_folder, tmp_path / "out", configs=[config])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ('1\t"a ""b"" c"\n2\td\n', [("1", 'a "b" c'), ("2", "d")]),
        ('1\t"so" he said\n2\tthe "d"\n', [("1", "so he said"), ("2", 'the "d"')]),
        ("1\t  a  \r\n2\tb\u2028c", [("1", "a"), ("2", "b\u2028c")]),
        ('1\ta\n2\t"b\n', [("1", "a"), ("2", "b")]),
        ("title\tfilepath\na\t1.jpg\n", [("1.jpg", "a")]),
        ("\ufeffid\tcaption\tsource\n1\ta\tx\n", [("1", "a")]),
        ("1\ta\thttp://x.org/y\n", [("1", "a")]),
    ],
)
def test_caption_files(tmp_path: Path, text: str, pairs: list[tuple[str, str]]) -> None:
    path = tmp_path / "dev_caps.tsv"
    path.write_bytes(text.encode())
    assert [(name, caption) for _, name, caption in read_pairs(path)] == pairs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no pairs"),
        ("image_id\tcaption\n", "has no pairs"),
        ("1\ta\n2\t \n", "line 2: the caption is empty"),
        ("1\ta\n\tb\n", "line 2: the image id is empty"),
        ("1\ta\n\n2\tb\n", "line 2: the line is empty"),
        ("\n1\ta\n", "line 1: the line is empty"),
        ("1\ta\n2 b\n", "line 2: found 0 tabs, expected 1"),
        ("1 a\n", "line 1: found 0 tabs, expected 1"),
        ("1\ta\n2\tb\tc\n", "line 2: found 2 tabs, expected 1"),
        ("1\tb\tc\n", "line 1: found 2 tabs, expected 1 .*header line"),
        ("1\ta\n1\tb\n", "line 2: the id '1' is already on line 1"),
        ('1\ta\n2\t"b\n3\tc\n4\td"\n', r"line 2: .*quote that does not end .* on line 4\)"),
        ('1\ta\n2\t"b' + "\n3\tc" * 50_000, "line 2: .*quote that does not end"),
        ("image_id\tfilepath\tcaption\n1\t1.jpg\ta\n", "line 1: the header .* more than one"),
        ("a dog runs\t12_34\n", "line 1: .* look like caption and image id"),
        ("a dog runs\thttps://x.org/a.jpg\n", "captions and links.*img2dataset.*pairs.py"),
        (
            "caption\turl\na dog runs\thttps://x.org/a.jpg\n",
            "line 2: .*captions and links.*img2dataset",
        ),
    ],
)
def test_caption_files_that_break_the_layout(
    feature_folder: Path, tmp_path: Path, text: str, message: str
) -> None:
    (feature_folder / "dev_caps.tsv").write_text(text)
    with pytest.raises(DatasetError, match=rf"dev_caps\.tsv.* {message}"):
        write(feature_folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda raw: (raw / "dev_caps.tsv").unlink(), r"dev_caps\.tsv is missing"),
        (lambda raw: (raw / "dev_ims.npy").unlink(), r"dev_ims\.npy is missing"),
        (lambda raw: (raw / "dev_caps.tsv").write_bytes(b"1\t\xff\n"), "is not UTF-8"),
        (
            lambda raw: np.save(raw / "dev_ims.npy", features("test", (3, 4))),
            r"dev_ims\.npy has 2 rows for the 3 pairs of dev_caps\.tsv",
        ),
        (
            lambda raw: np.save(raw / "dev_ims.npy", features("dev", (3, 5))),
            r"differ in feature dimension or type.*'dev_ims\.npy': '5 float32'",
        ),
        (
            lambda raw: np.save(raw / "dev_ims.npy", features("dev", (3, 4)) / 0),
            r"dev_ims\.npy, row 0 .*: the features have NaN",
        ),
        (
            lambda raw: np.save(raw / "dev_ims.npy", np.ones((3, 3, 4))),
            r"dev_ims\.npy is float64",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_files_that_do_not_fit(
    feature_folder: Path, tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(feature_folder)
    with pytest.raises(DatasetError, match=message):
        write(feature_folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_and_the_list_of_links(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    with pytest.raises(DatasetError, match="has no split: expected train, dev or test"):
        write(raw, tmp_path / "out")
    listing = raw / "Train_GCC-training.tsv"
    listing.write_text("a dog runs\thttps://x.org/a.jpg\n")
    for given in (raw,):
        with pytest.raises(DatasetError, match=r"Train_GCC.*not downloaded here.*img2dataset"):
            write(given, tmp_path / "out")
    with pytest.raises(DatasetError, match="data_dir"):
        _ = CC152K(config_name="natural", cache_dir=str(tmp_path)).splits


def test_the_builder_reads_changed_pictures_anew(picture_folder: Path, tmp_path: Path) -> None:
    def width() -> int:
        builder = CC152K(data_dir=str(picture_folder), cache_dir=str(tmp_path / "cache"))
        builder.download_and_prepare()
        return int(builder.as_dataset("validation")[0]["image"].width)

    assert width() == 8
    Image.new("RGB", (30, 8)).save(picture_folder / "dev" / f"{image_id('dev', 0)}.webp")
    assert width() == 30
