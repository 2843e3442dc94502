"""Write the dataset without its wrong pairs, or with the probability that each pair is right."""

import hashlib
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets.table import embed_table_storage

from ..data.builders.parquet_shards import ParquetShards
from ..data.columns import CAPTIONS, IMAGE_ID, IS_NOISY, column_values
from ..files import atomic_write
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

The dropped pairs are listed in `dropped.jsonl`.
"""


class CleaningRefusedError(ValueError):
    """The clean dataset was not written; all other results of the audit were.

    Args:
        message: The reason and a remedy.
        summary: The summary of the audit.
    """

    def __init__(self, message: str, summary: dict[str, Any]) -> None:
        super().__init__(message)
        self.summary = summary


def cleaning_problem(options: AuditOptions, judgement: Judgement) -> str | None:
    """The reason why the clean dataset cannot be written, or None.

    Args:
        options: Options of the audit.
        judgement: The judgement of every pair.
    """
    if options.clean is None or options.clean_weights:
        return None
    if not judgement.share.can_tell and not options.force_clean:
        return (
            f"{options.clean} was not written, because the judge cannot tell which pairs are "
            "wrong. Give --force_clean to write it anyway, or --clean_weights to keep all pairs "
            "with their probabilities."
        )
    if not (judgement.clean_probability >= options.clean_threshold).any():
        return (
            f"{options.clean} was not written, because no pair has a clean probability of "
            f"{options.clean_threshold:g}. Lower --clean_threshold, or keep all pairs with "
            "--clean_weights."
        )
    return None


def write_clean_dataset(
    dataset: datasets.Dataset,
    clean_probability: np.ndarray,
    out: Path,
    name: str,
    split: str,
    threshold: float = 0.5,
    weights: bool = False,
) -> dict[str, Any]:
    """Write a dataset without the pairs that were judged wrong, or all pairs with their weights.

    The folder is written atomically; `load_dataset(out)` opens it.

    Args:
        dataset: The judged rows.
        clean_probability: Of each pair, (n_pairs,).
        out: Folder to create.
        name: Name of the dataset, for the card.
        split: Name of the split.
        threshold: Pairs with a lower probability are dropped.
        weights: Keep all pairs, with a column `clean_probability` of one number per caption.

    Returns:
        The counts `pairs_dropped`, `images_dropped` (all of whose captions are dropped),
        `pairs_kept` and `images_kept`.
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
    names = column_values(dataset, IMAGE_ID)
    rows = _filter_captions(dataset, lists, keep, by_row if weights else None).select(kept_rows)
    folder = f"data-{_digest(names, lists, keep, by_row)}"
    text = (
        f"All {facts['pairs_kept']:,} pairs, with the probability that each is right in the column "
        f"`{WEIGHTS}`, one number per caption."
        if weights
        else f"{facts['pairs_dropped']:,} pairs whose probability of being right is below "
        f"{threshold:g} were dropped, and {facts['images_dropped']:,} images without a remaining "
        f"caption; {facts['pairs_kept']:,} pairs of {facts['images_kept']:,} images remain."
    )
    with atomic_write(out) as aside:
        aside.mkdir()
        _write_dropped(aside / "dropped.jsonl", names, lists, keep, by_row)
        with ParquetShards(aside / folder, split, rows.features) as shards:
            stored = rows.with_format("arrow")
            for start in range(0, len(rows), _BLOCK_ROWS):
                table = embed_table_storage(stored[start : start + _BLOCK_ROWS])
                shards.write(table.cast(shards.schema).combine_chunks())
        (aside / "README.md").write_text(
            _CARD.format(folder=folder, split=split, name=name, text=text), encoding="utf-8"
        )
    return facts


def _filter_captions(
    dataset: datasets.Dataset,
    lists: list[list[str]],
    keep: list[np.ndarray],
    weights: list[np.ndarray] | None,
) -> datasets.Dataset:
    """The rows with the remaining captions, and their flags and weights."""
    features = dataset.features
    columns: dict[str, tuple[list[Any], Any]] = {
        CAPTIONS: (_filter(lists, keep), features[CAPTIONS])
    }
    if IS_NOISY in features:
        columns[IS_NOISY] = (_filter(column_values(dataset, IS_NOISY), keep), features[IS_NOISY])
    if weights is not None:
        feature = datasets.List(datasets.Value("float32"))
        columns[WEIGHTS] = ([own.astype(np.float32).tolist() for own in weights], feature)
    rows = dataset.remove_columns([name for name in columns if name in features])
    for name, (values, feature) in columns.items():
        rows = rows.add_column(name, values, feature=feature)
    return rows


def _filter(lists: list[list[Any]], keep: list[np.ndarray]) -> list[list[Any]]:
    return [
        [value for value, kept in zip(values, own.tolist(), strict=True) if kept]
        for values, own in zip(lists, keep, strict=True)
    ]


def _digest(
    names: list[str], lists: list[list[str]], keep: list[np.ndarray], by_row: list[np.ndarray]
) -> str:
    """A hash of the content for the folder's name, by which `datasets` caches the dataset."""
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
        for name, texts, own, values in zip(names, lists, keep, by_row, strict=True):
            for text, kept, value in zip(texts, own.tolist(), values.tolist(), strict=True):
                if not kept:
                    row = {"image_id": name, "caption": text, WEIGHTS: round(value, 4)}
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
