"""Hashes of contents: 64-bit digests of items, and names for combinations of digests.

A run resumes, and a cache is reused, only if all digests match. Copying or moving a folder keeps
its digests. Replacing a picture under the same name changes its digest.

* Texts, vectors and pictures are hashed in full. Digests of picture files are cached with the sizes
  and times of the files, so an unchanged file is read only once.
* Region features of more than `CHECKED_BYTES` are represented by `SAMPLED_ROWS` evenly spaced rows.
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

import datasets
import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..files import atomic_write
from .columns import IMAGE, IMAGE_ID, REGIONS, column_blocks, column_values, is_checked_as_read
from .regions import region_arrays

Digests = NDArray[np.uint64]

#: Number of rows that represent large region features.
SAMPLED_ROWS = 1000

_LOGGER = logging.getLogger(__name__)
_THREADS = min(8, os.cpu_count() or 1)
_blake = partial(hashlib.blake2b, digest_size=8)


def digest_of(*parts: bytes | str) -> int:
    """Hashes contents to a 64-bit number."""
    digest = _blake()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part)
    return int.from_bytes(digest.digest(), "little")


def text_digests(texts: Iterable[str]) -> Digests:
    """Hashes each text, (n_texts,)."""
    return np.array([digest_of(text) for text in texts], dtype=np.uint64)


def array_digests(rows: Iterable[np.ndarray]) -> Digests:
    """Hashes the shape, type and values of each array, (n_rows,)."""
    digests = [digest_of(f"{row.shape} {row.dtype}", row.tobytes()) for row in rows]
    return np.array(digests, dtype=np.uint64)


def combined_digest(*parts: Digests | str) -> str:
    """Hashes digests and texts, in this order, to a name of 32 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part.tobytes()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:32]


def file_state(path: str | os.PathLike[str]) -> int:
    """Hashes size, times and inode of a file, which change with its content; 0 without a file."""
    try:
        state = os.stat(path)
    except OSError:
        return 0
    return digest_of(f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns} {state.st_ino}")


def image_digests(
    dataset: datasets.Dataset, cache_dir: str | os.PathLike[str] | None = None
) -> Digests:
    """Hashes the picture or the region features of each row.

    Args:
        dataset: Rows that follow the column contract.
        cache_dir: Folder for the digests of picture files; by default, the cache of `datasets`.

    Returns:
        (n_rows,). A path without a file is hashed itself.
    """
    if REGIONS in dataset.column_names:
        return _region_digests(dataset)
    digests: list[int] = []
    paths: dict[int, str] = {}
    with ThreadPool(_THREADS) as pool:
        for first_row, column in column_blocks(dataset, IMAGE):
            buffers = [content.as_buffer() for content in pc.struct_field(column, "bytes")]
            digests += pool.map(lambda data: 0 if data is None else digest_of(data), buffers)
            names = pc.struct_field(column, "path").to_pylist()
            places = enumerate(zip(buffers, names, strict=True), first_row)
            paths |= {row: name or "" for row, (content, name) in places if content is None}
    result = np.array(digests, dtype=np.uint64)
    if paths:
        folder = Path(cache_dir or datasets.config.HF_DATASETS_CACHE) / "noisy_xmodal_pictures"
        result[list(paths)] = _file_digests(list(paths.values()), folder)
    return result


def image_id_digests(dataset: datasets.Dataset) -> Digests:
    """Hashes the image name of each row; empty if the rows have no names."""
    has_names = IMAGE_ID in dataset.column_names
    return text_digests(map(str, column_values(dataset, IMAGE_ID)) if has_names else ())


def _file_digests(paths: Sequence[str], folder: Path) -> Digests:
    """Digests of files, (n_paths,); only files that changed since the last call are read."""
    states = np.array([file_state(path) for path in paths], dtype=np.uint64)
    cache_file = folder / f"{combined_digest(*map(os.path.abspath, paths))}.npy"
    digests, stale = np.zeros(len(paths), np.uint64), np.ones(len(paths), dtype=bool)
    cached = _load_digests(cache_file, len(paths))
    if cached is not None:
        stale, digests = cached[0] != states, cached[1].copy()
    if not stale.any():
        return digests
    with ThreadPool(_THREADS) as pool:
        digests[stale] = pool.map(_file_digest, np.array(paths, dtype=object)[stale], chunksize=16)
    if cached is not None and (n_changed := int((cached[1] != digests).sum())):
        _LOGGER.warning(
            f"{n_changed:,} of {len(paths):,} pictures have changed since the last run, the first "
            f"is {paths[int(np.argmax(cached[1] != digests))]}. Everything derived from them is "
            "computed again."
        )
    with (
        contextlib.suppress(OSError),  # without the cache, the next run only takes longer
        atomic_write(cache_file, shared=True) as aside,
        aside.open("wb") as file,
    ):
        np.save(file, np.stack([states, digests]), allow_pickle=False)
    return digests


def _load_digests(path: Path, n_files: int) -> NDArray[np.uint64] | None:
    """The states and digests of an earlier call, (2, n_files), if there are any."""
    try:
        cached = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return cached if cached.shape == (2, n_files) and cached.dtype == np.uint64 else None


def _file_digest(path: str) -> int:
    try:
        with open(path, "rb") as file:
            return int.from_bytes(hashlib.file_digest(file, _blake).digest(), "little")
    except OSError:
        return digest_of(path)


def _region_digests(dataset: datasets.Dataset) -> Digests:
    rows, sample = dataset, np.arange(len(dataset))
    if is_checked_as_read(dataset):
        sample = np.unique(np.linspace(0, len(dataset) - 1, SAMPLED_ROWS).astype(np.int64))
        rows = dataset.select(sample)
    digests = np.zeros(len(dataset), dtype=np.uint64)
    digests[sample] = array_digests(
        regions for _, column in column_blocks(rows, REGIONS) for regions in region_arrays(column)
    )
    return digests
