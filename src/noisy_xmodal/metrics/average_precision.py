"""Mean average precision of class-level retrieval, and its precision-recall curve.

A query of one modality ranks all items of the other. Items of its class are relevant, including the
item of its own pair. Average precision (AP) is the mean of the precisions at the ranks of the
relevant items. With tied scores, AP is the mean over all orders of the tied items, in closed form,
so that it does not depend on the order of the gallery (McSherry and Najork, "Computing Information
Retrieval Performance Measures Efficiently in the Presence of Tied Scores", ECIR 2008).

AP at a cutoff k is the mean over the relevant items within the first k, as in the field's published
evaluation; other conventions divide by min(k, number of relevant items). An order of tied items
that leaves no relevant item within the first k counts as 0.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma, gammaln

from .relevant_ranks import Ranks, relevant_ranks, runs

NO_RELEVANT = ("zero", "skip")
BLOCK_SIZE = 256
RECALL_LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

Side = tuple[NDArray[np.float32], NDArray[np.int64]]  # unit vectors and class numbers


def average_precision(
    scores: ArrayLike, relevant: ArrayLike, k: int | None = None
) -> NDArray[np.float64]:
    """Average precision of each query.

    Args:
        scores: Score of each gallery item for each query, (n_queries, n_gallery), higher is better.
        relevant: True where an item is relevant to a query, (n_queries, n_gallery), bool.
        k: Length of the ranked lists; by default all items.

    Returns:
        The values, (n_queries,), from 0 to 1; NaN for a query without a relevant item in its list.

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
    return _average_precision(relevant_ranks(table, *np.nonzero(wanted)), k)


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
        image_embeds: One vector per image, (n_images, dim), of any length: vectors are normalised
            here (zero vectors stay) and compared in float32.
        text_embeds: One vector per text, (n_texts, dim).
        image_labels: Class number of each image, (n_images,).
        text_labels: Class number of each text, (n_texts,).
        cutoffs: Lengths of ranked lists to measure besides the whole list.
        no_relevant: How to treat a query without a relevant item in the gallery: "zero" counts it
            as 0, as published; "skip" leaves it out. A query whose relevant items are all beyond a
            cutoff counts as 0.
        block_size: Queries per block; a block needs block_size x n_gallery entries.

    Returns:
        `i2t_map` (images are the queries), `t2i_map` and `map`, their mean, and `i2t_map_50` and
        `t2i_map_50` for a cutoff of 50; all from 0 to 1.

    Raises:
        ValueError: If shapes or types do not fit, a side is empty, an embedding is not finite, a
            label is negative, a cutoff is below 1, or "skip" leaves out every query.
    """
    sides = _checked_sides(image_embeds, text_embeds, image_labels, text_labels, block_size)
    _check_cutoffs(cutoffs)
    if no_relevant not in NO_RELEVANT:
        raise ValueError(f"no_relevant is {no_relevant!r}: give one of {NO_RELEVANT}")
    suffixes = {"": None, **{f"_{cutoff}": cutoff for cutoff in cutoffs}}
    metrics: dict[str, float] = {}
    for direction, (queries, gallery) in {"i2t": sides, "t2i": sides[::-1]}.items():
        values: dict[str, list[Any]] = {suffix: [] for suffix in suffixes}
        has_relevant = []
        for ranks in _rank_blocks(queries, gallery, block_size):
            has_relevant.append(np.isfinite(ranks.first).any(axis=1))  # (n_rows,)
            for suffix, cutoff in suffixes.items():
                values[suffix].append(np.nan_to_num(_average_precision(ranks, cutoff)))  # (n_rows,)
        counted = np.concatenate(has_relevant) | (no_relevant == "zero")  # (n_queries,)
        if not counted.any():
            raise ValueError(
                f"{direction}: none of {len(counted)} queries has an item of its class in the "
                "gallery, and no_relevant='skip' leaves all of them out: check the labels"
            )
        for suffix, blocks in values.items():
            metrics[f"{direction}_map{suffix}"] = float(np.concatenate(blocks)[counted].mean())
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

    The precision of a query at a level is the highest at that recall or above. Tied items are
    retrieved together, as in scikit-learn's curve. Queries without a relevant item in the gallery
    are left out.

    Args:
        image_embeds: See `class_retrieval_metrics`, also for the next three.
        text_embeds: One vector per text.
        image_labels: Class number of each image.
        text_labels: Class number of each text.
        recall_levels: Levels from 0 to 1.
        block_size: Queries per block.

    Returns:
        The levels as `recall`, and `i2t_precision` and `t2i_precision` with one value per level.

    Raises:
        ValueError: See `class_retrieval_metrics`; or a level is outside 0 to 1.
    """
    sides = _checked_sides(image_embeds, text_embeds, image_labels, text_labels, block_size)
    levels = np.asarray(recall_levels, dtype=np.float64)  # (n_levels,)
    if levels.ndim != 1 or not len(levels) or not ((levels >= 0) & (levels <= 1)).all():
        raise ValueError(f"recall_levels is {recall_levels}: give at least one, all from 0 to 1")
    curve = {"recall": levels.tolist()}
    for direction, (queries, gallery) in {"i2t": sides, "t2i": sides[::-1]}.items():
        total, n_counted = np.zeros(len(levels)), 0
        for ranks in _rank_blocks(queries, gallery, block_size):
            rows = np.isfinite(ranks.first).any(axis=1)  # (n_rows,)
            if rows.any():
                total += _interpolated(ranks, levels)[rows].sum(axis=0)
                n_counted += int(rows.sum())
        if not n_counted:
            raise ValueError(
                f"{direction}: none of {len(queries[0])} queries has an item of its class in the "
                "gallery: check the labels"
            )
        curve[f"{direction}_precision"] = (total / n_counted).tolist()
    return curve


