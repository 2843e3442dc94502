"""Nearest vectors by inner product: a faiss index, built in blocks and stored in a file.

The file is a faiss index followed by a description (JSON), the length of the description and a
marker. faiss reads a file only if its size and digest match the description.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from ..files import atomic_write

#: Maximum number of vectors for which "auto" is exact. With 200,000 vectors of 512 dimensions
#: (400 MB) one query took 15 ms and a hundred took 1.7 s on one thread of a server CPU.
EXACT_UP_TO = 200_000

#: Kinds of index, see `VectorIndex.build`.
INDEX_KINDS = ("auto", "exact", "ivf", "hnsw")
_BLOCK_ROWS = 8192
_TRAINING_ROWS = 40  # vectors per cell for fitting the centres; faiss requires 39
_MIN_PROBES, _PROBE_DIVISOR = 16, 8  # a query visits n_cells / _PROBE_DIVISOR cells, at least 16
_LINKS, _BUILD_DEPTH, _SEARCH_DEPTH = 32, 128, 128
_MARKER = b"noisy_xmodal index 1\n"
_LENGTH_BYTES = 8


class VectorIndex:
    """Finds the vectors with the largest inner products with a query.

    Create it by `VectorIndex.build` or `VectorIndex.load`.

    Args:
        index: The faiss index.
        kind: "exact", "ivf" or "hnsw".

    Attributes:
        kind: "exact", "ivf" or "hnsw".
    """

    def __init__(self, index: Any, kind: str) -> None:
        self._index = index
        self.kind = kind

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def size(self) -> int:
        """Dimension of the vectors."""
        return int(self._index.d)

    @classmethod
    def build(
        cls,
        vectors: NDArray[np.floating],
        kind: str = "auto",
        seed: int = 0,
        progress: bool = False,
    ) -> "VectorIndex":
        """Build an index of vectors.

        Args:
            vectors: (n, size), float16 or float32; may be memory-mapped, and is read in blocks.
            kind: "exact" compares a query with every vector. "ivf" clusters the vectors into cells
                and compares with those of the nearest cells. "hnsw" searches a graph of
                neighbours: the fastest to search and the slowest to build. "auto" is "exact" for
                up to `EXACT_UP_TO` vectors, else "ivf".
            seed: Seed of the sample for fitting the cells. Graphs built by several threads differ
                between runs.
            progress: Whether to show a progress bar.

        Raises:
            ValueError: If `vectors` is not a matrix or is empty, a value is not finite, or the kind
                is unknown.
        """
        if kind not in INDEX_KINDS:
            raise ValueError(f"kind is {kind!r}: give one of {', '.join(INDEX_KINDS)}")
        if vectors.ndim != 2 or not vectors.size:
            raise ValueError(f"vectors has shape {vectors.shape}: give (n, size), both at least 1")
        faiss = _faiss()
        n, size = vectors.shape
        if kind == "auto":
            kind = "exact" if n <= EXACT_UP_TO else "ivf"
        if kind == "ivf":
            index = _train_ivf(faiss, vectors, seed)
        elif kind == "hnsw":
            index = faiss.IndexHNSWFlat(size, _LINKS, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction, index.hnsw.efSearch = _BUILD_DEPTH, _SEARCH_DEPTH
        else:
            index = faiss.IndexFlatIP(size)
        with tqdm(total=n, desc="indexing", unit="vector", disable=not progress) as bar:
            for block in _blocks(vectors, n):
                index.add(block)
                bar.update(len(block))
        return cls(index, kind)

    def search(
        self, queries: NDArray[np.floating], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the best vectors for each query.

        Args:
            queries: (n_queries, size).
            k: Answers per query.

        Returns:
            Scores (n_queries, k) and rows of `vectors` (n_queries, k), best first, the lower row
            first for equal scores; minus infinity and -1 if there are fewer answers.

        Raises:
            ValueError: If shapes do not fit, a value is not finite, or k is below 1.
        """
        if k < 1:
            raise ValueError(f"k is {k}: give at least 1")
        if queries.ndim != 2 or queries.shape[1] != self.size:
            raise ValueError(
                f"queries has shape {queries.shape}: this index takes (n_queries, {self.size})"
            )
        vectors = np.ascontiguousarray(queries, dtype=np.float32)  # (n_queries, size)
        _check_finite(vectors, "queries", 0)
        _faiss()
        scores = np.full((len(vectors), k), -np.inf, dtype=np.float32)
        rows = np.full((len(vectors), k), -1, dtype=np.int64)
        remaining, depth = np.arange(len(vectors)), k + 1
        # faiss returns arbitrary ones of the vectors tied at the last place: search deeper then.
        while len(remaining):
            depth = min(depth, len(self))
            best, best_rows = _sort_ties(*self._index.search(vectors[remaining], depth))
            width = min(k, depth)
            scores[remaining, :width] = best[:, :width]
            rows[remaining, :width] = best_rows[:, :width]
            if depth == len(self):
                break
            remaining = remaining[(best[:, -1] == best[:, k - 1]) & (best_rows[:, -1] >= 0)]
            depth *= 2
        return scores, rows

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index atomically."""
        with atomic_write(path, shared=True) as aside:
            _faiss().write_index(self._index, str(aside))
            description = {
                "kind": self.kind,
                "n": len(self),
                "size": self.size,
                "bytes": aside.stat().st_size,
                "digest": _digest(aside, aside.stat().st_size),
            }
            text = json.dumps(description).encode()
            with open(aside, "ab") as file:
                file.write(text + len(text).to_bytes(_LENGTH_BYTES, "big") + _MARKER)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "VectorIndex":
        """Read an index that `save` wrote.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If the file is not such an index, or is damaged.
        """
        faiss = _faiss()
        description = _read_description(Path(path))
        try:
            index = faiss.read_index(str(path))
        except RuntimeError as error:
            raise ValueError(f"{path} cannot be read by faiss: delete it ({error})") from error
        if (index.ntotal, index.d) != (description["n"], description["size"]):
            raise ValueError(
                f"{path} has {index.ntotal} vectors of {index.d} dimensions, but its description "
                f"has {description['n']} of {description['size']}: delete it"
            )
        return cls(index, description["kind"])


def _faiss() -> Any:
    """The module faiss, with the number of threads of torch."""
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "an index needs faiss, which is not installed: run `pip install faiss-cpu`"
        ) from error
    faiss.omp_set_num_threads(torch.get_num_threads())
    return faiss


def _train_ivf(faiss: Any, vectors: NDArray[np.floating], seed: int) -> Any:
    """An empty index whose cells are fitted to a sample of the vectors."""
    n, size = vectors.shape
    n_cells = max(1, min(int(2 * n**0.5), n // _TRAINING_ROWS))
    index = faiss.index_factory(size, f"IVF{n_cells},Flat", faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = seed
    index.nprobe = min(n_cells, max(_MIN_PROBES, n_cells // _PROBE_DIVISOR))
    n_sample = min(n, _TRAINING_ROWS * n_cells)
    rows = np.sort(np.random.default_rng(seed).choice(n, n_sample, replace=False))
    sample = np.asarray(vectors[rows], dtype=np.float32)  # (n_sample, size)
    _check_finite(sample, "vectors", 0)
    index.train(sample)
    return index


def _blocks(vectors: NDArray[np.floating], n: int) -> Iterator[NDArray[np.float32]]:
    for start in range(0, n, _BLOCK_ROWS):
        block = np.ascontiguousarray(vectors[start : start + _BLOCK_ROWS], dtype=np.float32)
        _check_finite(block, "vectors", start)
        yield block


def _check_finite(block: NDArray[np.float32], name: str, start: int) -> None:
    bad = np.flatnonzero(~np.isfinite(block).all(axis=1))  # (n_bad,)
    if len(bad):
        raise ValueError(
            f"{name} row {start + bad[0]} has a value that is not finite: look for a diverged model"
        )


def _sort_ties(
    scores: NDArray[np.float32], rows: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Sort by score, then by row; missing answers get minus infinity."""
    scores = np.where(rows < 0, -np.inf, scores).astype(np.float32)
    order = np.lexsort((rows, -scores), axis=1)  # (n_queries, depth)
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def _read_description(path: Path) -> dict[str, Any]:
    """The description at the end of a file, verified against its size and digest."""
    n_bytes = path.stat().st_size
    end = _LENGTH_BYTES + len(_MARKER)
    with open(path, "rb") as file:
        file.seek(max(0, n_bytes - end))
        tail = file.read(end)
        if len(tail) < end or tail[_LENGTH_BYTES:] != _MARKER:
            raise ValueError(f"{path} is not an index of this library, or is incomplete")
        length = int.from_bytes(tail[:_LENGTH_BYTES], "big")
        file.seek(max(0, n_bytes - end - length))
        text = file.read(min(length, n_bytes))
    try:
        description = json.loads(text[: min(length, n_bytes - end)])
        payload = description["bytes"]
        is_valid = (
            description["kind"] in INDEX_KINDS
            and payload + length + end == n_bytes
            and 0 < 4 * description["n"] * description["size"] <= payload
            and description["digest"] == _digest(path, payload)
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it and index again") from error
    if not is_valid:
        raise ValueError(
            f"{path} is damaged (size or content does not match its description): delete it and "
            "index again"
        )
    return description


def _digest(path: Path, n_bytes: int) -> str:
    """A digest of the first bytes of a file."""
    digest = hashlib.blake2b(digest_size=32)
    with open(path, "rb") as file:
        while n_bytes > 0 and (block := file.read(min(n_bytes, 2**20))):
            digest.update(block)
            n_bytes -= len(block)
    return digest.hexdigest()
