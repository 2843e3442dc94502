"""The answers to a query as a figure."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from ..entry.terminal import plain
from ..evaluation.figures import save_figure

_COLUMNS, _MAX_PICTURES, _MAX_LINES = 5, 50, 40
_PICTURE_SIZE = (320, 320)
_CAPTION_LENGTH, _CAPTION_WIDTH, _LINE_LENGTH, _TITLE_LENGTH = 100, 36, 95, 110
_CELL_WIDTH, _CELL_HEIGHT, _LINE_HEIGHT, _TITLE_HEIGHT, _QUERY_WIDTH = 2.3, 2.9, 0.3, 0.5, 3.0
_GREY = "0.35"

Answers = Sequence[Mapping[str, Any]]


def draw_pictures(
    path: Path, title: str, answers: Answers, picture_of: Callable[[Mapping[str, Any]], Any]
) -> None:
    """Draw the images in rows, each with its rank, score and first caption.

    Args:
        path: PNG to write.
        title: The query.
        answers: `rank`, `score` and `caption` of each; the first 50 are drawn.
        picture_of: Function that reads the image of an answer.
    """
    answers = answers[:_MAX_PICTURES]
    columns = min(_COLUMNS, max(2, len(answers)))
    rows = -(-len(answers) // columns)
    size = (columns * _CELL_WIDTH, rows * _CELL_HEIGHT + _TITLE_HEIGHT)
    figure = Figure(figsize=size)
    _write_title(figure, title, size[1])
    grid = figure.add_gridspec(
        rows,
        columns,
        left=0.02,
        right=0.98,
        bottom=0.6 / size[1],  # inches for the captions of the last row
        top=1 - (_TITLE_HEIGHT + 0.25) / size[1],
        hspace=0.5,
        wspace=0.1,
    )
    for place, answer in enumerate(answers):
        axes = figure.add_subplot(grid[place // columns, place % columns])
        _draw_picture(axes, picture_of(answer))
        axes.set_title(f"{answer['rank']}    {answer['score']:.3f}", fontsize=9, pad=3)
        caption = fill(_truncate(answer["caption"], _CAPTION_LENGTH), _CAPTION_WIDTH)
        axes.set_xlabel(caption, fontsize=7.5, labelpad=3, parse_math=False)
    save_figure(figure, path)


def draw_texts(path: Path, title: str, answers: Answers, query: Image.Image | None = None) -> None:
    """Draw one line per answer, next to the query image.

    Args:
        path: PNG to write.
        title: The query.
        answers: `rank`, `score`, `image_id` and `caption` of each; the first 40 are drawn.
        query: The query image; None for region features.
    """
    answers = answers[:_MAX_LINES]
    query_width = 0.0 if query is None else _QUERY_WIDTH
    height = max(len(answers) * _LINE_HEIGHT + 0.1, query_width) + _TITLE_HEIGHT
    width = 10.5 + query_width
    figure = Figure(figsize=(width, height))
    _write_title(figure, title, height)
    bottom, top = 0.02, 1 - _TITLE_HEIGHT / height
    if query is not None:
        axes = figure.add_axes((0.01, bottom, query_width / width - 0.01, top - bottom))
        _draw_picture(axes, query)
    left = query_width / width + 0.01
    axes = figure.add_axes((left, bottom, 0.99 - left, top - bottom))
    axes.set_axis_off()
    for line, answer in enumerate(answers):
        y = 1 - (line + 0.5) * _LINE_HEIGHT / (height * (top - bottom))
        cells = ((0.03, str(answer["rank"]), "right"), (0.1, f"{answer['score']:.3f}", "right"))
        for x, text, side in cells:
            axes.text(x, y, text, ha=side, va="center", fontsize=9, color=_GREY)
        name = _truncate(str(answer["image_id"]), 22)
        axes.text(0.12, y, name, va="center", fontsize=7.5, color=_GREY, parse_math=False)
        caption = _truncate(answer["caption"], _LINE_LENGTH)
        axes.text(0.29, y, caption, va="center", fontsize=9, parse_math=False)
    save_figure(figure, path)


def _write_title(figure: Figure, title: str, height: float) -> None:
    y = 1 - _TITLE_HEIGHT / 2 / height
    figure.text(
        0.02, y, _truncate(title, _TITLE_LENGTH), va="center", fontsize=11, parse_math=False
    )


def _draw_picture(axes: Axes, picture: Image.Image) -> None:
    axes.set(xticks=[], yticks=[], anchor="N")
    for edge in axes.spines.values():
        edge.set(color="0.8", linewidth=0.8)
    small = picture.copy()
    small.thumbnail(_PICTURE_SIZE)
    axes.imshow(small)


def _truncate(text: str, length: int) -> str:
    line = " ".join(plain(text).split())
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"
