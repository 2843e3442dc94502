"""Retrieval metrics: recall at 1, 5 and 10, their sum and median ranks, in both directions.

Ranks start at 1. Ties are broken against the model: an item that ties with the correct one counts
as ranked before it, so a model that gives all pairs the same score has recall 0.

From image to text the best-ranked of an image's captions counts; its other captions are ignored. As
usual in the field, only an image's own captions are correct: a caption of another image with the
same text is wrong, and ties. The evaluation is that of Faghri et al., "VSE++", BMVC 2018, and of
NCR (Huang et al., NeurIPS 2021) except for ties, which their sorting breaks arbitrarily.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

CUTOFFS = (1, 5, 10)


def retrieval_ranks(
    scores: NDArray[np.floating], image_of_text: ArrayLike, block_size: int = 32
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rank of the correct item of each query, in both directions.

    Args:
        scores: Score of each image with each text, (n_images, n_texts), higher is better; may be
            memory-mapped.
        image_of_text: Image row that each text describes, (n_texts,).
        block_size: Image rows per block, at most 255; a block needs block_size x n_texts entries.
            Small blocks that fit the CPU cache are fastest.

    Returns:
        Rank of the best correct text of each image, (n_images,), and of the correct image of each
        text, (n_texts,), both from 1.

    Raises:
        ValueError: If shapes do not fit, an image has no text, or a score is not a number.
    """
    rows = _checked_rows(scores, image_of_text)  # (n_texts,)
    own_score = np.asarray(scores[rows, np.arange(scores.shape[1])])  # (n_texts,)
    return part_of_ranks(scores, 0, own_score, rows, block_size)


