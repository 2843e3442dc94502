"""Files that are written anew are read anew, whatever `datasets` has in its cache."""

import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import datasets
import pytest
from PIL import Image

from noisy_xmodal.data import load_pairs
from tar_files import write_tar

Colors = Sequence[str]


def picture(color: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (5, 4), color).save(file, "BMP")  # of one size for all colors
    return file.getvalue()


def parquet(place: Path, colors: Colors) -> Path:
    columns = {
        "image": [{"bytes": picture(color), "path": None} for color in colors],
        "captions": [["a picture"]] * len(colors),
        "image_id": list(map(str, range(len(colors)))),
    }
    rows = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    rows.to_parquet(place.with_suffix(".parquet"))
    return place.with_suffix(".parquet")


def card(place: Path, colors: Colors) -> Path:
    (place / "data").mkdir(parents=True, exist_ok=True)
    parquet(place / "data" / "train", colors)
    files = "[{split: train, path: data/train.parquet}]"
    config = f"configs:\n- config_name: default\n  data_files: {files}\n"
    (place / "README.md").write_text(f"---\n{config}---\n")
    return place


def shard(place: Path, colors: Colors) -> Path:
    pictures = [(f"{number}.bmp", picture(color)) for number, color in enumerate(colors)]
    texts = [(f"{number}.txt", "a picture") for number in range(len(colors))]
    return write_tar(place.with_suffix(".tar"), [*pictures, *texts])


def table(place: Path, colors: Colors) -> Path:
    place.mkdir(exist_ok=True)
    for number, color in enumerate(colors):
        (place / f"{number}.bmp").write_bytes(picture(color))
    rows = [{"file_name": f"{n}.bmp", "text": "a picture"} for n in range(len(colors))]
    (place / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return place


def classes(place: Path, colors: Colors) -> Path:
    """Parquet files whose names are of no split, so that `datasets` looks for itself."""
    place.mkdir(exist_ok=True)
    parquet(place / "photos", colors)
    return place


def colors_of(place: Path) -> list[tuple[int, ...]]:
    return [one.convert("RGB").getpixel((0, 0)) for one in load_pairs(place)["train"]["image"]]


@pytest.mark.parametrize("write", [parquet, card, shard, table, classes])
def test_what_is_written_anew_is_read_anew(
    write: Callable[[Path, Colors], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    place = write(tmp_path / "data", ["red", "blue"])
    assert colors_of(place) == [(255, 0, 0), (0, 0, 255)]
    write(tmp_path / "data", ["red", "white"])
    assert colors_of(place) == [(255, 0, 0), (255, 255, 255)]
    write(tmp_path / "data", ["red", "white", "black"])
    assert len(colors_of(place)) == 3


@pytest.mark.parametrize("write", [parquet, card, table, classes])
def test_times_that_are_kept_hide_nothing(
    write: Callable[[Path, Colors], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As `cp -p` and `rsync -t` do."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    place = write(tmp_path / "data", ["red", "blue"])
    colors_of(place)
    files = [path for path in tmp_path.glob("data*/**/*") if path.is_file()]
    files += [place] if place.is_file() else []
    before = {path: path.stat().st_mtime_ns for path in files}
    write(tmp_path / "data", ["red", "white"])
    for path, time in before.items():
        os.utime(path, ns=(time, time))
    assert colors_of(place) == [(255, 0, 0), (255, 255, 255)]
