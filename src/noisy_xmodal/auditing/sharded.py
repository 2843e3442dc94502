"""An audit by parts: shards are read, judged and written one by one, by any number of processes.

Every shard is read once, and its vectors are kept (`kept_shards.py`). The judges are trained on a
sample of all rows, by a cross-fit, and judge every shard (`shard_judge.py`). Processes share the
work by files (`tasks.py`), so that killed, restarted and added ones go on with what is missing. A
process holds the sample and one shard in memory, however many shards there are.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..arguments.audit import AuditOptions
from ..data import DatasetError, PairDataset, load_pairs
from ..data.any_dataset.archives import is_tar_name
from ..data.any_dataset.folders import is_audit_table
from ..data.any_dataset.img2dataset import lost_shards
from ..data.any_dataset.listing import local_shard, shard_files, shard_splits, shard_state
from ..data.any_dataset.samples import merged_messages
from ..data.columns import IMAGE, REGIONS
from ..data.pictures import picture_source, stored_pictures
from ..files import atomic_write, link_or_copy, remove_folder
from .cleaning import clean_threshold, cleaning_problem, nothing_kept
from .cross_fit import CrossFit
from .image_scan import content_digest
from .judgement import Judgement
from .kept_shards import KeptShard, keep_sample, keep_shard, scratch_cache, shard_options
from .loading import AuditRows, load_rows
from .other_splits import OtherSplits, keep_splits, kept_notes, kept_splits, look_at_split
from .progress import CLEANING, JUDGING, LOOKING, READING, TRAINING, AuditProgress
from .shard_cleaning import ShardCleaning, rounded_probabilities
from .shard_facts import copies, repeated_keys, sample_troubles, trouble_counts
from .shard_judge import ShardJudge
from .shard_reviews import ShardReviews
from .small_model import recipe_state
from .tasks import claim_tasks
from .troubles import Trouble

#: Pairs that the judges are trained on if an audit by parts does not say.
SAMPLE = 100_000
_MARK, _SAMPLE, _SPLITS = "about.json", "sample", "splits"


class ShardedAudit:
    """The stages of an audit by parts, and the folder of what is kept on the way.

    Args:
        options: Options of the audit.
        models: What changes with the files of the frozen models.
        device: Device of the models.
        is_main: Whether this process shows progress.

    Attributes:
        work: Folder of the judges and parts; its name tells all that they depend on.
        parts: Folder of the parts of the table.

    Raises:
        DatasetError: The dataset is not in shards, or does not exist.
    """

    def __init__(
        self, options: AuditOptions, models: Sequence[str], device: str, is_main: bool
    ) -> None:
        self.options = replace(options, sample=options.sample or SAMPLE)
        self.device = device
        name, config = options.dataset_name, options.dataset_config_name
        self.split, self.shards = shard_files(name, config, options.split)
        self.names = _short_names(self.shards)
        self._others = {} if options.split else shard_splits(name, config)
        self._others.pop(self.split, None)
        others = [f"{split} {shard_state(s)}" for split, own in self._others.items() for s in own]
        read = [*map(shard_state, self.shards), *others, *models, json.dumps(_reading(options))]
        self.kept = options.output.absolute().with_suffix(".work") / _hash(read)
        self.reviews = ShardReviews(options.reviews, self._all_shards())
        recipe = [recipe_state(options), str(self.options.sample), self.reviews.digest]
        self.work = self.kept / _hash(recipe)
        self.parts = self.work / "parts"
        for folder in (self.kept / "locks", self.work / "locks", self.parts):
            folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.work / _MARK, shared=True) as aside:
            aside.write_text(json.dumps({"shards": len(self.shards)}), encoding="utf-8")
        self._progress = AuditProgress(
            len(self.shards),
            options.folds * options.rounds,
            self.options.sample or SAMPLE,
            cleans=options.clean is not None,
            hidden=options.disable_tqdm or not is_main,
        )

    @property
    def table(self) -> Path:
        """The folder of the parts of the table."""
        return self.options.output.with_suffix("")

    @property
    def is_removed(self) -> bool:
        """Whether another process has finished this audit and removed its files."""
        return not (self.work / _MARK).is_file()

    def shard(self, number: int) -> KeptShard:
        """What is kept of a shard."""
        return KeptShard(self.kept / "shards" / f"{number:05d}")

    @property
    def sample(self) -> KeptShard:
        """The sample that the judges are trained on."""
        return KeptShard(self.work / _SAMPLE)

    def keep(self) -> None:
        """Look at the other splits, read all shards, and keep the sample."""
        by_name = {f"{number:05d}": number for number in range(len(self.shards))}

        def is_kept(name: str) -> bool:
            number = by_name[name]
            return self._is_done(READING, number, self.shard(number).folder.is_dir())

        others, notes = self.kept / _SPLITS, list[str]()
        if self._others:
            self._progress.begin(LOOKING)
        for _ in claim_tasks([_SPLITS], lambda _: others.is_dir(), self.kept / "locks"):
            keep_splits(self._look_at_others(notes), others, notes)
        for name in self._claim(READING, self.kept, by_name, is_kept):
            number = by_name[name]
            own = self.shards[number], self.names[number], self.options, kept_splits(others)
            keep_shard(*own, self.device, self.shard(number).folder)
        folder = self.work / _SAMPLE
        for _ in claim_tasks([_SAMPLE], lambda _: folder.is_dir(), self.work / "locks"):
            seed, size = self.options.seed, self.options.sample or SAMPLE
            keep_sample(self._all_shards(), self.names, size, seed, folder)

    def _look_at_others(self, notes: list[str]) -> Iterator[OtherSplits]:
        """Look at each shard of the other splits; adds what cannot be read to the notes."""
        for split, shards in self._others.items():
            for shard, name in zip(shards, _short_names(shards), strict=True):
                with scratch_cache(self.kept) as scratch:
                    try:
                        yield look_at_split(self._load(shard, scratch), split)
                    except DatasetError as error:
                        notes.append(f"{name} of the split {split}: nothing was read: {error}")

    def _load(self, shard: str, scratch: Path) -> datasets.Dataset:
        """The rows of a shard."""
        options = self.options
        columns = {
            key: getattr(options, key) for key in ("image_column", "caption_column", "id_column")
        }
        path = local_shard(shard, scratch)
        return next(iter(load_pairs(path, left_out={}, **columns).values()))

    def judge(self) -> tuple[CrossFit, Judgement]:
        """Train the judges on the sample, and judge it.

        Raises:
            TrainingInterrupted: After a signal; the work so far is kept.
            ReviewsError: If the reviews are of another dataset.
        """
        self.reviews.check(self.options.dataset_name)
        sample, options = self.sample, replace(self.options, disable_tqdm=True)
        self._progress.begin(TRAINING)
        fit = CrossFit(
            *(sample.pairs, options, self.work, self.device, sample.captions),
            known=self.reviews.of(sample),
            is_shared=True,
            after_training=self._progress.has_trained,
        )
        return fit, fit.judge(sample.rows(self.split).groups())

    def write_parts(self, fit: CrossFit, judgement: Judgement) -> ShardJudge:
        """Judge all shards and write their parts of the table; what judged them."""
        counts = [shard.info["n_pairs"] for shard in self._all_shards()]
        first_pairs = np.cumsum([0, *counts]).tolist()
        by_name = self.filled
        judge = ShardJudge(fit, judgement, self.sample, self.names)
        self.reviews.fit(judge, judgement)

        def is_written(name: str) -> bool:
            return self._is_done(JUDGING, by_name[name], self._part(name).is_file())

        for name in self._claim(JUDGING, self.work, by_name, is_written):
            number = by_name[name]
            shard, path = self.shard(number), self._part(name)
            known = self.reviews.of(shard)
            first = first_pairs[number]
            judge.write_part(number, shard, first, path, self.reviews.clean, known)
        return judge

    @property
    def filled(self) -> dict[str, int]:
        """Name of the part of each shard that has pairs, and number of the shard."""
        counts = (shard.info["n_pairs"] for shard in self._all_shards())
        return {f"part-{number:05d}": number for number, count in enumerate(counts) if count}

    def _part(self, name: str) -> Path:
        return self.parts / f"{name}.parquet"

    def clean(self, can_tell: bool) -> tuple[ShardCleaning | None, str | None]:
        """Write the pairs that are kept of all shards, if the options ask for it.

        Args:
            can_tell: Whether the judge can tell which pairs are wrong.

        Returns:
            What wrote them, or the reason why they are not written.
        """
        options, by_name = self.options, self.filled
        if options.clean is None:
            return None, None
        values = rounded_probabilities(list(map(self._part, by_name)))
        if refusal := cleaning_problem(options, can_tell, *values):
            return None, refusal
        threshold = clean_threshold(options, *values) or 0.0
        chosen = [str(threshold), str(options.drop), str(options.clean_weights)]
        cleaning = ShardCleaning(options, threshold, self.work / f"clean-{_hash(chosen)}")

        def is_clean(name: str) -> bool:
            return self._is_done(CLEANING, by_name[name], cleaning.is_done(name))

        for name in self._claim(CLEANING, cleaning.folder, by_name, is_clean):
            number = by_name[name]
            with scratch_cache(self.work) as scratch:
                rows = load_rows(shard_options(options, self.shards[number], scratch))
                shard = self.shard(number)
                known = self.reviews.of(shard)
                cleaning.write(name, self.names[number], rows, shard, self._part(name), known)
        keeps_some = any(cleaning.counts(name)["pairs_kept"] for name in by_name)
        return (cleaning, None) if keeps_some else (None, nothing_kept(options))

    def close(self) -> None:
        """Leave the line of progress."""
        self._progress.close()

    def _is_done(self, stage: str, number: int, is_done: bool) -> bool:
        """Whether nothing is left to do for a shard; shows it."""
        if is_done and not self._progress.has(stage, number):
            self._progress.has_done(stage, number, self.shard(number).info["n_pairs"])
        return is_done or self.is_removed

    def _claim(
        self, stage: str, folder: Path, names: Mapping[str, int], is_done: Callable[[str], bool]
    ) -> Iterator[str]:
        """Tasks for this process; what others have done meanwhile is shown as well."""

        def count() -> None:
            if not self._progress.is_hidden:
                for name, number in names.items():
                    if not self._progress.has(stage, number):
                        is_done(name)

        count()
        self._progress.begin(stage)
        for name in claim_tasks(names, is_done, folder / "locks"):
            yield name
            count()

    def publish(self) -> dict[str, Any]:
        """Put the parts in their place; facts of all pairs for the summary."""
        shards = self._all_shards()
        infos, counts = [shard.info for shard in shards], trouble_counts(shards)
        parts = sorted(self.parts.glob("part-*.parquet"))
        metadata = [pq.read_schema(part).metadata for part in parts]
        with atomic_write(self.table) as aside:
            aside.mkdir()
            for part in parts:
                link_or_copy(part, aside / part.name)
        return {
            "n_images": sum(info["n_images"] for info in infos),
            "n_pairs": sum(info["n_pairs"] for info in infos),
            "judged_wrong": sum(int(facts[b"wrong"]) for facts in metadata),
            "reviews": self._review_facts(metadata, sum(info["n_pairs"] for info in infos)),
            "left_out": self.left_out(),
            "troubles": {
                trouble.name: trouble.summary() | counts[trouble.name]
                for trouble in self.troubles()
            },
            "table": str(self.table),
            "sharded": {
                "shards": len(self.shards),
                "sample_images": self.sample.info["n_images"],
                "sample_pairs": self.sample.info["n_pairs"],
                "look_like_the_sample": sum(int(facts[b"alike"]) for facts in metadata),
                "copies": copies(shards, self.names),
                "repeated_keys": repeated_keys(shards, self.names),
            },
        }

    def _review_facts(self, metadata: Sequence[Any], n_pairs: int) -> dict[str, Any] | None:
        if self.options.reviews is None:
            return None
        wrong_share = sum(float(facts[b"doubt"]) for facts in metadata) / max(1, n_pairs)
        facts = {"file": str(self.options.reviews), **self.reviews.facts}
        return facts | {"wrong_share": wrong_share, "oracle_of_others": {}}

    def troubles(self) -> list[Trouble]:
        """The kinds of trouble that pairs have in their shards, with the pairs of the sample."""
        return sample_troubles(self._all_shards(), self.sample)

    def _all_shards(self) -> list[KeptShard]:
        return [self.shard(number) for number in range(len(self.shards))]

    def left_out(self) -> list[str]:
        """Lines about what was left out, those of one kind as one line."""
        tars = [Path(shard) for shard in self.shards if "://" not in shard and is_tar_name(shard)]
        lines = (line for shard in self._all_shards() for line in shard.info["left_out"])
        notes = kept_notes(self.kept / _SPLITS)
        return [*merged_messages(lines), *lost_shards(tars), *notes]

    def remove(self) -> None:
        """Remove what was kept."""
        remove_folder(self.kept)
        if not any(self.kept.parent.iterdir()):
            self.kept.parent.rmdir()

    def with_pictures(self, rows: AuditRows, wanted: NDArray[np.int64]) -> AuditRows:
        """The sample with the pictures of some rows, which are read from their shards again.

        Args:
            rows: The rows of the sample.
            wanted: Those with pictures.
        """
        if not self.sample.has_pictures:
            return rows
        pictures: list[dict[str, Any] | None] = [None] * rows.pairs.n_images
        shards = self.sample.places[0]
        for number in np.unique(shards[wanted]).tolist():
            own = wanted[shards[wanted] == number]
            content_of = dict(self._pictures(self.shards[number]))
            for row, digest in zip(own.tolist(), rows.scan.digests[own].tolist(), strict=True):
                pictures[row] = {"bytes": content_of[digest], "path": None}
        stored = rows.pairs.dataset.remove_columns(REGIONS)
        stored = stored.add_column(IMAGE, pictures, feature=datasets.Image(decode=False))
        stored = stored.cast_column(IMAGE, datasets.Image())
        return replace(rows, pairs=PairDataset(stored))

    def _pictures(self, shard: str) -> list[tuple[int, bytes]]:
        """Digest and content of each picture of a shard."""
        with scratch_cache(self.work) as scratch:
            found = []
            for row in stored_pictures(self._load(shard, scratch)):
                source = picture_source(row[IMAGE])
                content = source if isinstance(source, bytes) else source.read_bytes()
                found.append((content_digest(content), content))
            return found


def check_table(options: AuditOptions) -> None:
    """Refuse a folder for the parts that holds anything else.

    Args:
        options: Options of the audit.

    Raises:
        ValueError: If it does.
    """
    folder = options.output.with_suffix("")
    if not folder.exists():
        return
    files = list(folder.iterdir()) if folder.is_dir() else [folder]
    others = [file for file in files if not is_audit_table(file)]
    if others:
        raise ValueError(
            f"--output is {options.output}, so that the parts of the table go to {folder}, where "
            f"there is {others[0].name}: give another --output, or remove that"
        )


def _reading(options: AuditOptions) -> dict[str, Any]:
    """The options that what is read depends on."""
    names = ("image_column", "caption_column", "id_column", "inject_noise", "noise_seed")
    return {name: getattr(options, name) for name in names}


def _short_names(shards: Sequence[str]) -> list[str]:
    """Names of shards below the folder that they share."""
    if len(shards) == 1:
        return [os.path.basename(shards[0])]
    shared = os.path.commonpath([os.path.dirname(shard) for shard in shards])
    return [os.path.relpath(shard, shared).replace(os.sep, "/") for shard in shards]


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
