"""Rows and vectors of shards, kept on disk: each shard is read once, by one process.

The folder of a shard holds its usable rows (`rows.arrow`, with region features or what a frozen
model made of the pictures), digests and hashes of its images (`looks.npy`), vectors of its distinct
captions (`texts.npy`), and what was left out (`info.json`). It is written aside and renamed, so it
is whole or missing. The sample that judges are trained on is kept in the same way.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..arguments.audit import TROUBLES, AuditOptions
from ..data import DatasetError, PairDataset
from ..data.any_dataset.archives import is_tar_name
from ..data.any_dataset.listing import local_shard
from ..data.columns import CAPTIONS, IMAGE, IMAGE_ID, IS_NOISY, REGIONS, column_values
from ..data.pair_dataset import GridPairs
from ..data.regions import ragged_region_column, region_feature
from ..files import atomic_write, read_json
from .features import CaptionVectors, FrozenModels, distinct_texts
from .image_scan import ImageScan, content_digest
from .loading import AuditRows, load_rows
from .other_splits import OtherSplits
from .troubles import find_troubles

_ROWS, _LOOKS, _TEXTS, _INFO = "rows.arrow", "looks.npy", "texts.npy", "info.json"
_PLACES, _TROUBLES = "places.npy", "troubles.npy"
_BLOCK = 1024


@dataclass(frozen=True)
class KeptShard:
    """Rows that are kept in a folder, read on access.

    Attributes:
        folder: The folder.
    """

    folder: Path

    @cached_property
    def info(self) -> dict[str, Any]:
        """Counts `n_images` and `n_pairs`, lines `left_out`, the `scale` of caption vectors.

        `troubles` has the number of images of each kind, and some of them.
        """
        return read_json(self.folder / _INFO)

    @cached_property
    def pairs(self) -> PairDataset:
        """The pairs, of images as region features."""
        return PairDataset(datasets.Dataset.from_file(str(self.folder / _ROWS)))

    @cached_property
    def image_ids(self) -> list[str]:
        """Name of each image."""
        return column_values(self.pairs.dataset, IMAGE_ID)

    @cached_property
    def looks(self) -> NDArray[np.uint64]:
        """Digest and hash of each image, see `AuditRows`, and digest of its key, (3, n_images).

        Hashes are 0 without pictures, and keys are if the shard is not a tar.
        """
        return np.load(self.folder / _LOOKS, allow_pickle=False)

    @cached_property
    def has_trouble(self) -> NDArray[np.bool_]:
        """Which kinds of `TROUBLES` each pair has within its shard, (n_pairs, n_kinds)."""
        return np.load(self.folder / _TROUBLES, allow_pickle=False)

    @cached_property
    def captions(self) -> CaptionVectors | None:
        """Vectors of the distinct captions; None without a text model."""
        path = self.folder / _TEXTS
        if not path.is_file():
            return None
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        return CaptionVectors(distinct_texts(self.pairs.captions()), vectors, self.info["scale"])

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Of a sample: shard and row of each image, (2, n_images), ascending."""
        return np.load(self.folder / _PLACES, allow_pickle=False)

    @property
    def has_pictures(self) -> bool:
        """Whether the images are pictures."""
        return bool(self.info["has_pictures"])

    def rows(self, split: str) -> AuditRows:
        """The rows as an audit takes them.

        Args:
            split: Name of their split.
        """
        digests, hashes, _ = self.looks
        hashes = hashes if self.has_pictures else hashes[:0]
        nothing = np.zeros((0, 2), np.int64)
        return AuditRows(self.pairs, split, ImageScan({}, digests, hashes, nothing, nothing[:, 0]))


