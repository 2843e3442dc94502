"""The identity of a dataset: one digest of the content per item, independent of the location.

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
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path

import datasets
import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..files import atomic_write
from .any_dataset.images import picture_places
from .columns import IMAGE, IMAGE_ID, REGIONS, column_blocks, column_values, is_checked_as_read
from .digests import Digests, array_digests, combined_digest, digest_of, file_state, text_digests
from .regions import region_arrays

_LOGGER = logging.getLogger(__name__)

#: Number of rows that represent large region features.
SAMPLED_ROWS = 1000

_THREADS, _BLOCK_BYTES = min(8, os.cpu_count() or 1), 1 << 20


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
    places = list(picture_places(dataset, IMAGE))
    digests = np.zeros(len(places), dtype=np.uint64)
    is_stored = np.array([has_content for _, has_content, _ in places], dtype=bool)
    if is_stored.any():
        digests[is_stored] = _content_digests(dataset)[is_stored]
    paths = [path or "" for _, has_content, path in places if not has_content]
    if paths:
        folder = Path(cache_dir or datasets.config.HF_DATASETS_CACHE) / "noisy_xmodal_pictures"
        digests[~is_stored] = _file_digests(paths, folder)
    return digests


def image_id_digests(dataset: datasets.Dataset) -> Digests:
    """Hashes the image name of each row; empty if the rows have no names."""
    has_names = IMAGE_ID in dataset.column_names
    return text_digests(map(str, column_values(dataset, IMAGE_ID)) if has_names else ())


def _content_digests(dataset: datasets.Dataset) -> Digests:
    """Digests of the pictures stored in the rows, (n_rows,); 0 where a row stores none."""
    digests: list[int] = []
    with ThreadPool(_THREADS) as pool:
        for _, column in column_blocks(dataset, IMAGE):
            buffers = [content.as_buffer() for content in pc.struct_field(column, "bytes")]
            digests += pool.map(lambda data: 0 if data is None else digest_of(data), buffers)
    return np.array(digests, dtype=np.uint64)


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
        open(aside, "wb") as file,
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
    digest = hashlib.blake2b(digest_size=8)
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError:
        return digest_of(path)
    return int.from_bytes(digest.digest(), "little")


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
