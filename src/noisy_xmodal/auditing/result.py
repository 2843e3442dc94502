"""What an audit found: one object behind the table, the report and the summary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..arguments.audit import AuditOptions
from ..files import atomic_write
from ..metrics.noise_detection import ranking_metrics
from .duplicates import repeated_captions
from .judgement import Judgement
from .known_pairs import KnownPairs
from .loading import AuditRows
from .troubles import Trouble, find_troubles, unchecked_kinds

_GROUP_ROWS = 100_000


@dataclass(frozen=True, eq=False)
class AuditResult:
    """What an audit found.

    Attributes:
        options: Options of the audit.
        rows: The rows.
        judgement: The judgement of every pair.
        better_caption: For the image of each pair the pair of a better caption, -1 for none,
            (n_pairs,).
        better_image: For the caption of each pair the row of a better image, -1 for none,
            (n_pairs,).
        warnings: Warnings, a sentence or two each.
        models: Names of the frozen models whose features the small models read.
        known: What people decided about the pairs, if there are reviews.
        reviews: Facts about the reviews, from `with_people`.
        comparison: Changes since an earlier audit, from `compare`; empty without one.
        misfits: Words that do not fit, of pairs in the report, from `misfit_words`.
        kept_troubles: The troubles, if they are known already.
    """

    options: AuditOptions
    rows: AuditRows
    judgement: Judgement
    better_caption: NDArray[np.int64]
    better_image: NDArray[np.int64]
    warnings: Sequence[str] = ()
    models: Sequence[str] = ()
    known: KnownPairs | None = None
    reviews: Mapping[str, Any] = field(default_factory=dict)
    comparison: Mapping[str, Any] = field(default_factory=dict)
    misfits: Mapping[int, list[str]] = field(default_factory=dict)
    kept_troubles: list[Trouble] | None = None

    @property
    def name(self) -> str:
        """The dataset with its configuration, split and injected noise."""
        options = self.options
        parts = (options.dataset_name, options.dataset_config_name, self.rows.split)
        noise = f", with {options.inject_noise} injected" if options.inject_noise else ""
        return " ".join(part for part in parts if part) + noise

    @property
    def judge(self) -> str:
        """A sentence that names the models that judged the pairs."""
        if self.options.model_name_or_path:
            return f"Judged by {self.options.model_name_or_path}."
        line = f"Judged by {self.options.folds} small models that were trained on this dataset"
        return f"{line}, on features of {' and '.join(self.models)}." if self.models else f"{line}."

    @cached_property
    def captions(self) -> list[str]:
        """The caption of each pair."""
        return self.rows.pairs.captions()

    @cached_property
    def repeated(self) -> list[tuple[str, NDArray[np.int64]]]:
        """Captions that several images have, with the rows of the images, most images first."""
        return repeated_captions(self.captions, self.rows.pairs.row_of_pair)

    @cached_property
    def troubles(self) -> list[Trouble]:
        """The kinds of trouble that need no judge, those of most pairs first."""
        return find_troubles(self.rows) if self.kept_troubles is None else self.kept_troubles

    @property
    def unchecked(self) -> dict[str, str]:
        """The kinds of trouble that were not looked for, with the reason."""
        return unchecked_kinds(self.options)

    @cached_property
    def oracle(self) -> dict[str, float | None]:
        """The judgement against the truth, see `ranking_metrics`; empty if it is not known."""
        truth = self.rows.pairs.is_noisy
        if truth is None or not truth.any():
            return {}
        return ranking_metrics(self.judgement.tail, truth)

    @property
    def error_kind(self) -> str | None:
        """Whether single captions or all captions of an image are wrong; None if unknown."""
        sets = self.judgement.sets
        if sets is None:
            return None
        if sets == 0:
            return "single captions"
        if sets == 1:
            return "whole sets: images with all captions of another image"
        return f"{1 - sets:.0%} single captions, {sets:.0%} of images with all captions of another"

    def write_table(self) -> None:
        """Write a row for each pair, worst first, as Parquet, some rows at a time.

        Columns: `pair_id`, `image_id`, `caption`, `clean_probability`, `loss`,
        `suggested_caption` (of another image, null if there is none), `suggested_image_id`,
        `troubles` (names of the kinds that the pair has, separated by commas, or null),
        `misfit_words` (see `misfit_words`; null for pairs outside the report); with reviews
        `review` (`right`, `wrong`, `corrected`, null where nobody decided); and, if the truth is
        known, `is_noisy`.
        """
        path, order = self.options.output, self.judgement.order
        is_noisy = self.rows.pairs.is_noisy
        first = self._table(order[:_GROUP_ROWS], is_noisy)
        with (
            atomic_write(path) as aside,
            pq.ParquetWriter(aside, first.schema, compression="zstd") as writer,
        ):
            writer.write_table(first)
            for start in range(_GROUP_ROWS, len(order), _GROUP_ROWS):
                writer.write_table(self._table(order[start : start + _GROUP_ROWS], is_noisy))

    def table(self) -> dict[str, Any]:
        """Image id, caption and clean probability of every pair, by the names of the columns."""
        ids, rows = self.rows.image_ids, self.rows.pairs.row_of_pair.tolist()
        clean = self.judgement.clean_probability
        return {
            "image_id": [ids[row] for row in rows],
            "caption": self.captions,
            "clean_probability": clean,
        }

    def _table(self, pairs: NDArray[np.int64], is_noisy: NDArray[np.bool_] | None) -> pa.Table:
        def texts(of: Sequence[str], places: NDArray[np.int64]) -> pa.Array:
            values = [of[place] if place >= 0 else None for place in places.tolist()]
            return pa.array(values, pa.string())

        columns = {
            "pair_id": pa.array(pairs),
            "image_id": texts(self.rows.image_ids, self.rows.pairs.row_of_pair[pairs]),
            "caption": texts(self.captions, pairs),
            "clean_probability": pa.array(self.judgement.clean_probability[pairs]),
            "loss": pa.array(self.judgement.losses[pairs]),
            "suggested_caption": texts(self.captions, self.better_caption[pairs]),
            "suggested_image_id": texts(self.rows.image_ids, self.better_image[pairs]),
        }
        names = [trouble.name for trouble in self.troubles]
        if names:
            masks = np.stack([trouble.has_it[pairs] for trouble in self.troubles], axis=1)
            lists = [",".join(compress(names, mask)) or None for mask in masks.tolist()]
        else:
            lists = [None] * len(pairs)
        columns["troubles"] = pa.array(lists, pa.string())
        words = [" ".join(self.misfits.get(pair, ())) or None for pair in pairs.tolist()]
        columns["misfit_words"] = pa.array(words, pa.string())
        if self.known is not None:
            made = (self.known.decisions.get(pair) for pair in pairs.tolist())
            decisions = [None if one is None else one.decision for one in made]
            columns["review"] = pa.array(decisions, pa.string())
        if is_noisy is not None:
            columns["is_noisy"] = pa.array(is_noisy[pairs])
        return pa.table(columns)

    def _reviews(self) -> dict[str, Any] | None:
        """The facts about the reviews, and the truth about the pairs that nobody reviewed."""
        if self.known is None:
            return None
        others, truth = np.isnan(self.known.targets), self.rows.pairs.is_noisy
        oracle = {}
        if truth is not None and truth[others].any():
            oracle = ranking_metrics(self.judgement.tail[others], truth[others])
        return {"file": str(self.options.reviews), **self.reviews, "oracle_of_others": oracle}

    def summary(self) -> dict[str, Any]:
        """The summary, ready for JSON, without the run itself."""
        options, share = self.options, self.judgement.share
        return {
            "dataset": options.dataset_name,
            "dataset_config": options.dataset_config_name,
            "split": self.rows.split,
            "injected_noise": options.inject_noise,
            "judge": self.judge,
            "n_images": self.rows.pairs.n_images,
            "n_pairs": len(self.captions),
            "wrong_share": share.share,
            "wrong_interval": [share.low, share.high],
            "confidence": share.confidence,
            "separation": share.separation,
            "judge_can_tell": share.can_tell,
            "is_upper_bound": not share.can_tell,
            "share_of_exchanged_sets": self.judgement.sets,
            "judged_wrong": int(self.judgement.is_wrong.sum()),
            "oracle": self.oracle,
            "reviews": self._reviews(),
            "comparison": dict(self.comparison) or None,
            "left_out": list(self.rows.left_out),
            "warnings": list(self.warnings),
            "troubles": {trouble.name: trouble.summary() for trouble in self.troubles},
            "unchecked_troubles": self.unchecked,
            "similar_images": len(self.rows.alike),
            "repeated_captions": len(self.repeated),
            "recipe": None if options.model_name_or_path else options.recipe(),
            "table": str(options.output),
            "report": str(options.report),
            "summary": str(options.summary),
        }
