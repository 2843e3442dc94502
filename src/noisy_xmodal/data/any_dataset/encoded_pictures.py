"""Pictures in tables as base64 text, with or without `data:image/...;base64,`."""

import base64
import binascii
import re

import datasets

from ..columns import column_values
from ..feature_types import is_string

_URL_SAFE = str.maketrans("-_", "+/")
_N_SAMPLE_ROWS = 20
_MIN_LENGTH = 64  # paths are shorter, or start differently
_PREFIX = re.compile(r"\s*data:image/[\w.+-]+;base64,|\s*")
# The first bytes of JPEG, PNG, GIF, WebP (RIFF) and TIFF in base64.
_STARTS = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR", "SUkqA", "TU0AK")


def decode_pictures(dataset: datasets.Dataset, visual: str) -> datasets.Dataset:
    """Decodes a column of base64 pictures to bytes.

    Args:
        dataset: One split.
        visual: Its column of images.

    Returns:
        The dataset with a column of bytes, if one of the first values is a picture in base64; all
        other values are null then. Otherwise the dataset is returned unchanged.
    """
    if not is_string(dataset.features[visual]):
        return dataset
    sample = column_values(dataset.select(range(min(_N_SAMPLE_ROWS, len(dataset)))), visual)
    if not any(is_encoded(value) for value in sample if value):
        return dataset
    content = [_decode(value) for value in column_values(dataset, visual)]
    names, feature = dataset.column_names, datasets.Value("binary")
    decoded = dataset.remove_columns(visual).add_column(visual, content, feature=feature)
    return decoded.select_columns(names)


def is_encoded(text: str) -> bool:
    """Whether a text starts like a picture in base64."""
    prefix = _PREFIX.match(text)
    code = text[prefix.end() if prefix else 0 :]
    return len(code) >= _MIN_LENGTH and code.startswith(_STARTS)


def _decode(text: str | None) -> bytes | None:
    if not text or not is_encoded(text):
        return None
    try:
        return base64.b64decode(_PREFIX.sub("", text, count=1).translate(_URL_SAFE))
    except (binascii.Error, ValueError):
        return None
