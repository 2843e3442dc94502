"""At which ranks the relevant items of each query stand, and how many items have their scores."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 2**17  # scores that are ranked at a time: what is made of them stays in the cache
_MOST_NEAR = 2  # items of one number a score, beyond which a plain sort costs less


class Ranks(NamedTuple):
    """Where the relevant items of each query stand.

    Attributes:
        first: Rank of the first item of equal score, from 1, ascending, (n_queries, max_relevant);
            infinite where a query has fewer relevant items.
        n_tied: Number of items of that score, relevant or not, (n_queries, max_relevant); None
            where no relevant item has the score of another item.
    """

    first: NDArray[np.float64]
    n_tied: NDArray[np.int64] | None


def relevant_ranks(
    scores: NDArray[np.floating], rows: NDArray[np.int64], items: NDArray[np.int64]
) -> Ranks:
    """Rank the relevant items of each query.

    Args:
        scores: Score of each item for each query, (n_queries, n_items); none is NaN.
        rows: Queries of the relevant items, (n_relevant,), never falling.
        items: The relevant items, (n_relevant,).
    """
    n_queries, n_items = scores.shape
    bounds = np.searchsorted(rows, np.arange(n_queries + 1))  # (n_queries + 1,)
    ranks = np.full((n_queries, int(np.diff(bounds).max(initial=0))), np.inf)
    n_tied = np.ones(ranks.shape, dtype=np.int64)
    step = min(max(1, _AT_ONCE // max(1, n_items)), 2**16)
    for start in range(0, n_queries, step):
        part = np.ascontiguousarray(scores[start : start + step])  # (n_rows, n_items)
        own = slice(bounds[start], bounds[start + len(part)])
        if own.start < own.stop:
            place = np.arange(own.start, own.stop) - bounds[rows[own]]  # (n_own,)
            found = _ranks(part, rows[own] - start, items[own])
            ranks[rows[own], place], n_tied[rows[own], place] = found
    if (n_tied == 1).all():
        ranks.sort(axis=1)
        return Ranks(ranks, None)
    order = np.argsort(ranks, axis=1)  # (n_queries, max_relevant)
    return Ranks(*(np.take_along_axis(found, order, axis=1) for found in (ranks, n_tied)))


def _ranks(
    scores: NDArray[np.floating], rows: NDArray[np.int64], items: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ranks of single items in at most 65,536 rows, see `Ranks`, (n_own,) each.

    Numbers of 16 bits, which NumPy sorts several times faster than scores, put the items in order
    but for those of one number; an own item is compared with these by score.
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
    n_near = np.searchsorted(keys, own_keys, side="right") - first  # (n_own,), itself included
    if n_near.sum() > _MOST_NEAR * scores.size:
        return _ranks_by_sorting(scores, rows, items)
    of_own, places = runs(first, n_near)  # (n_pairs,) each
    ours = scores[rows, items][of_own]  # (n_pairs,)
    theirs = scores.ravel()[order.ravel()[places]]  # (n_pairs,)
    n_before = np.bincount(of_own[theirs > ours], minlength=len(items))  # (n_own,)
    is_tied = theirs == ours  # (n_pairs,), each with itself at least
    n_tied = np.ones_like(n_before)
    if np.count_nonzero(is_tied) > len(items):
        n_tied = np.bincount(of_own[is_tied], minlength=len(items))  # (n_own,)
    return 1 + first - rows * n_items + n_before, n_tied


def _ranks_by_sorting(
    scores: NDArray[np.floating], rows: NDArray[np.int64], items: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.argsort(-scores, axis=1)  # (n_rows, n_items)
    falling = np.take_along_axis(scores, order, axis=1)  # (n_rows, n_items)
    place = np.arange(1, scores.shape[1] + 1)  # (n_items,)
    changes = falling[:, 1:] != falling[:, :-1]  # (n_rows, n_items - 1)
    edge = np.ones((len(scores), 1), dtype=bool)
    starts, ends = np.hstack([edge, changes]), np.hstack([changes, edge])  # (n_rows, n_items) each
    first = np.maximum.accumulate(np.where(starts, place, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, place, len(place))[:, ::-1], axis=1)[:, ::-1]
    found = []
    for in_order in (first, last - first + 1):
        of_item = np.empty_like(order)
        np.put_along_axis(of_item, order, in_order, axis=1)
        found.append(of_item[rows, items])
    return found[0], found[1]


def _codes(scores: NDArray[np.floating]) -> NDArray[np.uint16] | None:
    """Numbers of 16 bits that never rise with the score; None if a row is constant or endless."""
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
    """Numbers from each start on, one run after the other.

    Args:
        starts: The first number of each run, (n_runs,).
        lengths: How many numbers a run has, (n_runs,).

    Returns:
        The run of each number, and the numbers, (lengths.sum(),) each.
    """
    run = np.repeat(np.arange(len(starts)), lengths)  # (lengths.sum(),)
    shift = starts - np.cumsum(lengths) + lengths  # (n_runs,)
    return run, np.arange(len(run)) + shift[run]
