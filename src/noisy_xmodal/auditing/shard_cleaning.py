"""The clean dataset of an audit by parts: the kept pairs of each shard become Parquet files.

A shard is read again when its part of the table is written. The columns are the same for all
shards: the image, its name, its captions, and the name of the shard; other columns are joined by
the names. What a shard gives is written to a folder of its own, aside, and renamed, so processes
share this work like the rest. In the end the files are put together under the names that
`load_dataset` expects.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..arguments.audit import TROUBLES, AuditOptions
from ..data.columns import CAPTIONS, IMAGE, IMAGE_ID, IS_NOISY, REGIONS
from ..files import atomic_write, link_or_copy, read_json
from .cleaning import WEIGHTS, describe, rows_with, write_card, write_rows
from .kept_shards import KeptShard
from .known_pairs import KnownPairs
from .loading import AuditRows

#: Probabilities are rounded down to this part of 1 to find a threshold over all shards: a million
#: values to count, however many pairs there are.
_STEPS = 1_000_000
_COLUMNS = (IMAGE, REGIONS, IMAGE_ID, CAPTIONS, IS_NOISY, WEIGHTS)
_SHARD, _ROWS, _INFO = "shard", "rows", "info.json"
_DROPPED, _CORRECTED = "dropped.jsonl", "corrected.jsonl"


@dataclass(frozen=True)
class ShardCleaning:
    """Writes the kept pairs of shards.

    Attributes:
        options: Options of the audit.
        threshold: The least clean probability of a kept pair.
        folder: Folder of what shards gave.
    """

    options: AuditOptions
    threshold: float
    folder: Path

    def is_done(self, name: str) -> bool:
        """Whether a shard's files are written."""
        return (self.folder / name).is_dir()

    def write(
        self,
        name: str,
        shard_name: str,
        rows: AuditRows,
        kept: KeptShard,
        part: Path,
        known: KnownPairs | None = None,
    ) -> None:
        """Write the kept pairs of a shard.

        Args:
            name: Name of the task, that of the folder that is written.
            shard_name: Name of the shard.
            rows: Its rows, in the order in which they were judged.
            kept: What is kept of it.
            part: Its part of the table.
            known: What people decided about its pairs.
        """
        pairs, options = rows.pairs, self.options
        clean = probabilities(part)  # (n_pairs,)
        wanted = np.isin(list(TROUBLES), options.kinds_to_drop)  # (n_kinds,)
        has_trouble = kept.has_trouble & wanted  # (n_pairs, n_kinds)
        keep = options.clean_weights | (clean >= self.threshold)
        keep &= ~has_trouble.any(axis=1)
        new_captions: dict[int, str] = {}
        if known is not None:
            new_captions, targets = known.new_captions(), known.corrected_targets()
            clean = np.where(np.isnan(targets), clean, targets)
            if not options.clean_weights:  # people first, whatever the threshold
                keep = np.where(np.isnan(targets), keep, targets == 1)
        kept_rows = np.unique(pairs.row_of_pair[keep])
        kinds = Counter(dict(zip(TROUBLES, has_trouble.sum(axis=0).tolist(), strict=True)))
        info = {
            "pairs_dropped": int((~keep).sum()),
            "images_dropped": pairs.n_images - len(kept_rows),
            "pairs_kept": int(keep.sum()),
            "images_kept": len(kept_rows),
            "captions_corrected": len(new_captions),
            "troubles": {kind: kinds[kind] for kind in options.kinds_to_drop},
        }
        with atomic_write(self.folder / name) as aside:
            aside.mkdir()
            with (aside / _DROPPED).open("w", encoding="utf-8") as file:
                for pair in np.flatnonzero(~keep).tolist():
                    dropped: dict[str, Any] = {
                        "image_id": rows.image_ids[pairs.row_of_pair[pair]],
                        "caption": pairs.caption(pair),
                        WEIGHTS: round(float(clean[pair]), 4),
                        "shard": shard_name,
                    }
                    if has_trouble[pair].any():
                        dropped["troubles"] = list(compress(TROUBLES, has_trouble[pair]))
                    if known is not None and pair in known.decisions:
                        dropped["review"] = known.decisions[pair].decision
                    file.write(json.dumps(dropped, ensure_ascii=False) + "\n")
            with (aside / _CORRECTED).open("w", encoding="utf-8") as file:
                for pair, new_caption in sorted(new_captions.items()):
                    corrected = {
                        "image_id": rows.image_ids[pairs.row_of_pair[pair]],
                        "caption": pairs.caption(pair),
                        "new_caption": new_caption,
                        "shard": shard_name,
                    }
                    file.write(json.dumps(corrected, ensure_ascii=False) + "\n")
            if len(kept_rows):
                weights = clean if options.clean_weights else None
                table = rows_with(pairs, keep, weights, new_captions).select(kept_rows)
                table = table.select_columns([c for c in _COLUMNS if c in table.features])
                names = [shard_name] * len(table)
                table = table.add_column(_SHARD, names, feature=datasets.Value("string"))
                write_rows(table, aside / _ROWS, rows.split)
            (aside / _INFO).write_text(json.dumps(info), encoding="utf-8")

    def publish(self, names: Sequence[str], split: str, title: str) -> dict[str, Any]:
        """Put the files of all shards together; returns the counts of `write_clean_dataset`.

        Args:
            names: Names of the tasks, in order.
            split: The split.
            title: Name of the dataset, for the card.
        """
        out = self.options.clean
        assert out is not None, "there is a folder to write"
        facts: Counter[str] = Counter()
        troubles: Counter[str] = Counter()
        for name in names:
            info = read_json(self.folder / name / _INFO)
            troubles.update(info.pop("troubles"))
            facts.update(info)
        counts: dict[str, Any] = dict(facts)
        if self.options.reviews is None:
            counts.pop("captions_corrected", None)
        if self.options.clean_precision is not None:
            counts["threshold"] = self.threshold
        if self.options.kinds_to_drop:
            counts["dropped_for_trouble"] = {kind: n for kind, n in troubles.items() if n}
        files = [file for name in names for file in sorted((self.folder / name / _ROWS).glob("*"))]
        with atomic_write(out) as aside:
            aside.mkdir()
            # `datasets` caches a dataset by the names of its files.
            digest = hashlib.sha256(json.dumps(counts).encode())
            listings = [_DROPPED, _CORRECTED] if counts.get("captions_corrected") else [_DROPPED]
            for listing in listings:
                with (aside / listing).open("wb") as file:
                    for name in names:
                        lines = (self.folder / name / listing).read_bytes()
                        digest.update(lines)
                        file.write(lines)
            folder = f"data-{digest.hexdigest()[:12]}"
            (aside / folder).mkdir()
            for number, rows in enumerate(files):
                own = f"{split}-{number:05d}-of-{len(files):05d}.parquet"
                link_or_copy(rows, aside / folder / own)
            text = describe(counts, self.options.clean_weights, self.threshold)
            if self.options.reviews is not None:
                n = counts["captions_corrected"]
                text += f" Decisions of people come first; {n:,} captions were corrected."
            write_card(aside, folder, split, title, text)
        return counts | {"folder": str(out)}


def probabilities(part: Path) -> NDArray[np.float64]:
    """Clean probabilities of the pairs of a shard, in the order of the shard, (n_pairs,)."""
    table = pq.read_table(part, columns=["pair_id", WEIGHTS])
    values: NDArray[np.float64] = table[WEIGHTS].to_numpy()
    return values[np.argsort(table["pair_id"].to_numpy())]


def rounded_probabilities(
    parts: Sequence[Path],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Clean probabilities of all pairs, rounded down: the values, and how often each occurs.

    Args:
        parts: The parts of the table.
    """
    counts = np.zeros(_STEPS + 1, np.int64)
    for part in parts:
        steps = np.floor(probabilities(part) * _STEPS).astype(np.int64)
        counts += np.bincount(steps, minlength=len(counts))
    (steps,) = np.nonzero(counts)
    return steps / _STEPS, counts[steps]
