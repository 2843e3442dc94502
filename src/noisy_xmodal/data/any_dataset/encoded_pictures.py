"""Pictures that stand in a table as text: base64, with or without `data:image/...;base64,`."""

import base64
import binascii
import re

import datasets

from ..columns import column_values
from ..feature_types import is_string

_URL_SAFE = str.maketrans("-_", "+/")
_LOOKED_AT = 20  # rows
_LEAST = 64  # characters; a path is shorter, or does not begin so
_HEAD = re.compile(r"\s*data:image/[\w.+-]+;base64,|\s*")
# How JPEG, PNG, GIF, WebP (RIFF) and TIFF begin in base64.
_STARTS = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR", "SUkqA", "TU0AK")


def decode_pictures(dataset: datasets.Dataset, visual: str) -> datasets.Dataset:
    """Makes bytes of pictures in base64.

    Args:
        dataset: One split.
        visual: Its column of images.

    Returns:
        The dataset, with a column of bytes where most values of a column of strings are pictures in
        base64; what is none is null there.
    """
    if not is_string(dataset.features[visual]):
        return dataset
    head = column_values(dataset.select(range(min(_LOOKED_AT, len(dataset)))), visual)
    if not any(is_encoded(value) for value in head if value):
        return dataset
    content = [_bytes(value) for value in column_values(dataset, visual)]
    names, feature = dataset.column_names, datasets.Value("binary")
    decoded = dataset.remove_columns(visual).add_column(visual, content, feature=feature)
    return decoded.select_columns(names)


def is_encoded(text: str) -> bool:
    """Whether a text is, by its start, a picture in base64."""
    head = _HEAD.match(text)
    start = text[head.end() if head else 0 :]
    return len(start) >= _LEAST and start.startswith(_STARTS)


def _bytes(text: str | None) -> bytes | None:
    if not text or not is_encoded(text):
        return None
    try:
        return base64.b64decode(_HEAD.sub("", text, count=1).translate(_URL_SAFE))
    except (binascii.Error, ValueError):
        return None
