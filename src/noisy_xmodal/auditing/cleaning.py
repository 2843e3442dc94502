"""The dataset without its wrong pairs, or with how far each is believed."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets.table import embed_table_storage

from ..data.builders.parquet_shards import ParquetShards
from ..data.columns import CAPTIONS, IMAGE_ID, IS_NOISY, column_values
from .judgement import Judgement
from .options import AuditOptions

WEIGHTS = "clean_probability"
_BLOCK_ROWS = 256

_CARD = """---
configs:
- config_name: default
  data_files:
  - split: {split}
    path: {folder}/{split}-*.parquet
---
# {name}, audited

{text}

What was dropped is listed in `dropped.jsonl`.
"""


class CleaningRefusedError(ValueError):
    """The clean dataset that was asked for was not written; everything else of the audit was.

    Args:
        message: Why, and what to do.
        summary: What the audit returns otherwise.
    """

    def __init__(self, message: str, summary: dict[str, Any]) -> None:
        super().__init__(message)
        self.summary = summary


def why_not_cleaned(options: AuditOptions, judgement: Judgement) -> str | None:
    """Why the clean dataset is not written, as a sentence; None where it is, or is not asked for.

    Args:
        options: What is asked for.
        judgement: What is known of every pair.
    """
    if options.clean is None or options.clean_weights:
        return None
    if not judgement.share.can_tell and not options.force_clean:
        return (
            f"{options.clean} was not written, for the judge cannot tell which pairs are wrong. "
            "Give --force_clean to write it all the same, or --clean_weights to keep all pairs "
            "with their probabilities."
        )
    if not (judgement.clean_probability >= options.clean_threshold).any():
        return (
            f"{options.clean} was not written, for no pair has a clean probability of "
            f"{options.clean_threshold:g}. Lower --clean_threshold, or keep all with "
            "--clean_weights."
        )
    return None


def write_cleaned(
    dataset: datasets.Dataset,
    clean_probability: np.ndarray,
    out: Path,
    name: str,
    split: str,
    threshold: float = 0.5,
    weights: bool = False,
) -> dict[str, Any]:
    """Write a dataset without the pairs that were judged wrong, or with all and their weights.

    The folder is written aside and renamed; `load_dataset(out)` opens it.

    Args:
        dataset: The rows that were judged.
        clean_probability: Of each pair, (n_pairs,).
        out: Folder to make.
        name: What the dataset is called, for the card.
        split: Name of the split.
        threshold: Pairs of a lower probability are dropped.
        weights: Keep all pairs, with a column `clean_probability`, a number a caption.

    Returns:
        What was dropped: `pairs_dropped`, `images_dropped` (with all their captions), `pairs_kept`,
        `images_kept`.
    """
    lists = column_values(dataset, CAPTIONS)
    ends = np.cumsum([len(texts) for texts in lists])
    by_row = np.split(clean_probability, ends[:-1])
    keep = [np.full(len(own), True) if weights else own >= threshold for own in by_row]
    kept_rows = [row for row, own in enumerate(keep) if own.any()]
    facts = {
        "pairs_dropped": int(sum((~own).sum() for own in keep)),
        "images_dropped": len(lists) - len(kept_rows),
        "pairs_kept": int(sum(own.sum() for own in keep)),
        "images_kept": len(kept_rows),
    }
    aside = out.with_name(f".{out.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    names = column_values(dataset, IMAGE_ID)
    _write_dropped(aside / "dropped.jsonl", names, lists, keep, by_row)
    rows = _without(dataset, lists, keep, by_row if weights else None).select(kept_rows)
    folder = f"data-{_digest(names, lists, keep, by_row)}"
    with ParquetShards(aside / folder, split, rows.features) as shards:
        stored = rows.with_format("arrow")
        for start in range(0, len(rows), _BLOCK_ROWS):
            table = embed_table_storage(stored[start : start + _BLOCK_ROWS])
            shards.write(table.cast(shards.schema).combine_chunks())
    text = (
        f"All {facts['pairs_kept']:,} pairs, with the probability that each is right in the column "
        f"`{WEIGHTS}`, a number a caption."
        if weights
        else f"{facts['pairs_dropped']:,} pairs whose probability of being right is below "
        f"{threshold:g} were dropped, and {facts['images_dropped']:,} images that were left with "
        f"no caption; {facts['pairs_kept']:,} pairs of {facts['images_kept']:,} images are left."
    )
    (aside / "README.md").write_text(
        _CARD.format(folder=folder, split=split, name=name, text=text), encoding="utf-8"
    )
    if out.is_dir():
        out.rmdir()  # it was found empty
    os.replace(aside, out)
    return facts


def _without(
    dataset: datasets.Dataset,
    lists: list[list[str]],
    keep: list[np.ndarray],
    weights: list[np.ndarray] | None,
) -> datasets.Dataset:
    """The rows with the captions that are kept, and their flags and weights."""
    features = dataset.features
    columns: dict[str, tuple[list[Any], Any]] = {
        CAPTIONS: (_chosen(lists, keep), features[CAPTIONS])
    }
    if IS_NOISY in features:
        columns[IS_NOISY] = (_chosen(column_values(dataset, IS_NOISY), keep), features[IS_NOISY])
    if weights is not None:
        kind = datasets.List(datasets.Value("float32"))
        columns[WEIGHTS] = ([own.astype(np.float32).tolist() for own in weights], kind)
    left = dataset.remove_columns([name for name in columns if name in features])
    for name, (values, feature) in columns.items():
        left = left.add_column(name, values, feature=feature)
    return left


def _chosen(lists: list[list[Any]], keep: list[np.ndarray]) -> list[list[Any]]:
    return [
        [value for value, kept in zip(values, own.tolist(), strict=True) if kept]
        for values, own in zip(lists, keep, strict=True)
    ]


def _digest(
    names: list[str], lists: list[list[str]], keep: list[np.ndarray], by_row: list[np.ndarray]
) -> str:
    """Names what is written: `datasets` takes folders of one name and one card for the same."""
    digest = hashlib.sha256(json.dumps([names, lists]).encode())
    for values in (*keep, *by_row):
        digest.update(values.tobytes())
    return digest.hexdigest()[:12]


def _write_dropped(
    path: Path,
    names: list[str],
    lists: list[list[str]],
    keep: list[np.ndarray],
    by_row: list[np.ndarray],
) -> None:
    with path.open("w", encoding="utf-8") as file:
        for name, texts, own, chances in zip(names, lists, keep, by_row, strict=True):
            for text, kept, chance in zip(texts, own.tolist(), chances.tolist(), strict=True):
                if not kept:
                    row = {"image_id": name, "caption": text, WEIGHTS: round(chance, 4)}
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
