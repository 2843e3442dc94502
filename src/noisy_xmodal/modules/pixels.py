"""Conversion of images of any mode to 8-bit RGB."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base

#: Incremented when the conversion changes. Cached vectors and features have it in their names.
PIXELS_VERSION = 2

_MARGIN = 1.05  # resampled values exceed their range a little
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF files
_WHITE_IS_ZERO, _UNSIGNED = 0, 1
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to upright, opaque 8-bit RGB.

    This is the only conversion of images: training, audit, search, pipelines, processors, hashes
    and thumbnails all use it. The result depends on the image alone:

    - The EXIF orientation is applied if it can be read.
    - Modes of 8 bits and less become RGB as Pillow converts them (CMYK, YCbCr, LAB, HSV, palettes,
      gray, bits). 8-bit RGB stays unchanged. Colour profiles are not applied.
    - 16-bit gray (`I;16` of either byte order) is scaled from the full range of its bit depth to
      0..255: 0..65535, or 0..4095 if a TIFF file has 12 bits per sample. A dark image stays dark.
    - 32-bit integers (`I`) and floats (`F`) have no fixed range, see `eight_bits`. PGM files have
      16 bits.
    - A TIFF file in which zero is white is inverted.
    - Transparency (alpha channel, palette or colour key) is composited on white.
    - An animation gives its current frame: the first one of a file.

    Args:
        image: An image of any mode and size; it is not modified.

    Returns:
        The converted image, or the same object if nothing changes.
    """
    image.load()  # also transposes a TIFF image
    transpose = _transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):
        image = _to_gray(image)
    if image.has_transparency_data:
        layer = _to_rgba(image)
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    if image.mode != "RGB":
        image = image.convert("RGB")
    if transpose is None:
        return image
    return Image.fromarray(np.asarray(image.transpose(transpose)))  # without the EXIF data


def eight_bits(values: NDArray, bits: int | None = None) -> NDArray[np.uint8]:
    """Scale brightness values to 0..255.

    Without a bit depth, unsigned 16-bit integers have 16 bits. The range of other values is the
    smallest 0 to 2 ** k - 1 that contains them, with k >= 8 for integers and k >= 1 for floats, so
    floats from 0 to 1 have that range. If values are negative, the range is symmetric around 0,
    which becomes mid-gray. Values up to 5 % beyond a range are clipped. NaN counts as 0.

    Args:
        values: Integers, booleans or floats, of any shape.
        bits: The bit depth of unsigned integers, if it is known.

    Returns:
        An array of the same shape; 8-bit values unchanged.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * 255
    if bits is None and values.dtype == np.uint16:
        bits = 16
    min_bits = 1 if values.dtype.kind == "f" else 8
    numbers = values.astype(np.result_type(values.dtype, np.float32))
    numbers = np.nan_to_num(numbers, nan=0.0, posinf=np.inf, neginf=-np.inf)
    black, white = _range(numbers, min_bits) if bits is None else (0.0, 2.0**bits - 1)
    with np.errstate(over="ignore"):
        scaled = (numbers - black) * (255 / (white - black))
    return np.rint(scaled.clip(0, 255)).astype(np.uint8)


def _range(numbers: NDArray[np.floating], min_bits: int) -> tuple[float, float]:
    """The values of black and white, derived from the finite numbers."""
    finite = numbers[np.isfinite(numbers)]
    low, high = float(finite.min(initial=0)), float(finite.max(initial=0))
    white = _white(high, min_bits)
    if -low <= white * (_MARGIN - 1):
        return 0.0, white
    white = _white(max(-low, high), max(1, min_bits - 1))  # one bit is the sign
    return -white, white


def _white(maximum: float, min_bits: int) -> float:
    return 2.0 ** max(min_bits, math.ceil(math.log2(maximum / _MARGIN + 1))) - 1


def _transpose(image: Image.Image) -> Image.Transpose | None:
    try:
        orientation: Any = image.getexif().get(Base.Orientation)
    except Exception:  # Pillow raises many types for damaged EXIF data
        return None
    return _TRANSPOSES.get(orientation)


def _to_gray(image: Image.Image) -> Image.Image:
    """Convert gray of more than 8 bits to 8 bits, with its colour key in white."""
    tags = getattr(image, "tag_v2", {})
    values = np.asarray(image)  # (height, width)
    bits = None
    if image.mode.startswith("I;16"):
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    elif image.mode == "I" and image.format == "PPM":
        bits = 16
    elif image.mode == "I" and tags and tags.get(_SAMPLE_FORMAT, (_UNSIGNED,)) == (_UNSIGNED,):
        values = values.view(np.uint32)  # Pillow has only signed integers
    gray = eight_bits(values, bits)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        gray = 255 - gray
    key = image.info.get("transparency")
    if isinstance(key, int):
        gray[values == key] = 255
    return Image.fromarray(gray)


def _to_rgba(image: Image.Image) -> Image.Image:
    """Convert an image with transparency to RGBA."""
    key = image.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:  # a 16-bit file, which Pillow reads as 8 bits
        image = image.copy()
        image.info["transparency"] = tuple(value >> 8 for value in key)
    if image.mode == "La":
        image = image.convert("LA")
    return image.convert("RGBA")
