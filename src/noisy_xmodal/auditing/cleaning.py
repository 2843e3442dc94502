"""Write the dataset without its wrong pairs, or with the probability that each pair is right."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import datasets
import numpy as np
from datasets.table import embed_table_storage
from numpy.typing import NDArray

from ..arguments.audit import TROUBLES, AuditOptions
from ..data import PairDataset
from ..data.columns import CAPTIONS, IS_NOISY, column_values
from ..data.parquet_shards import ParquetShards
from ..files import atomic_write
from .known_pairs import KnownPairs
from .loading import AuditRows
from .result import AuditResult

WEIGHTS = "clean_probability"
DROPPED_FILE, CORRECTED_FILE = "dropped.jsonl", "corrected.jsonl"
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
    if options.clean is None:
        return None
    if not can_tell and not options.force_clean:
        return (
            f"{options.clean} was not written, because the judge cannot tell which pairs are "
            "wrong, so its probabilities say nothing. Give --force_clean to write it anyway."
        )
    if options.clean_weights:
        return None
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


def nothing_kept(options: AuditOptions) -> str:
    """The reason where no pair would be left."""
    return (
        f"{options.clean} was not written, because no pair is left: each has a low clean "
        f"probability, or trouble of a kind in --drop ({options.drop}). Drop fewer kinds."
    )


def cleaning_refusal(result: AuditResult) -> str | None:
    """The reason why the clean dataset of an audit in one piece cannot be written, or None.

    Args:
        result: What the audit found.
    """
    options, judged = result.options, result.judgement
    problem = cleaning_problem(options, judged.share.can_tell, judged.clean_probability)
    if problem is None and options.clean is not None and not _selection(result).keep.any():
        return nothing_kept(options)
    return problem


@dataclass(frozen=True, eq=False)
class Selection:
    """The pairs that a clean dataset keeps.

    Attributes:
        pairs: All pairs.
        image_ids: Name of each image.
        keep: Whether each pair is kept, bool (n_pairs,).
        clean_probability: Probability that each pair is right, people's where they decided,
            (n_pairs,).
        troubles: Whether each pair has a kind of trouble, bool (n_pairs,), by the kinds whose pairs
            are dropped.
        known: What people decided.
    """

    pairs: PairDataset
    image_ids: Sequence[str]
    keep: NDArray[np.bool_]
    clean_probability: NDArray[np.float64]
    troubles: Mapping[str, NDArray[np.bool_]]
    known: KnownPairs | None = None

    @cached_property
    def new_captions(self) -> dict[int, str]:
        """The right caption of each corrected pair, by pair id."""
        return {} if self.known is None else self.known.new_captions()

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Images with a kept pair, ascending."""
        return np.unique(self.pairs.row_of_pair[self.keep])

    def counts(self) -> dict[str, int]:
        """Numbers of dropped and kept pairs and images; an image goes with its last pair."""
        return {
            "pairs_dropped": int((~self.keep).sum()),
            "images_dropped": self.pairs.n_images - len(self.rows),
            "pairs_kept": int(self.keep.sum()),
            "images_kept": len(self.rows),
        }

    def trouble_counts(self) -> dict[str, int]:
        """Numbers of dropped pairs by their kinds of trouble."""
        return {name: int((has_it & ~self.keep).sum()) for name, has_it in self.troubles.items()}

    def digest(self) -> str:
        """A hash of the names, captions and probabilities, and of what is kept."""
        lists = column_values(self.pairs.dataset, CAPTIONS)
        digest = hashlib.sha256(json.dumps([list(self.image_ids), lists]).encode())
        digest.update(self.keep.tobytes() + self.clean_probability.tobytes())
        digest.update(json.dumps(sorted(self.new_captions.items())).encode())
        return digest.hexdigest()

    def write_lists(self, folder: Path, **further: str) -> None:
        """Write the dropped pairs and, if there are any, the corrected ones, a line each.

        Args:
            folder: Where to write them.
            further: Further fields of each line.
        """
        dropped = map(self._dropped, np.flatnonzero(~self.keep).tolist())
        _write_lines(folder / DROPPED_FILE, dropped, further)
        if self.new_captions:
            corrected = (
                self._names(pair) | {"new_caption": text}
                for pair, text in sorted(self.new_captions.items())
            )
            _write_lines(folder / CORRECTED_FILE, corrected, further)

    def table(self, with_weights: bool) -> datasets.Dataset:
        """The images with a kept pair, with the captions of their kept pairs; see `rows_with`."""
        weights = self.clean_probability if with_weights else None
        return rows_with(self.pairs, self.keep, weights, self.new_captions).select(self.rows)

    def _names(self, pair: int) -> dict[str, Any]:
        row = self.pairs.row_of_pair[pair]
        return {"image_id": self.image_ids[row], "caption": self.pairs.caption(pair)}

    def _dropped(self, pair: int) -> dict[str, Any]:
        line = self._names(pair) | {WEIGHTS: round(float(self.clean_probability[pair]), 4)}
        if kinds := [name for name, has_it in self.troubles.items() if has_it[pair]]:
            line["troubles"] = kinds
        if self.known is not None and pair in self.known.decisions:
            line["review"] = self.known.decisions[pair].decision
        return line


