"""Nearest vectors by inner product, with faiss."""

from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

#: Above both numbers the search is approximate: the vectors are clustered into cells, and a query
#: visits an eighth of them. Fewer queries do not pay for the clustering.
EXACT_UP_TO, FEW_QUERIES = 200_000, 2_000
_BLOCK_ROWS = 65_536
_TRAINING_ROWS = 40  # vectors per cell for fitting the centres; faiss requires 39
_MIN_PROBES, _PROBE_DIVISOR = 16, 8


def nearest(
    vectors: NDArray[np.floating], queries: NDArray[np.floating], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Find the vectors with the largest inner products with each query.

    Args:
        vectors: (n, size), float16 or float32; may be memory-mapped, and is read in blocks.
        queries: (n_queries, size).
        k: Answers per query.

    Returns:
        Scores and rows of `vectors`, best first, the lower row first for equal scores, both
        (n_queries, min(k, n)). An approximate search that finds fewer ends with minus infinity and
        -1.

    Raises:
        ValueError: If shapes do not fit, a value is not finite, or k is below 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}: give at least 1")
    if vectors.ndim != 2 or not vectors.size:
        raise ValueError(f"vectors has shape {vectors.shape}: give (n, size), both at least 1")
    if queries.ndim != 2 or queries.shape[1] != vectors.shape[1]:
        raise ValueError(f"queries has shape {queries.shape}: give (n_queries, {vectors.shape[1]})")
    faiss.omp_set_num_threads(torch.get_num_threads())
    queries = _floats(queries, "queries", 0)  # (n_queries, size)
    if len(vectors) > EXACT_UP_TO and len(queries) > FEW_QUERIES:
        index = _train_cells(vectors)
        for _, block in _blocks(vectors):
            index.add(block)
        return _search(index, queries, k)
    scores = np.empty((len(queries), 0), dtype=np.float32)
    rows = np.empty((len(queries), 0), dtype=np.int64)
    for start, block in _blocks(vectors):
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(block)
        block_scores, block_rows = _search(index, queries, k)
        scores, rows = _sort(
            np.concatenate([scores, block_scores], axis=1),
            np.concatenate([rows, block_rows + start], axis=1),
            k,
        )
    return scores, rows


def _search(
    index: Any, queries: NDArray[np.float32], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The best vectors of a faiss index, as `nearest` returns them."""
    n = index.ntotal
    scores = np.empty((len(queries), min(k, n)), dtype=np.float32)
    rows = np.empty(scores.shape, dtype=np.int64)
    remaining, depth = np.arange(len(queries)), k + 1
    # faiss returns arbitrary ones of the vectors tied at the last place: search deeper then.
    while len(remaining):
        depth = min(depth, n)
        best_scores, best_rows = index.search(queries[remaining], depth)
        best, best_rows = _sort(best_scores, best_rows, depth)
        scores[remaining], rows[remaining] = best[:, :k], best_rows[:, :k]
        if depth == n:
            break
        remaining = remaining[(best[:, -1] == best[:, k - 1]) & (best_rows[:, -1] >= 0)]
        depth *= 2
    return scores, rows


def _sort(
    scores: NDArray[np.float32], rows: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k best by score, then by row; missing answers get minus infinity."""
    scores = np.where(rows < 0, -np.inf, scores).astype(np.float32)
    order = np.lexsort((rows, -scores), axis=1)[:, :k]  # (n_queries, k)
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def _train_cells(vectors: NDArray[np.floating]) -> Any:
    """An empty index whose cells are fitted to a sample of the vectors."""
    n, size = vectors.shape
    n_cells = max(1, min(int(2 * n**0.5), n // _TRAINING_ROWS))
    index: Any = faiss.index_factory(size, f"IVF{n_cells},Flat", faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = 0
    index.nprobe = min(n_cells, max(_MIN_PROBES, n_cells // _PROBE_DIVISOR))
    rows = np.random.default_rng(0).choice(n, min(n, _TRAINING_ROWS * n_cells), replace=False)
    index.train(_floats(vectors[np.sort(rows)], "vectors", 0))
    return index


def _blocks(vectors: NDArray[np.floating]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for start in range(0, len(vectors), _BLOCK_ROWS):
        yield start, _floats(vectors[start : start + _BLOCK_ROWS], "vectors", start)


def _floats(block: NDArray[np.floating], name: str, start: int) -> NDArray[np.float32]:
    floats = np.ascontiguousarray(block, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(floats).all(axis=1))  # (n_bad,)
    if len(bad):
        raise ValueError(
            f"{name} row {start + bad[0]} has a value that is not finite: look for a diverged model"
        )
    return floats
