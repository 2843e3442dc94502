"""Mean average precision of class-level retrieval, and its precision-recall curve.

A query of one modality ranks all items of the other; those of its class are relevant, the item that
it came with among them. Average precision (AP) is the mean of the precisions at the ranks of the
relevant items. Of equal scores, the item that stands first in the gallery is ranked first.

AP at a cutoff k is the mean over the relevant items that are within the first k, as the field's
published evaluation has it; other conventions divide by min(k, number of relevant items).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

NO_RELEVANT = ("zero", "skip")
BLOCK_SIZE = 256
RECALL_LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

Side = tuple[NDArray[np.float32], NDArray[np.int64]]  # unit vectors and class numbers

_AT_ONCE = 2**17  # scores that are ranked at a time: what is made of them stays in the cache
_MOST_TIES = 2  # tied items a score, beyond which a plain sort costs less than looking them up


def average_precision(
    scores: ArrayLike, relevant: ArrayLike, k: int | None = None
) -> NDArray[np.float64]:
    """Average precision of each query.

    Args:
        scores: Score of each gallery item for each query, (n_queries, n_gallery), higher is better.
        relevant: True where an item is relevant to a query, (n_queries, n_gallery), bool.
        k: Look at the first k items of each ranked list only; by default at all.

    Returns:
        The values, (n_queries,), from 0 to 1; NaN for a query with nothing relevant in its list.

    Raises:
        ValueError: If shapes do not fit, `relevant` is not boolean, a score is not a number, or k
            is below 1.
    """
    table, wanted = np.asarray(scores), np.asarray(relevant)  # both (n_queries, n_gallery)
    if table.ndim != 2 or wanted.shape != table.shape or wanted.dtype != np.bool_:
        raise ValueError(
            f"scores has shape {table.shape}, relevant {wanted.shape} and type {wanted.dtype}: "
            "give both as (n_queries, n_gallery), relevant as booleans"
        )
    if table.dtype.kind not in "fiu":
        raise ValueError(f"scores has type {table.dtype}: give real numbers")
    if k is not None:
        _check_cutoffs((k,))
    table = table.astype(np.result_type(table.dtype, np.float32), copy=False)
    if np.isnan(table).any():
        query, item = np.argwhere(np.isnan(table))[0]
        raise ValueError(
            f"scores is not a number at query {query} and item {item}: look for a diverged model "
            "or an empty input"
        )
    return _average_precision(_relevant_ranks(table, *np.nonzero(wanted)), k)


def class_retrieval_metrics(
    image_embeds: ArrayLike,
    text_embeds: ArrayLike,
    image_labels: ArrayLike,
    text_labels: ArrayLike,
    cutoffs: Sequence[int] = (50,),
    no_relevant: str = "zero",
    block_size: int = BLOCK_SIZE,
) -> dict[str, float]:
    """Mean average precision by cosine similarity, in both directions.

    Args:
        image_embeds: One vector an image, (n_images, dim), of any length: they are normalised here
            (one of zeros stays as it is) and compared in float32.
        text_embeds: One vector a text, (n_texts, dim).
        image_labels: Class number of each image, (n_images,).
        text_labels: Class number of each text, (n_texts,).
        cutoffs: Lengths of ranked lists to measure besides the whole.
        no_relevant: What a query is worth that has nothing relevant in the gallery: "zero" counts
            it as 0, as published; "skip" leaves it out. Where it has, but not within a cutoff, it
            counts as 0.
        block_size: Queries at a time; a block needs block_size x n_gallery entries.

    Returns:
        `i2t_map` (images ask, texts answer), `t2i_map` and `map`, their mean, and `i2t_map_50` and
        `t2i_map_50` for a cutoff of 50; all from 0 to 1.

    Raises:
        ValueError: If shapes or types do not fit, a side is empty, an embedding is not finite, a
            label is negative, a cutoff is below 1, or no query is left.
    """
    sides = _checked_sides(image_embeds, text_embeds, image_labels, text_labels, block_size)
    _check_cutoffs(cutoffs)
    if no_relevant not in NO_RELEVANT:
        raise ValueError(f"no_relevant is {no_relevant!r}: give one of {NO_RELEVANT}")
    suffixes = {"": None, **{f"_{cutoff}": cutoff for cutoff in cutoffs}}
    metrics: dict[str, float] = {}
    for way, (queries, gallery) in {"i2t": sides, "t2i": sides[::-1]}.items():
        values: dict[str, list[Any]] = {suffix: [] for suffix in suffixes}
        answered = []
        for ranks in _rank_blocks(queries, gallery, block_size):
            answered.append(np.isfinite(ranks).any(axis=1))  # (n_rows,)
            for suffix, cutoff in suffixes.items():
                values[suffix].append(np.nan_to_num(_average_precision(ranks, cutoff)))  # (n_rows,)
        counted = np.concatenate(answered) | (no_relevant == "zero")  # (n_queries,)
        if not counted.any():
            raise ValueError(
                f"{way}: none of {len(counted)} queries has an item of its class in the gallery, "
                "so that no_relevant='skip' leaves none: look at the labels"
            )
        for suffix, blocks in values.items():
            metrics[f"{way}_map{suffix}"] = float(np.concatenate(blocks)[counted].mean())
    whole = {name: metrics.pop(name) for name in ("i2t_map", "t2i_map")}
    return {**whole, "map": (whole["i2t_map"] + whole["t2i_map"]) / 2, **metrics}


def precision_recall_curve(
    image_embeds: ArrayLike,
    text_embeds: ArrayLike,
    image_labels: ArrayLike,
    text_labels: ArrayLike,
    recall_levels: Sequence[float] = RECALL_LEVELS,
    block_size: int = BLOCK_SIZE,
) -> dict[str, list[float]]:
    """Interpolated precision at levels of recall, the mean over the queries, in both directions.

    The precision of a query at a level is the highest at that recall or above. Queries with nothing
    relevant in the gallery are left out.

    Args:
        image_embeds: See `class_retrieval_metrics`, also for the next three.
        text_embeds: One vector a text.
        image_labels: Class number of each image.
        text_labels: Class number of each text.
        recall_levels: Levels from 0 to 1.
        block_size: Queries at a time.

    Returns:
        `recall`, the levels, `i2t_precision` and `t2i_precision`, one value each a level.

    Raises:
        ValueError: See `class_retrieval_metrics`; or a level is outside 0 to 1.
    """
    sides = _checked_sides(image_embeds, text_embeds, image_labels, text_labels, block_size)
    levels = np.asarray(recall_levels, dtype=np.float64)  # (n_levels,)
    if levels.ndim != 1 or not len(levels) or not ((levels >= 0) & (levels <= 1)).all():
        raise ValueError(f"recall_levels is {recall_levels}: give at least one, all from 0 to 1")
    curve = {"recall": levels.tolist()}
    for way, (queries, gallery) in {"i2t": sides, "t2i": sides[::-1]}.items():
        total, n_answered = np.zeros(len(levels)), 0
        for ranks in _rank_blocks(queries, gallery, block_size):
            ranks = ranks[np.isfinite(ranks).any(axis=1)]  # (n_answered, max_relevant)
            if len(ranks):
                total += _interpolated(ranks, levels).sum(axis=0)
                n_answered += len(ranks)
        if not n_answered:
            raise ValueError(
                f"{way}: none of {len(queries[0])} queries has an item of its class in the "
                "gallery: look at the labels"
            )
        curve[f"{way}_precision"] = (total / n_answered).tolist()
    return curve


def _rank_blocks(queries: Side, gallery: Side, block_size: int) -> Iterator[NDArray[np.float64]]:
    """Ranks of the relevant items, for a block of queries at a time; see `_relevant_ranks`."""
    by_class = np.argsort(gallery[1], kind="stable")  # (n_gallery,), the items class by class
    classes = gallery[1][by_class]  # (n_gallery,)
    first = np.searchsorted(classes, queries[1])  # (n_queries,)
    n_relevant = np.searchsorted(classes, queries[1], side="right") - first  # (n_queries,)
    for start in range(0, len(queries[0]), block_size):
        block = slice(start, start + block_size)
        scores = queries[0][block] @ gallery[0].T  # (n_rows, n_gallery)
        rows, places = _runs(first[block], n_relevant[block])  # (n_relevant,) each
        yield _relevant_ranks(scores, rows, by_class[places])


def _relevant_ranks(
    scores: NDArray[np.floating], rows: NDArray[np.int64], items: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Ranks of the relevant items of each query, from 1, ascending.

    Args:
        scores: Score of each item for each query, (n_queries, n_items).
        rows: Queries of the relevant items, (n_relevant,), never falling.
        items: The relevant items, (n_relevant,).

    Returns:
        The ranks, (n_queries, max_relevant); infinite where a query has fewer relevant items.
    """
    n_queries, n_items = scores.shape
    bounds = np.searchsorted(rows, np.arange(n_queries + 1))  # (n_queries + 1,)
    ranks = np.full((n_queries, int(np.diff(bounds).max(initial=0))), np.inf)
    step = min(max(1, _AT_ONCE // max(1, n_items)), 2**16)
    for start in range(0, n_queries, step):
        part = np.ascontiguousarray(scores[start : start + step])  # (n_rows, n_items)
        own = slice(bounds[start], bounds[start + len(part)])
        if own.start < own.stop:
            place = np.arange(own.start, own.stop) - bounds[rows[own]]  # (n_own,)
            ranks[rows[own], place] = _ranks(part, rows[own] - start, items[own])
    ranks.sort(axis=1)
    return ranks


def _ranks(
    scores: NDArray[np.floating], rows: NDArray[np.int64], items: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Ranks of single items in at most 65,536 rows, from 1, (n_own,).

    Numbers of 16 bits, which NumPy sorts several times faster than scores, put the items in order
    but for those of one number; an own item is compared with these by score and place.
    """
    n_rows, n_items = scores.shape
    codes = _codes(scores)  # (n_rows, n_items)
    if codes is None:
        return _ranks_by_sorting(scores, rows, items)
    order = np.argsort(codes, axis=1, kind="stable")  # (n_rows, n_items)
    order += np.arange(0, scores.size, n_items)[:, None]  # places in the flat arrays
    row_part = np.arange(n_rows, dtype=np.uint32)[:, None] << 16  # (n_rows, 1)
    keys = (codes.ravel()[order] | row_part).ravel()  # (n_rows * n_items,), ascending
    own = rows * n_items + items  # (n_own,)
    own_keys = codes[rows, items] | row_part[rows, 0]  # (n_own,)
    first = np.searchsorted(keys, own_keys)  # (n_own,)
    n_tied = np.searchsorted(keys, own_keys, side="right") - first  # (n_own,), itself included
    if n_tied.sum() > _MOST_TIES * scores.size:
        return _ranks_by_sorting(scores, rows, items)
    of_own, places = _runs(first, n_tied)  # (n_pairs,) each
    other = order.ravel()[places]  # (n_pairs,)
    ours, theirs = scores.ravel()[own[of_own]], scores.ravel()[other]  # (n_pairs,) each
    is_before = (theirs > ours) | ((theirs == ours) & (other < own[of_own]))  # (n_pairs,)
    n_before = np.bincount(of_own[is_before], minlength=len(own))  # (n_own,)
    return 1 + first - rows * n_items + n_before


def _ranks_by_sorting(
    scores: NDArray[np.floating], rows: NDArray[np.int64], items: NDArray[np.int64]
) -> NDArray[np.int64]:
    order = np.argsort(-scores, axis=1, kind="stable")  # (n_rows, n_items)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(1, scores.shape[1] + 1)[None], axis=1)
    return rank[rows, items]


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


def _runs(
    starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers from each start on, one run after the other, and before them the run of each."""
    run = np.repeat(np.arange(len(starts)), lengths)  # (lengths.sum(),)
    shift = starts - np.cumsum(lengths) + lengths  # (n_runs,)
    return run, np.arange(len(run)) + shift[run]


def _average_precision(ranks: NDArray[np.float64], k: int | None) -> NDArray[np.float64]:
    position = np.arange(1, ranks.shape[1] + 1)  # (max_relevant,)
    counted = ranks <= (np.finfo(np.float64).max if k is None else k)  # (n_queries, max_relevant)
    total = np.where(counted, position / ranks, 0).sum(axis=1)  # (n_queries,)
    n_counted = counted.sum(axis=1)  # (n_queries,)
    return np.where(n_counted > 0, total / np.maximum(n_counted, 1), np.nan)


def _interpolated(ranks: NDArray[np.float64], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Highest precision at each level of recall or above, (n_queries, n_levels)."""
    precision = np.arange(1, ranks.shape[1] + 1) / ranks  # (n_queries, max_relevant)
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    n_relevant = np.isfinite(ranks).sum(axis=1)  # (n_queries,)
    # The tolerance is for levels like 0.07, whose multiples are not exact.
    least = np.ceil(levels * n_relevant[:, None] - 1e-9).astype(np.int64)  # (n_queries, n_levels)
    return np.take_along_axis(highest, np.maximum(least, 1) - 1, axis=1)


def _checked_sides(
    image_embeds: ArrayLike,
    text_embeds: ArrayLike,
    image_labels: ArrayLike,
    text_labels: ArrayLike,
    block_size: int,
) -> tuple[Side, Side]:
    if block_size < 1:
        raise ValueError(f"block_size is {block_size}: give at least 1 query")
    image = _checked_side(image_embeds, image_labels, "image")
    text = _checked_side(text_embeds, text_labels, "text")
    if image[0].shape[1] != text[0].shape[1]:
        raise ValueError(
            f"image_embeds has vectors of {image[0].shape[1]} numbers and text_embeds of "
            f"{text[0].shape[1]}: give vectors of one common space"
        )
    return image, text


def _checked_side(embeds: ArrayLike, labels: ArrayLike, side: str) -> Side:
    vectors, classes = np.asarray(embeds), np.asarray(labels)  # (n, dim), (n,)
    if vectors.ndim != 2 or not vectors.size or classes.shape != vectors.shape[:1]:
        raise ValueError(
            f"{side}_embeds has shape {vectors.shape} and {side}_labels {classes.shape}: give "
            "(n, dim) and (n,), with at least one row"
        )
    if vectors.dtype.kind not in "fiu":
        raise ValueError(f"{side}_embeds has type {vectors.dtype}: give real numbers")
    if classes.dtype.kind not in "iu":
        raise ValueError(f"{side}_labels has type {classes.dtype}: give class numbers as integers")
    negative = np.flatnonzero(classes < 0)
    if len(negative):
        raise ValueError(
            f"{side}_labels is {classes[negative[0]]} in row {negative[0]} ({len(negative)} are "
            "negative): hidden labels are no labels, leave those rows out"
        )
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise ValueError(
            f"{side}_embeds is not finite in {len(bad)} rows, first row {bad[0]}: look for a "
            "diverged model or an empty input"
        )
    return _normalised(vectors), classes.astype(np.int64)


def _normalised(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Scales rows to length 1, whatever their size; rows of zeros stay."""
    unit = np.empty(vectors.shape, dtype=np.float32)
    for start in range(0, len(vectors), 1024):
        block = vectors[start : start + 1024].astype(np.float64)  # (n_rows, dim)
        largest = np.abs(block).max(axis=1, keepdims=True)  # (n_rows, 1), or squares would overflow
        block /= np.where(largest > 0, largest, 1)
        length = np.linalg.norm(block, axis=1, keepdims=True)  # (n_rows, 1)
        unit[start : start + 1024] = block / np.where(length > 0, length, 1)
    return unit


def _check_cutoffs(cutoffs: Sequence[int]) -> None:
    wrong = [cutoff for cutoff in cutoffs if cutoff < 1]
    if wrong:
        raise ValueError(f"A cutoff is {wrong[0]}: look at the first 1 item or more")
