"""What a dataset is made of, as one digest an item: by content, wherever it lies.

A run goes on, and a cache is used, only if the digests are those of before. A folder that is copied
or moved has the same ones; a picture that is replaced under its name has another.

* Texts, vectors and pictures are digested whole. Every picture is read once for it; the digests of
  picture files are kept beside their size and times, so that a file that has not changed since is
  not read again.
* Region features of more than `CHECKED_BYTES` are not read through: the content of `SAMPLED_ROWS`
  rows, evenly spaced, stands for them.
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path

import datasets
import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from .any_dataset.images import picture_places
from .columns import IMAGE, IMAGE_ID, REGIONS, column_values, is_checked_as_read
from .digests import Digests, array_digests, digest_of, file_state, joined, text_digests
from .regions import region_arrays

_LOGGER = logging.getLogger(__name__)

#: Region features whose content counts where there are too many to read them through.
SAMPLED_ROWS = 1000

_THREADS, _BLOCK_ROWS, _BLOCK_BYTES = min(8, os.cpu_count() or 1), 256, 1 << 20


def image_digests(
    dataset: datasets.Dataset, cache_dir: str | os.PathLike[str] | None = None
) -> Digests:
    """One digest a row, of its picture or its region features.

    Args:
        dataset: Rows by the column contract.
        cache_dir: Where the digests of picture files are kept; the cache of `datasets` by default.

    Returns:
        (n_rows,). A picture that is no file has the digest of its path.
    """
    if REGIONS in dataset.column_names:
        return _region_digests(dataset)
    places = list(picture_places(dataset, IMAGE))
    digests = np.zeros(len(places), dtype=np.uint64)
    inside = np.array([has_content for _, has_content, _ in places], dtype=bool)
    if inside.any():
        digests[inside] = _content_digests(dataset)[inside]
    paths = [path or "" for _, has_content, path in places if not has_content]
    if paths:
        folder = Path(cache_dir or datasets.config.HF_DATASETS_CACHE) / "noisy_xmodal_pictures"
        digests[~inside] = _file_digests(paths, folder)
    return digests


def image_id_digests(dataset: datasets.Dataset) -> Digests:
    """One digest a row, of the image's name; none where the rows have no names."""
    known = IMAGE_ID in dataset.column_names
    return text_digests(map(str, column_values(dataset, IMAGE_ID)) if known else ())


def _content_digests(dataset: datasets.Dataset) -> Digests:
    """Digests of the pictures that stand in the rows, (n_rows,); 0 where there is none."""
    rows = dataset.select_columns([IMAGE]).with_format("arrow")
    found: list[int] = []
    with ThreadPool(_THREADS) as pool:
        for start in range(0, len(rows), _BLOCK_ROWS):
            contents = pc.struct_field(rows[start : start + _BLOCK_ROWS].column(IMAGE), "bytes")
            buffers = [content.as_buffer() for content in contents]
            found += pool.map(lambda one: 0 if one is None else digest_of(one), buffers)
    return np.array(found, dtype=np.uint64)


def _file_digests(paths: Sequence[str], folder: Path) -> Digests:
    """Digests of files, (n_paths,), of which those that have changed are read."""
    states = np.array([file_state(path) for path in paths], dtype=np.uint64)
    kept = folder / f"{joined(*map(os.path.abspath, paths))}.npy"
    digests, stale = np.zeros(len(paths), np.uint64), np.ones(len(paths), dtype=bool)
    known = _kept_digests(kept, len(paths))
    if known is not None:
        stale, digests = known[0] != states, known[1].copy()
    if not stale.any():
        return digests
    with ThreadPool(_THREADS) as pool:
        digests[stale] = pool.map(_file_digest, np.array(paths, dtype=object)[stale], chunksize=16)
    if known is not None and (n_changed := int((known[1] != digests).sum())):
        _LOGGER.warning(
            f"{n_changed:,} of {len(paths):,} pictures have changed since they were read last, the "
            f"first is {paths[int(np.argmax(known[1] != digests))]}: what was made of them is made "
            "anew."
        )
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time alone
        folder.mkdir(parents=True, exist_ok=True)
        aside = kept.with_name(f".{kept.stem}.{os.getpid()}.npy")
        np.save(aside, np.stack([states, digests]), allow_pickle=False)
        os.replace(aside, kept)
    return digests


def _kept_digests(path: Path, n: int) -> NDArray[np.uint64] | None:
    """States and digests of so many files, (2, n), from an earlier call."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == (2, n) and found.dtype == np.uint64 else None


def _file_digest(path: str) -> int:
    digest = hashlib.blake2b(digest_size=8)
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError:
        return digest_of(path)
    return int.from_bytes(digest.digest(), "little")


def _region_digests(dataset: datasets.Dataset) -> Digests:
    rows = dataset.select_columns([REGIONS]).with_format("arrow")
    chosen = np.arange(len(rows))
    if is_checked_as_read(dataset):
        chosen = np.unique(np.linspace(0, len(rows) - 1, SAMPLED_ROWS).astype(np.int64))
        rows = rows.select(chosen)
    blocks = (rows[start : start + _BLOCK_ROWS] for start in range(0, len(rows), _BLOCK_ROWS))
    digests = np.zeros(len(dataset), dtype=np.uint64)
    digests[chosen] = array_digests(
        regions for block in blocks for regions in region_arrays(block.column(REGIONS))
    )
    return digests
