"""Nearest vectors by inner product: a faiss index, built in blocks and kept in a file.

The file is what faiss writes, followed by a description of it (JSON), the length of that, and a
mark. A file is read by faiss only after its size and digest were found to be those described.
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

#: Vectors up to which "auto" compares a query with all of them. Of 200,000 vectors of 512 numbers
#: (400 MB) one query took 15 ms and a hundred took 1.7 s, on one thread of a server CPU; the time
#: grows with both.
EXACT_UP_TO = 200_000

#: Kinds of index, see `VectorIndex.build`.
INDEX_KINDS = ("auto", "exact", "ivf", "hnsw")
_BLOCK_ROWS = 8192
_TRAINING_ROWS = 40  # vectors that the centre of a cell is fitted to; faiss wants 39
_LEAST_PROBED, _PROBED_SHARE = 16, 8  # cells that a query visits: at least, and one in so many
_LINKS, _BUILD_DEPTH, _SEARCH_DEPTH = 32, 128, 128
_MARK = b"noisy_xmodal index 1\n"
_LENGTH_BYTES = 8


class VectorIndex:
    """Finds the vectors with the largest inner products with a query.

    Built by `VectorIndex.build` or read by `VectorIndex.load`.

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
        """Length of a vector."""
        return int(self._index.d)

    @classmethod
    def build(
        cls,
        vectors: NDArray[np.floating],
        kind: str = "auto",
        seed: int = 0,
        progress: bool = False,
    ) -> "VectorIndex":
        """Index vectors; row i is what a search calls row i.

        Args:
            vectors: (n, size), float16 or float32; may be memory-mapped, and is read in blocks.
            kind: "exact" compares a query with every vector. "ivf" puts similar vectors into cells
                and compares with those of the nearest cells. "hnsw" walks a graph of neighbours:
                the fastest to search, the slowest to build. "auto" is "exact" for `EXACT_UP_TO`
                vectors and fewer, else "ivf".
            seed: Of the choice of vectors that cells are fitted to. Graphs that several threads
                build differ from run to run.
            progress: Whether to show a progress bar.

        Raises:
            ValueError: If `vectors` is no matrix or empty, a value is not finite, or there is no
                such kind.
        """
        if kind not in INDEX_KINDS:
            raise ValueError(f"kind is {kind!r}: give one of {', '.join(INDEX_KINDS)}")
        if vectors.ndim != 2 or not vectors.size:
            raise ValueError(f"vectors has shape {vectors.shape}: give (n, size), at least 1 of 1")
        faiss = _faiss()
        n, size = vectors.shape
        if kind == "auto":
            kind = "exact" if n <= EXACT_UP_TO else "ivf"
        if kind == "ivf":
            index = _with_cells(faiss, vectors, seed)
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
            k: Answers to a query.

        Returns:
            Scores (n_queries, k) and rows (n_queries, k), best first, of equal scores the lower row
            first; minus infinity and -1 where fewer are found.

        Raises:
            ValueError: If shapes do not fit, a value is not finite, or k is below 1.
        """
        if k < 1:
            raise ValueError(f"k is {k}: ask for at least 1 answer")
        if queries.ndim != 2 or queries.shape[1] != self.size:
            raise ValueError(
                f"queries has shape {queries.shape}: this index takes (n_queries, {self.size})"
            )
        asked = np.ascontiguousarray(queries, dtype=np.float32)  # (n_queries, size)
        _check_finite(asked, "queries", 0)
        _faiss()
        scores = np.full((len(asked), k), -np.inf, dtype=np.float32)
        rows = np.full((len(asked), k), -1, dtype=np.int64)
        open_queries, depth = np.arange(len(asked)), k + 1
        # Faiss keeps any of those that share the last place: look deeper until none is left out.
        while len(open_queries):
            depth = min(depth, len(self))
            found, at = _in_order(*self._index.search(asked[open_queries], depth))
            width = min(k, depth)
            scores[open_queries, :width], rows[open_queries, :width] = (
                found[:, :width],
                at[:, :width],
            )
            if depth == len(self):
                break
            open_queries = open_queries[(found[:, -1] == found[:, k - 1]) & (at[:, -1] >= 0)]
            depth *= 2
        return scores, rows

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index aside and rename it into place."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
        _faiss().write_index(self._index, str(aside))
        about = {
            "kind": self.kind,
            "n": len(self),
            "size": self.size,
            "bytes": aside.stat().st_size,
            "digest": _digest(aside, aside.stat().st_size),
        }
        text = json.dumps(about).encode()
        with open(aside, "ab") as file:
            file.write(text + len(text).to_bytes(_LENGTH_BYTES, "big") + _MARK)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "VectorIndex":
        """Read an index that `save` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is no such index, or damaged.
        """
        faiss = _faiss()
        about = _description(Path(path))
        try:
            index = faiss.read_index(str(path))
        except RuntimeError as error:
            raise ValueError(f"{path} cannot be read by faiss: delete it ({error})") from error
        if (index.ntotal, index.d) != (about["n"], about["size"]):
            raise ValueError(
                f"{path} holds {index.ntotal} vectors of {index.d} numbers, and its description "
                f"says {about['n']} of {about['size']}: delete it"
            )
        return cls(index, about["kind"])


def _faiss() -> Any:
    """The module, using as many threads as torch does."""
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "an index needs faiss, which is not installed: run `pip install faiss-cpu`"
        ) from error
    faiss.omp_set_num_threads(torch.get_num_threads())
    return faiss


def _with_cells(faiss: Any, vectors: NDArray[np.floating], seed: int) -> Any:
    """An index of cells, fitted to some of the vectors."""
    n, size = vectors.shape
    n_cells = max(1, min(int(2 * n**0.5), n // _TRAINING_ROWS))
    index = faiss.index_factory(size, f"IVF{n_cells},Flat", faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = seed
    index.nprobe = min(n_cells, max(_LEAST_PROBED, n_cells // _PROBED_SHARE))
    n_chosen = min(n, _TRAINING_ROWS * n_cells)
    chosen = np.sort(np.random.default_rng(seed).choice(n, n_chosen, replace=False))
    sample = np.asarray(vectors[chosen], dtype=np.float32)  # (n_chosen, size)
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
            f"{name} row {start + bad[0]} holds a value that is not finite: look for a diverged "
            "model"
        )


def _in_order(
    scores: NDArray[np.float32], rows: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Best first, equal scores by row, and minus infinity where faiss found nothing."""
    scores = np.where(rows < 0, -np.inf, scores).astype(np.float32)
    order = np.lexsort((rows, -scores), axis=1)  # (n_queries, depth)
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def _description(path: Path) -> dict[str, Any]:
    """What the end of a file says of it, after a look at whether this is so."""
    n_bytes = path.stat().st_size
    end = _LENGTH_BYTES + len(_MARK)
    with open(path, "rb") as file:
        file.seek(max(0, n_bytes - end))
        tail = file.read(end)
        if len(tail) < end or tail[_LENGTH_BYTES:] != _MARK:
            raise ValueError(f"{path} is no index of this library, or only a part of one")
        length = int.from_bytes(tail[:_LENGTH_BYTES], "big")
        file.seek(max(0, n_bytes - end - length))
        text = file.read(min(length, n_bytes))
    try:
        about = json.loads(text[: min(length, n_bytes - end)])
        payload = about["bytes"]
        is_right = (
            about["kind"] in INDEX_KINDS
            and payload + length + end == n_bytes
            and 0 < 4 * about["n"] * about["size"] <= payload
            and about["digest"] == _digest(path, payload)
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it and index again") from error
    if not is_right:
        raise ValueError(
            f"{path} is damaged, for its size or content is not what it says: delete "
            "it and index again"
        )
    return about


def _digest(path: Path, n_bytes: int) -> str:
    """A digest of the first bytes of a file."""
    digest = hashlib.blake2b(digest_size=32)
    with open(path, "rb") as file:
        while n_bytes > 0 and (block := file.read(min(n_bytes, 2**20))):
            digest.update(block)
            n_bytes -= len(block)
    return digest.hexdigest()