def _write_lines(path: Path, lines: Iterable[dict[str, Any]], further: Mapping[str, str]) -> None:
    """Write JSON lines, each with further fields."""
    with path.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line | dict(further), ensure_ascii=False) + "\n")


def select_pairs(
    options: AuditOptions,
    threshold: float,
    rows: AuditRows,
    clean_probability: NDArray[np.float64],
    troubles: Mapping[str, NDArray[np.bool_]],
    known: KnownPairs | None,
) -> Selection:
    """Select the pairs to keep: by the threshold, by their troubles, and first of all by people.

    With `clean_weights` the threshold does not count, and people's decisions are weights.

    Args:
        options: Options of the audit.
        threshold: The least clean probability of a kept pair.
        rows: The rows.
        clean_probability: From the judgement, (n_pairs,).
        troubles: See `Selection`, of all kinds.
        known: What people decided.
    """
    kinds = options.kinds_to_drop
    dropping = {name: has_it for name, has_it in troubles.items() if name in kinds}
    keep = options.clean_weights | (clean_probability >= threshold)  # (n_pairs,)
    for has_it in dropping.values():
        keep = keep & ~has_it
    if known is not None:
        targets = known.corrected_targets()
        clean_probability = np.where(np.isnan(targets), clean_probability, targets)
        if not options.clean_weights:
            keep = np.where(np.isnan(targets), keep, targets == 1)
    return Selection(rows.pairs, rows.image_ids, keep, clean_probability, dropping, known)


def _selection(result: AuditResult) -> Selection:
    """The pairs that an audit in one piece keeps, where `cleaning_problem` has no objection."""
    probability = result.judgement.clean_probability
    threshold = clean_threshold(result.options, probability)
    assert threshold is not None, "cleaning_problem refuses"
    troubles = {trouble.name: trouble.has_it for trouble in result.troubles}
    return select_pairs(result.options, threshold, result.rows, probability, troubles, result.known)


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
    options, split = result.options, result.rows.split
    out, weights = options.clean, options.clean_weights
    threshold = clean_threshold(options, result.judgement.clean_probability)
    assert out is not None, "there is a folder to write"
    assert threshold is not None, "cleaning_problem refuses"
    selection = _selection(result)
    facts: dict[str, Any] = selection.counts()
    if options.clean_precision is not None:
        facts["threshold"] = threshold
    if selection.troubles:
        facts["dropped_for_trouble"] = selection.trouble_counts()
    if result.known is not None:
        facts["captions_corrected"] = len(selection.new_captions)
    text = describe(facts, weights, threshold)
    # `datasets` caches a dataset by the names of its files.
    folder = f"data-{selection.digest()[:12]}"
    rows = selection.table(weights)
    with atomic_write(out) as aside:
        aside.mkdir()
        selection.write_lists(aside)
        write_rows(rows, aside / folder, split)
        write_card(aside, folder, split, result.name, text)
    return facts | {"folder": str(out)}


def describe(facts: Mapping[str, Any], weights: bool, threshold: float) -> str:
    """Sentences about a clean dataset, for its card.

    Args:
        facts: The counts, see `write_clean_dataset`.
        weights: Whether pairs are kept whatever their probability, with weights.
        threshold: The least clean probability of a kept pair.
    """
    text = (
        f"The column `{WEIGHTS}` has the probability that a pair is right, one number per caption."
        if weights
        else f"Pairs whose probability of being right is below {threshold:.4g} were dropped."
    )
    if troubles := facts.get("dropped_for_trouble"):
        listing = "; ".join(f"{TROUBLES[name]} ({n:,})" for name, n in troubles.items())
        text += f" Dropped whatever their probability: {listing}."
    if "captions_corrected" in facts:
        text += " Decisions of people come before both."
        text += f" {facts['captions_corrected']:,} captions were corrected (`{CORRECTED_FILE}`)."
    text += (
        f" In all, {facts['pairs_dropped']:,} pairs were dropped, and {facts['images_dropped']:,} "
        f"images without a remaining caption; {facts['pairs_kept']:,} pairs of "
        f"{facts['images_kept']:,} images remain."
    )
    if facts["pairs_dropped"]:
        text += f" The dropped pairs are listed in `{DROPPED_FILE}`."
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
