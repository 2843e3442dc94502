"""Colours of matplotlib figures, and writing them to PNG files."""

from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from ..files import atomic_write

_SOFTWARE = "noisy-xmodal"
RIGHT_COLOR, WRONG_COLOR = "#4c9f70", "#d1495b"


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
