"""Pictures of any mode as small JPEGs that stand inside a page."""

import base64
import io

import numpy as np
from PIL import Image

from ..modules.pixels import to_rgb

THUMBNAIL_SIZE = 200  # pixels on the long side
_QUALITY = 80


def thumbnail_uri(picture: Image.Image) -> str | None:
    """A picture as the `data:` address of a JPEG of at most `THUMBNAIL_SIZE` pixels a side.

    Args:
        picture: Of any mode and size; turned as its EXIF data says.

    Returns:
        The address, or None where the picture does not decode.
    """
    try:
        small = to_rgb(picture).copy()
        small.thumbnail((THUMBNAIL_SIZE, THUMBNAIL_SIZE))
        file = io.BytesIO()
        # A new image, so that no EXIF data or colour profile comes along.
        Image.fromarray(np.asarray(small)).save(file, "JPEG", quality=_QUALITY, optimize=True)
    except (OSError, SyntaxError, ValueError):  # what Pillow raises of damaged files
        return None
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
