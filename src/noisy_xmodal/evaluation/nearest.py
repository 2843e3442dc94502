"""Nearest vectors by inner product, with faiss.

Every vector is compared with every query. An approximate index would not pay: a search of 300,000
vectors of 256 numbers takes two seconds from a cold start, less than reading such an index.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

_BLOCK_ROWS = 65_536
_FEW_QUERIES = 8

Answers = tuple[NDArray[np.float32], NDArray[np.int64]]


def nearest(vectors: NDArray[np.floating], queries: NDArray[np.floating], k: int) -> Answers:
    """Find the vectors with the largest inner products with each query.

    Args:
        vectors: (n, size), float16 or float32; may be memory-mapped, and is read in blocks.
        queries: (n_queries, size).
        k: Answers per query.

    Returns:
        Scores and rows of `vectors`, best first, the lower row first for equal scores, both
        (n_queries, min(k, n)).

    Raises:
        ValueError: If shapes do not fit, a value is not finite, or k is below 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}: give at least 1")
    if vectors.ndim != 2 or not vectors.size:
        raise ValueError(f"vectors has shape {vectors.shape}: give (n, size), both at least 1")
    if queries.ndim != 2 or queries.shape[1] != vectors.shape[1]:
        raise ValueError(f"queries has shape {queries.shape}: give (n_queries, {vectors.shape[1]})")
    queries = _floats(queries, "queries", 0)  # (n_queries, size)
    scores = np.empty((len(queries), 0), dtype=np.float32)
    rows = np.empty((len(queries), 0), dtype=np.int64)
    with _settings_for(len(queries)):
        for start in range(0, len(vectors), _BLOCK_ROWS):
            block = _floats(vectors[start : start + _BLOCK_ROWS], "vectors", start)
            block_scores, block_rows = _search_block(block, queries, k)
            all_scores = np.concatenate([scores, block_scores], axis=1)
            scores, rows = _best(all_scores, np.concatenate([rows, block_rows + start], axis=1), k)
    return scores, rows


@contextmanager
def _settings_for(n_queries: int) -> Iterator[None]:
    """The threads of torch, and a matrix product for all but a few queries.

    By itself faiss 1.15 takes a matrix product from 500 queries of 256 numbers on; with 50 to 333
    queries of 20,000 vectors it is five times as fast, with one it is half as fast.
    """
    faiss.omp_set_num_threads(torch.get_num_threads())
    threshold = faiss.cvar.distance_compute_blas_threshold
    if n_queries >= _FEW_QUERIES:
        faiss.cvar.distance_compute_blas_threshold = 1
    try:
        yield
    finally:
        faiss.cvar.distance_compute_blas_threshold = threshold


def _search_block(block: NDArray[np.float32], queries: NDArray[np.float32], k: int) -> Answers:
    index = faiss.IndexFlatIP(block.shape[1])
    index.add(block)
    scores = np.empty((len(queries), min(k, len(block))), dtype=np.float32)
    rows = np.empty(scores.shape, dtype=np.int64)
    remaining, depth = np.arange(len(queries)), k + 1
    # faiss returns arbitrary ones of the vectors tied at the last place: search deeper then.
    while len(remaining):
        depth = min(depth, len(block))
        found_scores, found_rows = index.search(queries[remaining], depth)
        best, best_rows = _best(found_scores, found_rows, depth)
        scores[remaining], rows[remaining] = best[:, :k], best_rows[:, :k]
        if depth == len(block):
            break
        remaining = remaining[best[:, -1] == best[:, k - 1]]
        depth *= 2
    return scores, rows


def _best(scores: NDArray[np.float32], rows: NDArray[np.int64], k: int) -> Answers:
    """The k best by score, then by row, (n_queries, k)."""
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def _floats(block: NDArray[np.floating], name: str, start: int) -> NDArray[np.float32]:
    floats = np.ascontiguousarray(block, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(floats).all(axis=1))  # (n_bad,)
    if len(bad):
        raise ValueError(
            f"{name} row {start + bad[0]} has a value that is not finite: look for a diverged model"
        )
    return floats