def keep_shard(
    shard: str,
    name: str,
    options: AuditOptions,
    others: OtherSplits,
    device: str,
    folder: Path,
) -> None:
    """Read a shard and keep its rows and vectors in a folder.

    A shard that cannot be read is kept without rows, and its reason among what was left out.

    Args:
        shard: From `shard_files`.
        name: Its name in messages.
        options: Options of the audit.
        others: The other splits.
        device: Device of the frozen models.
        folder: The folder; a parent of temporary files as well.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder) as aside, scratch_cache(folder.parent) as scratch:
        aside.mkdir()
        own = shard_options(options, shard, scratch)
        try:
            rows = load_rows(own, others)
        except DatasetError as error:
            _write_info(aside, 0, 0, [f"{name}: nothing was read from it: {error}"])
            return
        # Whole words: the shard 00000 is not named by the sample 000000001.
        is_named = re.compile(rf"\b{re.escape(PurePath(name).stem)}\b").search
        lines = [line if is_named(line) else f"{name}: {line}" for line in rows.left_out]
        models = FrozenModels.of(own, rows.pairs.visual)
        pairs, captions = models.read(rows, own, device)
        if pairs.visual == IMAGE:
            raise ValueError(
                "an audit by parts needs features of pictures: install them (pip install "
                "'noisy-xmodal[pretrained]'), or name a model with --vision_model_name_or_path"
            )
        with _RowWriter(aside, pairs) as writer:
            writer.write(pairs, np.arange(pairs.n_images))
        is_tar = is_tar_name(name)
        keys = [content_digest(key.encode()) if is_tar else 0 for key in rows.image_ids]
        looks = np.zeros((3, pairs.n_images), np.uint64)
        looks[0], looks[2] = rows.scan.digests, keys
        if len(rows.scan.hashes):
            looks[1] = rows.scan.hashes
        troubles = {trouble.name: trouble for trouble in find_troubles(rows)}
        has_trouble = np.zeros((len(pairs), len(TROUBLES)), bool)
        for column, kind in enumerate(TROUBLES):
            if kind in troubles:
                has_trouble[:, column] = troubles[kind].has_it
        np.save(aside / _TROUBLES, has_trouble, allow_pickle=False)
        np.save(aside / _LOOKS, looks, allow_pickle=False)
        scale = None
        if captions is not None:
            np.save(aside / _TEXTS, captions.vectors, allow_pickle=False)
            scale = captions.scale
        is_pictures = rows.pairs.visual == IMAGE
        examples = {kind: (one.n_images, one.examples) for kind, one in troubles.items()}
        _write_info(aside, pairs.n_images, len(pairs), lines, scale, is_pictures, examples)


def shard_options(options: AuditOptions, shard: str, scratch: Path) -> AuditOptions:
    """The options of an audit for one shard alone, which is fetched if it is remote.

    Args:
        options: Options of the audit.
        shard: From `shard_files`.
        scratch: From `scratch_cache`.
    """
    return replace(
        options,
        dataset_name=str(local_shard(shard, scratch)),
        dataset_config_name=None,
        split=None,
        cache_dir=scratch,
        disable_tqdm=True,
    )


def keep_sample(
    shards: Sequence[KeptShard], names: Sequence[str], n_pairs: int, seed: int, folder: Path
) -> None:
    """Keep a random sample of the rows of shards: as large a part of each.

    Args:
        shards: The shards.
        names: Their names, for messages.
        n_pairs: About how many pairs to take, with all captions of an image.
        seed: Seed of the sample.
        folder: The folder.

    Raises:
        DatasetError: No shard has a row, or region features differ in size.
    """
    counts = np.array([shard.info["n_images"] for shard in shards])
    n_all = sum(shard.info["n_pairs"] for shard in shards)
    if not n_all:
        reasons = [line for shard in shards for line in shard.info["left_out"]]
        raise DatasetError(f"No shard has a usable pair: {'; '.join(reasons[:3])}")
    wanted = min(counts.sum(), max(1, round(n_pairs * counts.sum() / n_all)))
    ends = np.cumsum(counts) * wanted // counts.sum()  # of the sample, by shard
    with atomic_write(folder) as aside:
        aside.mkdir()
        writer: _RowWriter | None = None
        places, looks, has_trouble = [], [], []
        vectors: dict[str, NDArray[np.floating]] = {}
        first: KeptShard | None = None
        for number, quota in enumerate(np.diff(ends, prepend=0).tolist()):
            if not quota:
                continue
            # Opened anew: what was read of a shard is freed with it.
            shard = KeptShard(shards[number].folder)
            rng = np.random.default_rng([seed, number])
            rows = np.sort(rng.choice(counts[number], quota, replace=False))
            part = shard.pairs.select(rows)
            if writer is None or first is None:
                first, writer = shard, _RowWriter(aside, part)
            _check_kind(shard, first, names[number])
            writer.write(part, np.arange(part.n_images))
            places.append(np.stack([np.full(quota, number), rows]))
            looks.append(shard.looks[:, rows])
            has_trouble.append(shard.has_trouble[np.isin(shard.pairs.row_of_pair, rows)])
            if shard.captions is not None:
                row_of_text = {text: row for row, text in enumerate(shard.captions.texts)}
                for text in part.captions():
                    vectors[text] = np.array(shard.captions.vectors[row_of_text[text]])
        assert writer is not None, "there is a row"
        assert first is not None, "there is a row"
        writer.close()
        np.save(aside / _PLACES, np.concatenate(places, axis=1), allow_pickle=False)
        np.save(aside / _LOOKS, np.concatenate(looks, axis=1), allow_pickle=False)
        np.save(aside / _TROUBLES, np.concatenate(has_trouble), allow_pickle=False)
        if vectors:
            texts = distinct_texts(list(vectors))
            np.save(aside / _TEXTS, np.stack([vectors[text] for text in texts]), allow_pickle=False)
        scale, n = first.info["scale"], sum(part.shape[1] for part in places)
        _write_info(aside, n, writer.n_pairs, [], scale, first.has_pictures)


class _RowWriter:
    """Writes rows of pairs with region features to `rows.arrow` in a folder."""

    def __init__(self, folder: Path, pairs: PairDataset) -> None:
        features = pairs.dataset.features
        stored = features.get(REGIONS)
        kind = "float16" if isinstance(pairs, GridPairs) else _dtype_of(stored)
        self._kind = kind
        own = {name: features[name] for name in (IMAGE_ID, CAPTIONS, IS_NOISY) if name in features}
        kept = datasets.Features(own | {REGIONS: region_feature(pairs.images[0].shape[-1], kind)})
        self._schema = kept.arrow_schema
        self._stream = pa.ipc.new_stream(str(folder / _ROWS), self._schema)
        self.n_pairs = 0

    def __enter__(self) -> "_RowWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Complete the file."""
        self._stream.close()

    def write(self, pairs: PairDataset, rows: NDArray[np.int64]) -> None:
        """Write rows."""
        others = [name for name in self._schema.names if name != REGIONS]
        stored = pairs.dataset.select_columns(others).with_format("arrow")
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK].tolist()
            table = stored[block].combine_chunks()
            regions = ragged_region_column(pairs.images.read(block), self._kind)
            table = table.append_column(REGIONS, regions).select(self._schema.names)
            self._stream.write_table(table.cast(self._schema))
        self.n_pairs += len(pairs)