def _rank_blocks(queries: Side, gallery: Side, block_size: int) -> Iterator[Ranks]:
    """Ranks of the relevant items for one block of queries at a time; see `relevant_ranks`."""
    by_class = np.argsort(gallery[1], kind="stable")  # (n_gallery,)
    classes = gallery[1][by_class]  # (n_gallery,)
    first = np.searchsorted(classes, queries[1])  # (n_queries,)
    n_relevant = np.searchsorted(classes, queries[1], side="right") - first  # (n_queries,)
    distinct, which = _distinct_rows(gallery[0])  # (n_distinct,), (n_gallery,)
    vectors = gallery[0] if len(distinct) == len(which) else gallery[0][distinct]
    for start in range(0, len(queries[0]), block_size):
        block = slice(start, start + block_size)
        scores = queries[0][block] @ vectors.T  # (n_rows, n_distinct)
        if len(distinct) < len(which):
            scores = scores[:, which]  # (n_rows, n_gallery)
        rows, places = runs(first[block], n_relevant[block])  # (n_relevant,) each
        yield relevant_ranks(scores, rows, by_class[places])


def _distinct_rows(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the distinct rows, and for each row the position of its distinct row.

    Equal vectors must get equal scores, but rounding in a matrix product depends on the column.
    """
    numbers: dict[bytes, int] = {}
    which = [numbers.setdefault(row.tobytes(), len(numbers)) for row in vectors]
    return np.unique(which, return_index=True)[1], np.array(which)


def _average_precision(ranks: Ranks, k: int | None) -> NDArray[np.float64]:
    first = ranks.first  # (n_queries, max_relevant)
    position = np.arange(1, first.shape[1] + 1)  # (max_relevant,)
    counted = first <= (np.finfo(np.float64).max if k is None else k)  # (n_queries, max_relevant)
    total = np.where(counted, position / first, 0).sum(axis=1)  # (n_queries,)
    n_counted = counted.sum(axis=1)  # (n_queries,)
    values = np.where(n_counted > 0, total / np.maximum(n_counted, 1), np.nan)
    if ranks.n_tied is not None:
        tied = (ranks.n_tied > 1).any(axis=1) & (n_counted > 0)  # (n_queries,)
        values[tied] = _mean_over_orders(first[tied], ranks.n_tied[tied], k)
    return values


def _mean_over_orders(
    first: NDArray[np.float64], n_tied: NDArray[np.int64], k: int | None
) -> NDArray[np.float64]:
    """Mean average precision of queries over the orders of their tied items, (n_queries,).

    Args:
        first: See `Ranks`, also for the next.
        n_tied: Likewise.
        k: Length of the ranked lists; every query has an order with a relevant item within it.
    """
    row, column = np.nonzero(np.isfinite(first))  # (n_relevant,) each, group after group
    rank = first[row, column]  # (n_relevant,)
    starts = np.flatnonzero(np.diff(row, prepend=-1) | (np.diff(rank, prepend=0) != 0))
    row, before = row[starts], rank[starts] - 1  # (n_groups,) each, as the next three
    size = n_tied[row, column[starts]]
    hits = column[starts]  # relevant items before the group
    n_relevant = np.diff(np.append(starts, len(rank)))
    places = size if k is None else np.clip(k - before, 0, size)  # of the group within the first k
    whole = places == size
    total, n_counted = (
        np.bincount(row[whole], weights=values[whole], minlength=len(first))  # (n_queries,)
        for values in (_tied_precisions(before, size, n_relevant, hits), n_relevant)
    )
    values = total / np.maximum(n_counted, 1)  # (n_queries,)
    cut = np.flatnonzero((places > 0) & ~whole)  # at most one group per query
    if len(cut):
        groups = (before, size, places, n_relevant, hits)
        values[row[cut]] = _cut_group_values(total[row[cut]], *(array[cut] for array in groups))
    return values


def _cut_group_values(
    total: NDArray[Any],
    before: NDArray[Any],
    size: NDArray[Any],
    places: NDArray[Any],
    n_relevant: NDArray[Any],
    hits: NDArray[Any],
) -> NDArray[np.float64]:
    """Mean average precision of queries whose cutoff is within a group of tied items, (n,).

    Args:
        total: Sum of the precisions before the group, (n,); all arguments have this shape.
        before: Items before the group.
        size: Items of the group.
        places: Places of the group within the cutoff.
        n_relevant: Relevant items of the group.
        hits: Relevant items before the group.
    """
    n_within = np.arange(int(np.minimum(places, n_relevant).max()) + 1)  # (n_counts,)
    probability = np.exp(
        _log_choose(n_relevant[:, None], n_within)
        + _log_choose((size - n_relevant)[:, None], places[:, None] - n_within)
        - _log_choose(size, places)[:, None]
    )  # (n, n_counts), hypergeometric
    sums = total[:, None] + _tied_precisions(
        before[:, None], places[:, None], n_within, hits[:, None]
    )  # (n, n_counts)
    means: NDArray[np.float64] = sums / np.maximum(hits[:, None] + n_within, 1)
    return np.asarray((probability * means).sum(axis=1))


def _tied_precisions(before: Any, size: Any, n_relevant: Any, hits: Any) -> NDArray[np.float64]:
    """Expected sum of the precisions at the relevant items of a group of tied items.

    The item at place j of the group is relevant with probability r / n; then on average a share of
    (r - 1) / (n - 1) of the j - 1 items before it is relevant. The sum over j has harmonic numbers.

    Args:
        before: Items before the group.
        size: Items of the group, n.
        n_relevant: Relevant items of the group, r.
        hits: Relevant items before the group.
    """
    harmonic = digamma(before + size + 1) - digamma(before + 1)  # sum of 1 / (before + j)
    others = (n_relevant - 1) / np.maximum(size - 1, 1) * (size - (before + 1) * harmonic)
    return n_relevant / size * ((hits + 1) * harmonic + others)


def _log_choose(n: Any, k: Any) -> NDArray[np.float64]:
    """Logarithm of the binomial coefficient; minus infinity where it is 0."""
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def _interpolated(ranks: Ranks, levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Highest precision at each level of recall or above, (n_queries, n_levels)."""
    position = np.arange(1, ranks.first.shape[1] + 1)  # (max_relevant,)
    last = ranks.first + (0 if ranks.n_tied is None else ranks.n_tied - 1)
    # All tied items have the precision at the last of them.
    precision = position / last  # (n_queries, max_relevant)
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    n_relevant = np.isfinite(last).sum(axis=1)  # (n_queries,)
    # The tolerance covers levels such as 0.07, whose multiples are not exact.
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
            f"image_embeds has {image[0].shape[1]} dimensions and text_embeds "
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
            "negative): leave out rows with hidden labels"
        )
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise ValueError(
            f"{side}_embeds is not finite in {len(bad)} rows, first row {bad[0]}: look for a "
            "diverged model or an empty input"
        )
    return _normalised(vectors), classes.astype(np.int64)


def _normalised(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Scale rows to length 1 without overflow; rows of zeros stay."""
    unit = np.empty(vectors.shape, dtype=np.float32)
    for start in range(0, len(vectors), 1024):
        block = vectors[start : start + 1024].astype(np.float64)  # (n_rows, dim)
        largest = np.abs(block).max(axis=1, keepdims=True)  # (n_rows, 1)
        block /= np.where(largest > 0, largest, 1)
        length = np.linalg.norm(block, axis=1, keepdims=True)  # (n_rows, 1)
        unit[start : start + 1024] = block / np.where(length > 0, length, 1) + 0.0  # no -0
    return unit


def _check_cutoffs(cutoffs: Sequence[int]) -> None:
    for cutoff in cutoffs:
        if cutoff < 1:
            raise ValueError(f"a cutoff is {cutoff}: give 1 or more")
