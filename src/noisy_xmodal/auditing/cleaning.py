"""Write the dataset without its wrong pairs, or with the probability that each pair is right."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import datasets
import numpy as np
from datasets.table import embed_table_storage

from ..arguments.audit import TROUBLES, AuditOptions
from ..data import PairDataset
from ..data.columns import CAPTIONS, IMAGE_ID, IS_NOISY, column_values
from ..data.parquet_shards import ParquetShards
from ..files import atomic_write
from .result import AuditResult

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


def clean_threshold(
    options: AuditOptions, clean_probability: np.ndarray, counts: np.ndarray | None = None
) -> float | None:
    """The least clean probability of a kept pair.

    With `clean_precision` it is the lowest one at which the mean clean probability of the kept
    pairs, their expected share of right ones, reaches that precision.

    Args:
        options: Options of the audit.
        clean_probability: (n_pairs,), or the distinct values.
        counts: How often each value occurs; once if None.

    Returns:
        The threshold; None if no threshold reaches the precision.
    """
    if options.clean_precision is None:
        return options.clean_threshold
    counts = np.ones(len(clean_probability)) if counts is None else counts
    values, place = np.unique(clean_probability, return_inverse=True)
    n_pairs = np.bincount(place, counts)  # of each value
    kept = np.cumsum((values * n_pairs)[::-1]) / np.cumsum(n_pairs[::-1])  # from the highest value
    reaching = np.flatnonzero(kept >= options.clean_precision)
    return float(values[::-1][reaching[-1]]) if len(reaching) else None


def cleaning_problem(
    options: AuditOptions,
    can_tell: bool,
    clean_probability: np.ndarray,
    counts: np.ndarray | None = None,
) -> str | None:
    """The reason why the clean dataset cannot be written, or None.

    Args:
        options: Options of the audit.
        can_tell: Whether the judge can tell which pairs are wrong.
        clean_probability: See `clean_threshold`.
        counts: Likewise.
    """
    if options.clean is None or options.clean_weights:
        return None
    if not can_tell and not options.force_clean:
        return (
            f"{options.clean} was not written, because the judge cannot tell which pairs are "
            "wrong. Give --force_clean to write it anyway, or --clean_weights to keep all pairs "
            "with their probabilities."
        )
    threshold = clean_threshold(options, clean_probability, counts)
    if threshold is None:
        return (
            f"{options.clean} was not written, because no set of pairs is expected to be right for "
            f"{options.clean_precision:g}: the best pairs have a clean probability of "
            f"{clean_probability.max():.4g}. Lower --clean_precision, or keep all pairs "
            "with --clean_weights."
        )
    if not (clean_probability >= threshold).any():
        return (
            f"{options.clean} was not written, because no pair has a clean probability of "
            f"{options.clean_threshold:g}. Lower --clean_threshold, or keep all pairs with "
            "--clean_weights."
        )
    return None


def write_clean_dataset(result: AuditResult) -> dict[str, Any]:
    """Write a dataset without the pairs that were judged wrong, or all pairs with their weights.

    The folder is written atomically; `load_dataset` opens it. Weights are a column
    `clean_probability` of one number per caption.

    Args:
        result: What the audit found; its options name the folder.

    Returns:
        The counts `pairs_dropped`, `images_dropped` (all of whose captions are dropped),
        `pairs_kept` and `images_kept`, and the `folder`.
    """
    options, pairs, split = result.options, result.rows.pairs, result.rows.split
    out, weights = options.clean, options.clean_weights
    clean_probability = result.judgement.clean_probability
    threshold = clean_threshold(options, clean_probability)
    assert out is not None, "there is a folder to write"
    assert threshold is not None, "cleaning_problem refuses"
    keep = np.full(len(pairs), True) if weights else clean_probability >= threshold  # (n_pairs,)
    troubles = [trouble for trouble in result.troubles if trouble.name in options.kinds_to_drop]
    for trouble in troubles:
        keep &= ~trouble.has_it
    new_captions: dict[int, str] = {}
    if result.known is not None:
        new_captions, targets = result.known.new_captions(), result.known.corrected_targets()
        clean_probability = np.where(np.isnan(targets), clean_probability, targets)
        if not weights:  # people first, whatever the threshold
            keep = np.where(np.isnan(targets), keep, targets == 1)
    kept_rows = np.unique(pairs.row_of_pair[keep])
    facts: dict[str, Any] = {
        "pairs_dropped": int((~keep).sum()),
        "images_dropped": pairs.n_images - len(kept_rows),
        "pairs_kept": int(keep.sum()),
        "images_kept": len(kept_rows),
    }
    if options.clean_precision is not None:
        facts["threshold"] = threshold
    if troubles:
        facts["dropped_for_trouble"] = {one.name: int(one.has_it.sum()) for one in troubles}
    if result.known is not None:
        facts["captions_corrected"] = len(new_captions)
    text = describe(facts, weights, threshold)
    if result.known is not None:
        text += (
            f" People reviewed {len(result.known.decisions):,} pairs, and their decisions come "
            f"first; {len(new_captions):,} captions were corrected (`corrected.jsonl`)."
        )
    # `datasets` caches a dataset by the names of its files.
    names, lists = (column_values(pairs.dataset, column) for column in (IMAGE_ID, CAPTIONS))
    digest = hashlib.sha256(json.dumps([names, lists]).encode())
    digest.update(keep.tobytes() + clean_probability.tobytes())
    digest.update(json.dumps(sorted(new_captions.items())).encode())
    folder = f"data-{digest.hexdigest()[:12]}"
    probabilities = clean_probability if weights else None
    rows = rows_with(pairs, keep, probabilities, new_captions).select(kept_rows)
    with atomic_write(out) as aside:
        aside.mkdir()
        with (aside / "dropped.jsonl").open("w", encoding="utf-8") as file:
            for pair in np.flatnonzero(~keep).tolist():
                name_of = names[pairs.row_of_pair[pair]]
                dropped: dict[str, Any] = {"image_id": name_of, "caption": pairs.caption(pair)}
                dropped[WEIGHTS] = round(float(clean_probability[pair]), 4)
                kinds = [one.name for one in troubles if one.has_it[pair]]
                dropped |= {"troubles": kinds} if kinds else {}
                if result.known is not None and pair in result.known.decisions:
                    dropped["review"] = result.known.decisions[pair].decision
                file.write(json.dumps(dropped, ensure_ascii=False) + "\n")
        if new_captions:
            with (aside / "corrected.jsonl").open("w", encoding="utf-8") as file:
                for pair, new_caption in sorted(new_captions.items()):
                    name_of = names[pairs.row_of_pair[pair]]
                    corrected = {"image_id": name_of, "caption": pairs.caption(pair)}
                    corrected["new_caption"] = new_caption
                    file.write(json.dumps(corrected, ensure_ascii=False) + "\n")
        write_rows(rows, aside / folder, split)
        write_card(aside, folder, split, result.name, text)
    return facts | {"folder": str(out)}


def describe(facts: Mapping[str, Any], weights: bool, threshold: float) -> str:
    """Sentences about a clean dataset, for its card.

    Args:
        facts: The counts, see `write_clean_dataset`.
        weights: Whether all pairs are kept, with weights.
        threshold: The least clean probability of a kept pair.
    """
    text = (
        f"All {facts['pairs_kept']:,} pairs, with the probability that each is right in the column "
        f"`{WEIGHTS}`, one number per caption."
        if weights
        else f"{facts['pairs_dropped']:,} pairs whose probability of being right is below "
        f"{threshold:.4g} were dropped, and {facts['images_dropped']:,} images without a remaining "
        f"caption; {facts['pairs_kept']:,} pairs of {facts['images_kept']:,} images remain."
    )
    if troubles := facts.get("dropped_for_trouble"):
        listing = "; ".join(f"{TROUBLES[name]} ({n:,})" for name, n in troubles.items())
        text += f" Dropped whatever their probability: {listing}."
    return text


def write_rows(rows: datasets.Dataset, folder: Path, split: str) -> None:
    """Write rows as Parquet files in a folder, with their pictures inside."""
    with ParquetShards(folder, split, rows.features) as shards:
        stored = rows.with_format("arrow")
        for start in range(0, len(rows), _BLOCK_ROWS):
            table = embed_table_storage(stored[start : start + _BLOCK_ROWS])
            shards.write(table.cast(shards.schema).combine_chunks())


def write_card(out: Path, folder: str, split: str, name: str, text: str) -> None:
    """Write the card by which `load_dataset` finds the split.

    Args:
        out: Folder of the dataset.
        folder: Its folder of Parquet files.
        split: The split.
        name: Name of the dataset that was audited.
        text: From `describe`.
    """
    card = _CARD.format(folder=folder, split=split, name=name, text=text)
    (out / "README.md").write_text(card, encoding="utf-8")


def rows_with(
    pairs: PairDataset,
    keep: np.ndarray,
    weights: np.ndarray | None = None,
    new_captions: Mapping[int, str] = MappingProxyType({}),
) -> datasets.Dataset:
    """All rows with the captions of the kept pairs, and their flags and weights.

    Args:
        pairs: The pairs.
        keep: Whether to keep each pair, (n_pairs,).
        weights: What the column `clean_probability` takes, (n_pairs,).
        new_captions: Captions in place of those of some pairs, by pair id.
    """
    rows, features = pairs.dataset, pairs.dataset.features
    captions = [new_captions.get(pair, text) for pair, text in enumerate(pairs.captions())]
    columns: dict[str, tuple[Any, Any]] = {CAPTIONS: (captions, features[CAPTIONS])}
    if pairs.is_noisy is not None:
        is_noisy = pairs.is_noisy.copy()
        is_noisy[list(new_captions)] = False
        columns[IS_NOISY] = (is_noisy.tolist(), features[IS_NOISY])
    if weights is not None:
        feature = datasets.List(datasets.Value("float32"))
        columns[WEIGHTS] = (weights.astype(np.float32).tolist(), feature)
    for column, (values, feature) in columns.items():
        lists: list[list[Any]] = [[] for _ in range(pairs.n_images)]
        for pair in np.flatnonzero(keep).tolist():
            lists[pairs.row_of_pair[pair]].append(values[pair])
        if column in features:
            rows = rows.remove_columns(column)
        rows = rows.add_column(column, lists, feature=feature)
    return rows