def part_of_ranks(
    scores: NDArray[np.floating],
    first_row: int,
    own_score: NDArray[np.floating],
    image_of_text: NDArray[np.int64],
    block_size: int = 32,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What some images add to `retrieval_ranks`, so that no memory has to hold all scores.

    Args:
        scores: Score of each of these images with each text, (n_rows, n_texts).
        first_row: Image row of the first of them.
        own_score: Score of each text with its own image, whether it is of these or not, (n_texts,).
        image_of_text: Image row that each text describes, (n_texts,); every image has one.
        block_size: See `retrieval_ranks`.

    Returns:
        Rank of the best correct text of each of these images, (n_rows,), and how many of them each
        text scores as its own image or higher, (n_texts,). The sum of these over all images is the
        rank of the text's own image.

    Raises:
        ValueError: If a score is not a number.
    """
    if block_size < 1:
        raise ValueError(f"block_size is {block_size}: give at least 1 image row")
    n_rows, n_texts = scores.shape
    by_image = np.argsort(image_of_text, kind="stable")  # (n_texts,), texts of image 0, ...
    n_images = int(image_of_text[by_image[-1]]) + 1 if n_texts else 0
    first = np.searchsorted(image_of_text[by_image], np.arange(n_images))  # (n_images,)
    best = np.maximum.reduceat(own_score[by_image], first)  # (n_images,)
    is_best = own_score[by_image] == best[image_of_text[by_image]]  # (n_texts,)

    own = slice(first_row, first_row + n_rows)
    image_ranks = 1 - np.add.reduceat(is_best, first, dtype=np.int64)[own]  # (n_rows,)
    text_ranks = np.zeros(n_texts, dtype=np.int64)
    step = min(block_size, 255)  # so that a count over its rows fits a byte
    at_least = np.empty((min(step, n_rows), n_texts), dtype=np.bool_)
    for start in range(0, n_rows, step):
        stop = min(start + step, n_rows)
        block = np.ascontiguousarray(scores[start:stop])  # (n_block, n_texts)
        if np.isnan(block.min()):
            row, text = np.argwhere(np.isnan(block))[0]
            raise ValueError(
                f"scores is not a number at image {first_row + start + row} and text {text}: "
                "look for a diverged model or an empty input"
            )
        hits = at_least[: stop - start]  # (n_block, n_texts)
        np.greater_equal(block, best[own][start:stop, None], out=hits)
        image_ranks[start:stop] += [np.count_nonzero(line) for line in hits]
        np.greater_equal(block, own_score, out=hits)  # True for the own image
        text_ranks += hits.view(np.uint8).sum(axis=0, dtype=np.uint8)  # (n_texts,)
    return image_ranks, text_ranks


def retrieval_metrics(
    scores: NDArray[np.floating], image_of_text: ArrayLike, fold_size: int | None = None
) -> dict[str, float]:
    """Recalls, median ranks and the sum of recalls.

    Args:
        scores: Score of each image with each text, (n_images, n_texts), higher is better; may be
            memory-mapped.
        image_of_text: Image row that each text describes, (n_texts,).
        fold_size: Number of images per fold: the metrics are averaged over consecutive folds, each
            with its own texts; 1000 is the field's "COCO 1K". By default all images in one fold.

    Returns:
        `i2t_r1`, `i2t_r5`, `i2t_r10`, `t2i_r1`, `t2i_r5`, `t2i_r10` in percent, `i2t_medr` and
        `t2i_medr` (median rank rounded down, as the field reports it), and `rsum`, the sum of the
        six recalls.

    Raises:
        ValueError: If shapes do not fit, an image has no text, a score is not a number, or the
            number of images is not a multiple of the fold size.
    """
    rows = _checked_rows(scores, image_of_text)  # (n_texts,)
    if fold_size is None:
        return metrics_of_ranks(*retrieval_ranks(scores, rows))
    folds = []
    for start in fold_starts(len(scores), fold_size):
        texts = np.flatnonzero((rows >= start) & (rows < start + fold_size))  # (n_fold_texts,)
        fold = np.asarray(scores[start : start + fold_size][:, texts])  # (fold_size, n_fold_texts)
        try:
            folds.append(metrics_of_ranks(*retrieval_ranks(fold, rows[texts] - start)))
        except ValueError as error:
            raise ValueError(f"In the fold that starts at image {start}: {error}") from error
    return {name: float(np.mean([fold[name] for fold in folds])) for name in folds[0]}


def fold_starts(n_images: int, fold_size: int) -> range:
    """The first image of each of consecutive folds.

    Args:
        n_images: Number of images.
        fold_size: Number of images per fold.

    Raises:
        ValueError: If the number of images is not a multiple of the fold size.
    """
    if fold_size < 1 or n_images % fold_size:
        raise ValueError(
            f"fold_size is {fold_size} for {n_images} images: give a divisor of the number of "
            "images, or no fold size"
        )
    return range(0, n_images, fold_size)


def metrics_of_ranks(
    image_to_text: NDArray[np.int64], text_to_image: NDArray[np.int64]
) -> dict[str, float]:
    """Recalls, median ranks and the sum of recalls, from the ranks of the correct items.

    Args:
        image_to_text: Rank of the best correct text of each image, from 1, (n_images,).
        text_to_image: Rank of the correct image of each text, from 1, (n_texts,).

    Returns:
        See `retrieval_metrics`.
    """
    directions = {"i2t": image_to_text, "t2i": text_to_image}
    metrics = {
        f"{direction}_r{cutoff}": 100 * float(np.mean(ranks <= cutoff))
        for direction, ranks in directions.items()
        for cutoff in CUTOFFS
    }
    rsum = sum(metrics.values())
    for direction, ranks in directions.items():
        metrics[f"{direction}_medr"] = float(np.floor(np.median(ranks)))
    return {**metrics, "rsum": rsum}


def _checked_rows(scores: NDArray[np.floating], image_of_text: ArrayLike) -> NDArray[np.int64]:
    rows = np.asarray(image_of_text)
    if scores.ndim != 2 or rows.shape != scores.shape[1:]:
        raise ValueError(
            f"scores has shape {scores.shape} and image_of_text {rows.shape}: "
            "give (n_images, n_texts) and (n_texts,)"
        )
    if rows.dtype.kind not in "iu":
        raise ValueError(f"image_of_text has type {rows.dtype}: give image rows as integers")
    n_images = scores.shape[0]
    outside = np.flatnonzero((rows < 0) | (rows >= n_images))
    if len(outside):
        raise ValueError(
            f"image_of_text gives text {outside[0]} image row {rows[outside[0]]}, "
            f"but scores has rows 0 to {n_images - 1}"
        )
    without = np.flatnonzero(np.bincount(rows.astype(np.int64), minlength=n_images) == 0)
    if len(without) or n_images == 0:
        raise ValueError(
            f"image_of_text leaves {len(without)} of {n_images} images without a text"
            + (f", first image row {without[0]}" if len(without) else "")
            + ": score only images that have one"
        )
    return rows.astype(np.int64)
