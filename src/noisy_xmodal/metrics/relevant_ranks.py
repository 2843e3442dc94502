"""Ranks of the relevant items of each query, and how many items share their scores."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLOCK_ENTRIES = 2**17  # scores ranked at a time, so that intermediate arrays fit the CPU cache
_MAX_COLLISIONS = 2  # mean number of items with the same code above which plain sorting is faster


class Ranks(NamedTuple):
    """Ranks of the relevant items of each query.

    Attributes:
        first: Rank of the first item with the same score, from 1, ascending, (n_queries,
            max_relevant); infinite where a query has fewer relevant items.
        n_tied: Number of items with that score, relevant or not, (n_queries, max_relevant); None
            if no relevant item is tied.
    """

    first: NDArray[np.float64]
    n_tied: NDArray[np.int64] | None


def relevant_ranks(
    scores: NDArray[np.floating], rows: NDArray[np.int64], items: NDArray[np.int64]
) -> Ranks:
    """Rank the relevant items of each query.

    Args:
        scores: Score of each item for each query, (n_queries, n_items); none is NaN.
        rows: Query of each relevant item, (n_relevant,), in ascending order.
        items: The relevant items, (n_relevant,).
    """
    n_queries, n_items = scores.shape
    bounds = np.searchsorted(rows, np.arange(n_queries + 1))  # (n_queries + 1,)
    ranks = np.full((n_queries, int(np.diff(bounds).max(initial=0))), np.inf)
    n_tied = np.ones(ranks.shape, dtype=np.int64)
    step = min(max(1, _BLOCK_ENTRIES // max(1, n_items)), 2**16)
    for start in range(0, n_queries, step):
        part = np.ascontiguousarray(scores[start : start + step])  # (n_rows, n_items)
        own = slice(bounds[start], bounds[start + len(part)])
        if own.start < own.stop:
            place = np.arange(own.start, own.stop) - bounds[rows[own]]  # (n_own,)
            own_ranks, own_tied = _ranks(part, rows[own] - start, items[own])
            ranks[rows[own], place], n_tied[rows[own], place] = own_ranks, own_tied
    if (n_tied == 1).all():
        ranks.sort(axis=1)
        return Ranks(ranks, None)
    order = np.argsort(ranks, axis=1)  # (n_queries, max_relevant)
    return Ranks(*(np.take_along_axis(values, order, axis=1) for values in (ranks, n_tied)))


def _ranks(
    scores: NDArray[np.floating], rows: NDArray[np.int64], items: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ranks of single items in at most 65,536 rows, see `Ranks`, (n_own,) each.

    Scores are reduced to 16-bit codes, which NumPy sorts several times faster. Items with the same
    code as a relevant item are then compared with it by score.
    """
    n_rows, n_items = scores.shape
    codes = _codes(scores)  # (n_rows, n_items)
    if codes is None:
        return _ranks_by_sorting(scores, rows, items)
    order = np.argsort(codes, axis=1, kind="stable")  # (n_rows, n_items)
    order += np.arange(0, scores.size, n_items)[:, None]  # places in the flat arrays
    row_part = np.arange(n_rows, dtype=np.uint32)[:, None] << 16  # (n_rows, 1)
    keys = (codes.ravel()[order] | row_part).ravel()  # (n_rows * n_items,), ascending
    own_keys = codes[rows, items] | row_part[rows, 0]  # (n_own,)
    first = np.searchsorted(keys, own_keys)  # (n_own,)
    n_collisions = np.searchsorted(keys, own_keys, side="right") - first  # (n_own,), with itself
    if n_collisions.sum() > _MAX_COLLISIONS * scores.size:
        return _ranks_by_sorting(scores, rows, items)
    own, places = runs(first, n_collisions)  # (n_pairs,) each
    own_scores = scores[rows, items][own]  # (n_pairs,)
    other_scores = scores.ravel()[order.ravel()[places]]  # (n_pairs,)
    n_before = np.bincount(own[other_scores > own_scores], minlength=len(items))  # (n_own,)
    is_tied = other_scores == own_scores  # (n_pairs,), each at least with itself
    n_tied = np.ones_like(n_before)
    if np.count_nonzero(is_tied) > len(items):
        n_tied = np.bincount(own[is_tied], minlength=len(items))  # (n_own,)
    return 1 + first - rows * n_items + n_before, n_tied


def _ranks_by_sorting(
    scores: NDArray[np.floating], rows: NDArray[np.int64], items: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.argsort(-scores, axis=1)  # (n_rows, n_items)
    descending = np.take_along_axis(scores, order, axis=1)  # (n_rows, n_items)
    place = np.arange(1, scores.shape[1] + 1)  # (n_items,)
    changes = descending[:, 1:] != descending[:, :-1]  # (n_rows, n_items - 1)
    edge = np.ones((len(scores), 1), dtype=bool)
    starts, ends = np.hstack([edge, changes]), np.hstack([changes, edge])  # (n_rows, n_items) each
    first = np.maximum.accumulate(np.where(starts, place, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, place, len(place))[:, ::-1], axis=1)[:, ::-1]
    places = np.empty_like(order)  # (n_rows, n_items), place of each item
    np.put_along_axis(places, order, place[None] - 1, axis=1)
    own = places[rows, items]  # (n_own,)
    return first[rows, own], (last - first + 1)[rows, own]


def _codes(scores: NDArray[np.floating]) -> NDArray[np.uint16] | None:
    """16-bit codes that never increase with the score; None if a row's range is 0 or infinite."""
    top = scores.max(axis=1, keepdims=True)  # (n_rows, 1)
    with np.errstate(all="ignore"):
        span = top - scores.min(axis=1, keepdims=True)  # (n_rows, 1)
        scale = 65535 / span  # (n_rows, 1)
        if not np.isfinite(span + scale).all():
            return None
    below = top - scores  # (n_rows, n_items)
    below *= scale
    return below.astype(np.uint16)


def runs(
    starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Concatenate runs of consecutive integers.

    Args:
        starts: First integer of each run, (n_runs,).
        lengths: Length of each run, (n_runs,).

    Returns:
        The run of each integer, and the integers, (lengths.sum(),) each.
    """
    run = np.repeat(np.arange(len(starts)), lengths)  # (lengths.sum(),)
    shift = starts - np.cumsum(lengths) + lengths  # (n_runs,)
    return run, np.arange(len(run)) + shift[run]