def _dtype_of(feature: Any) -> str:
    while hasattr(feature, "feature"):
        feature = feature.feature
    return "float16" if getattr(feature, "dtype", "") == "float16" else "float32"


def _write_info(
    folder: Path,
    n_images: int,
    n_pairs: int,
    left_out: list[str],
    scale: float | None = None,
    has_pictures: bool = False,
    troubles: Mapping[str, Any] | None = None,
) -> None:
    info = {"n_images": n_images, "n_pairs": n_pairs, "left_out": left_out}
    info |= {"scale": scale, "has_pictures": has_pictures, "troubles": troubles or {}}
    (folder / _INFO).write_text(json.dumps(info), encoding="utf-8")


def _check_kind(shard: KeptShard, first: KeptShard, name: str) -> None:
    sizes = [one.pairs.images[0].shape[-1] for one in (shard, first)]
    if sizes[0] != sizes[1] or shard.has_pictures != first.has_pictures:
        raise DatasetError(
            f"{name} has vectors of size {sizes[0]}, but shards before it have size {sizes[1]}: "
            "audit shards of one kind."
        )


@contextmanager
def scratch_cache(parent: Path) -> Iterator[Path]:
    """A temporary folder that is the cache of `datasets` as well: a shard is copied there.

    Args:
        parent: Where to make it.
    """
    before = datasets.config.HF_DATASETS_CACHE
    shows_bars = not datasets.are_progress_bars_disabled()
    with tempfile.TemporaryDirectory(prefix=".scratch-", dir=parent) as folder:
        datasets.config.HF_DATASETS_CACHE = Path(folder)
        datasets.disable_progress_bars()
        try:
            yield Path(folder)
        finally:
            datasets.config.HF_DATASETS_CACHE = before
            if shows_bars:
                datasets.enable_progress_bars()


__all__ = ["KeptShard", "keep_sample", "keep_shard", "scratch_cache", "shard_options"]
