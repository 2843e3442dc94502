"""Writes a dataset as a folder of Parquet that `load_dataset(folder, config)` opens.

OUT/README.md                      the card: configs, files, noise protocol
OUT/noise_protocol.json            the protocol of every config
OUT/{config}/train-*.parquet       one train split per config
OUT/evaluation/{split}-*.parquet   the evaluation splits, stored once, used by all configs
"""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets

from ..card import CardText, render_card
from ..columns import DatasetError
from ..protocol import noise_protocol
from .base import TRAIN, NoisyPairsBuilder

EVALUATION = "evaluation"


def write_parquet_folder(
    builders: Sequence[NoisyPairsBuilder], out: str | Path, text: CardText, overwrite: bool = False
) -> Path:
    """Builds some configs of one dataset into one folder.

    The folder is written aside and then renamed: it is whole, or it is not there.

    Args:
        builders: One per config, of the same dataset; the first is the card's default config.
        out: The folder to make.
        text: What the card says.
        overwrite: Replace `out` where it exists.

    Returns:
        The folder.

    Raises:
        DatasetError: `out` exists and is not empty, and `overwrite` is false.
    """
    out = Path(os.path.abspath(out))
    check_out(out, overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as aside:
        folder = Path(aside) / "dataset"
        folder.mkdir()
        _fill(folder, builders, text)
        if out.exists():
            os.replace(out, Path(aside) / "replaced")
        os.replace(folder, out)
    return out


def check_out(out: str | Path, overwrite: bool) -> None:
    """Refuses a folder with content, unless it may be replaced.

    Raises:
        DatasetError: `out` is a file, or a folder that is not empty while `overwrite` is false.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise DatasetError(f"{out} is a file; give a folder.")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise DatasetError(
            f"{out} is not empty. Give another folder, or --overwrite to replace it."
        )


def _fill(folder: Path, builders: Sequence[NoisyPairsBuilder], text: CardText) -> None:
    first = builders[0]
    names = list(first.clean_splits)
    evaluation = tuple(name for name in names if name != TRAIN)
    shared = _write_splits(first, evaluation, folder / EVALUATION) if evaluation else {}
    infos: dict[str, datasets.DatasetInfo] = {}
    protocols: dict[str, Any] = {}
    data_files = {}
    for builder in builders:
        name = builder.config.name
        builder.clean_splits = first.clean_splits
        own = _write_splits(builder, (TRAIN,), folder / name) if TRAIN in names else {}
        infos[name] = _whole_info(builder.info, {**own, **shared})
        protocols[name] = noise_protocol(builder) or {}
        data_files[name] = {
            split: f"{name if split == TRAIN else EVALUATION}/{split}-*.parquet" for split in names
        }
    (folder / "noise_protocol.json").write_text(json.dumps(protocols, indent=2) + "\n")
    render_card(text, infos, data_files, protocols).save(folder / "README.md")


def _write_splits(
    builder: NoisyPairsBuilder, splits: tuple[str, ...], folder: Path
) -> dict[str, Any]:
    """Writes some splits of one config as `{split}-*.parquet`.

    Returns:
        The `datasets.SplitInfo` of each.
    """
    builder.splits = splits
    builder.info.splits = None  # what was built before would be expected again
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        built = Path(work) / "built"
        builder.download_and_prepare(str(built), file_format="parquet")
        folder.mkdir()
        for file in sorted(built.glob("*.parquet")):
            shutil.move(file, folder / _file_name(file.name, builder.dataset_name))
    return dict(builder.info.splits)


def _file_name(written: str, dataset_name: str) -> str:
    """Drops the dataset's name, and numbers the only file of a split like one of many."""
    stem = written.removeprefix(f"{dataset_name}-").removesuffix(".parquet")
    return f"{stem}.parquet" if "-of-" in stem else f"{stem}-00000-of-00001.parquet"


def _whole_info(info: datasets.DatasetInfo, splits: dict[str, Any]) -> datasets.DatasetInfo:
    whole = info.copy()
    whole.splits = datasets.SplitDict()
    for split in splits.values():
        whole.splits.add(split)
    whole.dataset_size = sum(split.num_bytes for split in splits.values())
    whole.download_size = None
    return whole
