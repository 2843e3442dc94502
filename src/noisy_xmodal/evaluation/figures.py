"""matplotlib figures: colours, PNG files, and the answers to a query."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from ..entry.terminal import plain
from ..files import atomic_write

_SOFTWARE = "noisy-xmodal"
RIGHT_COLOR, WRONG_COLOR = "#4c9f70", "#d1495b"
_PICTURE_SIZE = (320, 320)
_COLUMNS, _MAX_PICTURES, _MAX_LINES, _LINE_HEIGHT, _QUERY_WIDTH = 5, 50, 40, 0.3, 3.0
_SIDES = {"left": 0.02, "right": 0.98}

Answers = Sequence[Mapping[str, Any]]


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure to a PNG file atomically.

    Args:
        figure: The figure.
        path: The PNG file; missing folders are created.
    """
    with atomic_write(path) as aside:
        figure.savefig(aside, format="png", dpi=110, metadata={"Software": _SOFTWARE})


def is_figure(path: Path) -> bool:
    """Whether a file is a PNG that `save_figure` wrote."""
    try:
        with Image.open(path) as picture:
            return picture.info.get("Software") == _SOFTWARE
    except (OSError, ValueError, Image.DecompressionBombError):
        return False


def draw_pictures(
    path: str | Path, title: str, answers: Answers, pictures: Iterable[Image.Image]
) -> None:
    """Draw pictures in rows, each with its rank, score and caption.

    Args:
        path: PNG to write.
        title: The query.
        answers: `rank`, `score` and `caption` of each; the first 50 are drawn.
        pictures: The picture of each answer.
    """
    answers = answers[:_MAX_PICTURES]
    columns = min(_COLUMNS, max(2, len(answers)))
    rows = -(-len(answers) // columns)
    height = 2.9 * rows + 0.5
    figure = _titled_figure(2.3 * columns, height, title)
    margins = {"bottom": 0.6 / height, "top": 1 - 0.75 / height, "hspace": 0.5, "wspace": 0.1}
    cells = figure.subplots(rows, columns, squeeze=False, gridspec_kw=_SIDES | margins).flat
    for axes in cells[len(answers) :]:
        axes.set_axis_off()
    for axes, answer, picture in zip(cells, answers, pictures, strict=False):
        draw_picture(axes, picture)
        axes.set_title(f"{answer['rank']}    {answer['score']:.3f}", fontsize=9, pad=3)
        caption = fill(one_line(answer["caption"], 100), 36)
        axes.set_xlabel(caption, fontsize=7.5, labelpad=3, parse_math=False)
    save_figure(figure, path)


def draw_answers(path: str | Path, title: str, answers: Answers, query: Any = None) -> None:
    """Draw one line per answer, next to the query image.

    Args:
        path: PNG to write.
        title: The query.
        answers: `rank`, `score`, `image_id` and `caption` of each; the first 40 are drawn.
        query: The query; only an image is drawn.
    """
    answers = answers[:_MAX_LINES]
    has_picture = isinstance(query, Image.Image)
    height = max(len(answers) * _LINE_HEIGHT + 0.1, has_picture * _QUERY_WIDTH) + 0.5
    figure = _titled_figure(10.5 + has_picture * _QUERY_WIDTH, height, title)
    ratios = [_QUERY_WIDTH, 10.5][not has_picture :]
    margins = _SIDES | {"bottom": 0.02, "top": 1 - 0.5 / height, "wspace": 0.02}
    cells = figure.subplots(1, len(ratios), squeeze=False, width_ratios=ratios, gridspec_kw=margins)
    *left, axes = cells[0]
    if left:
        draw_picture(left[0], query)
    axes.set_axis_off()
    for line, answer in enumerate(answers):
        y = 1 - (line + 0.5) * _LINE_HEIGHT / (height - 0.5)
        for x, text, side, size in (
            (0.03, str(answer["rank"]), "right", 9),
            (0.1, f"{answer['score']:.3f}", "right", 9),
            (0.12, one_line(str(answer["image_id"]), 22), "left", 7.5),
            (0.29, one_line(answer["caption"], 95), "left", 9),
        ):
            axes.text(x, y, text, ha=side, va="center", fontsize=size, parse_math=False)
    save_figure(figure, path)


def draw_picture(axes: Axes, picture: Image.Image, color: str = "0.8", width: float = 0.8) -> None:
    """Draw a picture in a frame.

    Args:
        axes: Where to draw.
        picture: The picture.
        color: Colour of the frame.
        width: Width of the frame in points.
    """
    axes.set(xticks=[], yticks=[], anchor="N")
    axes.spines[:].set(color=color, linewidth=width)
    small = picture.copy()
    small.thumbnail(_PICTURE_SIZE)
    axes.imshow(small)


def one_line(text: str, length: int) -> str:
    """A text in one line without control characters, cut to a length."""
    line = " ".join(plain(text).split())
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"


def _titled_figure(width: float, height: float, title: str) -> Figure:
    figure = Figure(figsize=(width, height))
    line = one_line(title, 110)
    figure.text(0.02, 1 - 0.25 / height, line, va="center", fontsize=11, parse_math=False)
    return figure
