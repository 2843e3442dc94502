"""Retrieval results of example queries, as data and as a figure."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..data import PairDataset
from ..data.columns import IMAGE, IMAGE_ID, column_values
from .figures import RIGHT_COLOR, WRONG_COLOR, draw_picture, one_line, save_figure

_N_IMAGES = 3
_ANSWER_LENGTH, _QUERY_LENGTH, _QUERY_WIDTH = 90, 130, 24  # characters
_QUERY_COLOR = "0.6"


def retrieval_examples(
    scores: NDArray[np.floating],
    pairs: PairDataset,
    n_queries: int = 4,
    top: int = 5,
    seed: int = 0,
    values: NDArray[np.floating] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """The best answers to random queries of each direction.

    Args:
        scores: Score of each image with each text, (n_images, n_texts), higher is better; NaN or
            minus infinity excludes a pair.
        pairs: The split.
        n_queries: Number of image queries and of text queries.
        top: Answers per query.
        seed: Seed of the choice among the queries with an answer.
        values: Values to report as scores, (n_images, n_texts), such as probabilities if `scores`
            are log-odds; by default the scores.

    Returns:
        `image_queries`, each with `image_row`, `image_id` and its `texts` (`pair_id`, `text`,
        `score`, `right`), and `text_queries`, each with `pair_id`, `text` and its `images`
        (`image_row`, `image_id`, `score`, `right`), for JSON. An answer is right if the text is a
        caption of the image.

    Raises:
        ValueError: If shapes do not fit, a number is below 1, or no pair was scored.
    """
    if scores.shape != (pairs.n_images, len(pairs)):
        raise ValueError(
            f"scores has shape {scores.shape}, but the split has {pairs.n_images} images and "
            f"{len(pairs)} texts"
        )
    if n_queries < 1 or top < 1:
        raise ValueError(f"n_queries is {n_queries} and top is {top}: give at least 1")
    has_score = scores > -np.inf  # (n_images, n_texts), False for NaN
    if not has_score.any():
        raise ValueError("scores has no number: give the scores of some pairs")
    values = scores if values is None else values
    rng = np.random.default_rng(seed)
    captions, image_ids = pairs.captions(), column_values(pairs.dataset, IMAGE_ID)

    def image(row: int) -> dict[str, Any]:
        return {"image_row": row, "image_id": image_ids[row]}

    def text(pair_id: int) -> dict[str, Any]:
        return {"pair_id": pair_id, "text": captions[pair_id]}

    def score(row: int, pair_id: int) -> dict[str, Any]:
        right = bool(pairs.row_of_pair[pair_id] == row)
        return {"score": float(values[row, pair_id]), "right": right}

    def queries(axis: int) -> list[int]:
        answered = np.flatnonzero(has_score.any(axis=axis))
        n = min(n_queries, len(answered))
        return sorted(rng.choice(answered, n, replace=False).tolist())

    def best(line: NDArray[np.floating]) -> list[int]:
        answers = np.flatnonzero(line > -np.inf)  # (n_answers,)
        return answers[np.argsort(-line[answers], kind="stable")[:top]].tolist()

    return {
        "image_queries": [
            image(row) | {"texts": [text(i) | score(row, i) for i in best(scores[row])]}
            for row in queries(axis=1)
        ],
        "text_queries": [
            text(i) | {"images": [image(row) | score(row, i) for row in best(scores[:, i])]}
            for i in queries(axis=0)
        ],
    }


def plot_retrieval_examples(
    path: str | Path, examples: Mapping[str, list[dict[str, Any]]], pairs: PairDataset
) -> None:
    """Draw one row per query: images with their best texts, and texts with their best images.

    Right answers are green and wrong answers red. If the split has region features instead of
    images, the image ids are drawn.

    Args:
        path: PNG file to write.
        examples: Output of `retrieval_examples`.
        pairs: The split of the examples.
    """
    by_image, by_text = examples["image_queries"], examples["text_queries"]
    n_rows = len(by_image) + len(by_text)
    figure = Figure(figsize=(10, 1.9 * n_rows))
    grid = figure.add_gridspec(
        n_rows, 1 + _N_IMAGES, left=0.02, right=0.98, bottom=0.02, top=0.98, wspace=0.08
    )
    for line, query in enumerate(by_image):
        _draw_image(figure.add_subplot(grid[line, 0]), query, pairs, _QUERY_COLOR)
        _draw_texts(figure.add_subplot(grid[line, 1:]), query["texts"])
    for line, query in enumerate(by_text, start=len(by_image)):
        axes = figure.add_subplot(grid[line, 0])
        axes.set_axis_off()
        _write(axes, query["text"])
        for column, answer in enumerate(query["images"][:_N_IMAGES], start=1):
            color = RIGHT_COLOR if answer["right"] else WRONG_COLOR
            _draw_image(figure.add_subplot(grid[line, column]), answer, pairs, color)
    save_figure(figure, path)


def _draw_image(axes: Axes, image: dict[str, Any], pairs: PairDataset, color: str) -> None:
    """Draw an image, or its id, in a frame."""
    if pairs.visual == IMAGE:
        draw_picture(axes, pairs.visuals([image["image_row"]])[0], color, width=3)
    else:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color=color, linewidth=3)
        _write(axes, image["image_id"])


def _write(axes: Axes, text: str) -> None:
    lines = fill(one_line(text, _QUERY_LENGTH), _QUERY_WIDTH)
    axes.text(0.5, 0.5, lines, ha="center", va="center", fontsize=9, parse_math=False)


def _draw_texts(axes: Axes, texts: list[dict[str, Any]]) -> None:
    """Draw one line per text, preceded by a tick or a cross."""
    axes.set_axis_off()
    for line, answer in enumerate(texts):
        sign, color = ("✓", RIGHT_COLOR) if answer["right"] else ("✗", WRONG_COLOR)
        text, y = (
            f"{sign} {one_line(answer['text'], _ANSWER_LENGTH)}",
            1 - (line + 0.5) / len(texts),
        )
        axes.text(0.02, y, text, color=color, va="center", fontsize=9, parse_math=False)
