"""Pictures of any mode as 8-bit RGB, and as small JPEGs that stand inside a page."""

import base64
import io

import numpy as np
from PIL import Image, ImageOps

THUMBNAIL_SIZE = 200  # pixels on the long side
_QUALITY = 80


def on_white(picture: Image.Image) -> Image.Image:
    """Makes a picture RGB: what is transparent shows white, and deep gray is scaled to 8 bits.

    Args:
        picture: Of any mode; left as it is.
    """
    if picture.mode == "F" or picture.mode.startswith("I"):
        values = np.nan_to_num(np.asarray(picture, dtype=np.float64))  # (height, width)
        low, span = values.min(), np.ptp(values)
        scaled = (values - low) * (255 / span if span else 0)
        return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def thumbnail_uri(picture: Image.Image) -> str | None:
    """A picture as the `data:` address of a JPEG of at most `THUMBNAIL_SIZE` pixels a side.

    Args:
        picture: Of any mode and size; turned as its EXIF data says.

    Returns:
        The address, or None where the picture does not decode.
    """
    try:
        small = on_white(ImageOps.exif_transpose(picture))
        small.thumbnail((THUMBNAIL_SIZE, THUMBNAIL_SIZE))
        file = io.BytesIO()
        # A new image, so that no EXIF data or colour profile comes along.
        Image.fromarray(np.asarray(small)).save(file, "JPEG", quality=_QUALITY, optimize=True)
    except (OSError, SyntaxError, ValueError):  # what Pillow raises of damaged files
        return None
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
