"""Images of any mode as small JPEGs that are embedded in a page."""

import base64
import io

import numpy as np
from PIL import Image

from ..modules.pixels import to_rgb

THUMBNAIL_SIZE = 200  # pixels on the long side
_QUALITY = 80


def thumbnail_uri(picture: Image.Image) -> str | None:
    """A `data:` URI of a JPEG with at most `THUMBNAIL_SIZE` pixels per side.

    Args:
        picture: An image of any mode and size; its EXIF orientation is applied.

    Returns:
        The URI, or None if the image does not decode.
    """
    try:
        small = to_rgb(picture).copy()
        small.thumbnail((THUMBNAIL_SIZE, THUMBNAIL_SIZE))
        file = io.BytesIO()
        # A new image, without EXIF data and colour profile.
        Image.fromarray(np.asarray(small)).save(file, "JPEG", quality=_QUALITY, optimize=True)
    except (OSError, SyntaxError, ValueError):  # raised by Pillow for damaged files
        return None
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
