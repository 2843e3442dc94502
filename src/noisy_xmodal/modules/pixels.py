"""Pictures of any mode as models see them, and what of them is kept, counted or shown."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base

#: Raised when a picture would give other pixels than before. What is kept of pictures, such as
#: vectors and features, has it in its name.
PIXELS_VERSION = 2

_MARGIN = 1.05  # resampled numbers exceed their range a little
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF files
_WHITE_IS_ZERO, _UNSIGNED = 0, 1
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def on_white(picture: Image.Image) -> Image.Image:
    """Makes a picture upright, 8-bit RGB and opaque.

    This is the only conversion of pictures: training, audit, search, pipelines and processors see
    what it gives, and so do hashes, thumbnails and drawn answers. Its rules look at one picture
    alone:

    - EXIF data says which way is up, unless it cannot be read.
    - Modes of 8 bits and less become RGB as Pillow converts them (CMYK, YCbCr, LAB, HSV, palettes,
      gray, bits). 8-bit RGB stays as it is. Colour profiles are not applied.
    - 16-bit gray (`I;16` of either byte order) is scaled from the whole range of its bit depth to
      0..255: 0..65535, or 0..4095 where a TIFF file says 12 bits. A dark picture stays dark.
    - 32-bit integers (`I`) and floats (`F`) have no range of their own, see `eight_bits`. Those
      of a PGM file have 16 bits.
    - A TIFF file whose zero is white is inverted.
    - What is transparent, by an alpha channel, a palette or a colour key, is laid on white.
    - Of an animation it is the frame at which it stands: the first of a file.

    Args:
        picture: Of any mode and size; left as it is.

    Returns:
        The picture itself where there is nothing to change.
    """
    picture.load()  # which turns a TIFF picture by itself
    turn = _turn(picture)
    if picture.mode == "F" or picture.mode.startswith("I"):
        picture = _gray(picture)
    if picture.has_transparency_data:
        layer = _with_alpha(picture)
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    if picture.mode != "RGB":
        picture = picture.convert("RGB")
    if turn is None:
        return picture
    return Image.fromarray(np.asarray(picture.transpose(turn)))  # without its EXIF data


def eight_bits(values: NDArray, bits: int | None = None) -> NDArray[np.uint8]:
    """Scales numbers that mean brightness to 0..255.

    Without a bit depth, 16-bit integers have 16 bits, and the range of other numbers is the
    smallest that holds all of them: 0 to 2 ** k - 1, with k from 8 on for integers and from 1 on
    for floats, so that floats from 0 to 1 keep their meaning. Where there are negative numbers the
    range goes as far below 0, which is then mid-gray. A twentieth beyond the range is clipped.
    NaN counts as 0.

    Args:
        values: Integers, booleans or floats, of any shape.
        bits: The bit depth of integers from 0 on, where it is known.

    Returns:
        An array of the same shape; 8-bit numbers as they are.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * 255
    if bits is None and values.dtype == np.uint16:
        bits = 16
    least_bits = 1 if values.dtype.kind == "f" else 8
    numbers = values.astype(np.result_type(values.dtype, np.float32))
    numbers = np.nan_to_num(numbers, nan=0.0, posinf=np.inf, neginf=-np.inf)
    black, white = _range(numbers, least_bits) if bits is None else (0.0, 2.0**bits - 1)
    with np.errstate(over="ignore"):
        scaled = (numbers - black) * (255 / (white - black))
    return np.rint(scaled.clip(0, 255)).astype(np.uint8)


def _range(numbers: NDArray[np.floating], least_bits: int) -> tuple[float, float]:
    """What is black and what is white, by the finite numbers."""
    finite = numbers[np.isfinite(numbers)]
    low, high = float(finite.min(initial=0)), float(finite.max(initial=0))
    white = _white(high, least_bits)
    if -low <= white * (_MARGIN - 1):
        return 0.0, white
    white = _white(max(-low, high), max(1, least_bits - 1))  # one bit is the sign
    return -white, white


def _white(highest: float, least_bits: int) -> float:
    return 2.0 ** max(least_bits, math.ceil(math.log2(highest / _MARGIN + 1))) - 1


def _turn(picture: Image.Image) -> Image.Transpose | None:
    try:
        orientation: Any = picture.getexif().get(Base.Orientation)
    except Exception:  # damaged EXIF data makes Pillow raise many kinds
        return None
    return _TURNS.get(orientation)


def _gray(picture: Image.Image) -> Image.Image:
    """A picture of deep gray in 8 bits, its colour key in white."""
    tags = getattr(picture, "tag_v2", {})
    values = np.asarray(picture)  # (height, width)
    bits = None
    if picture.mode.startswith("I;16"):
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    elif picture.mode == "I" and picture.format == "PPM":
        bits = 16
    elif picture.mode == "I" and tags and tags.get(_SAMPLE_FORMAT, (_UNSIGNED,)) == (_UNSIGNED,):
        values = values.view(np.uint32)  # Pillow has signed integers alone
    gray = eight_bits(values, bits)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        gray = 255 - gray
    key = picture.info.get("transparency")
    if isinstance(key, int):
        gray[values == key] = 255
    return Image.fromarray(gray)


def _with_alpha(picture: Image.Image) -> Image.Image:
    """A picture of any mode that has transparency, in RGBA."""
    key = picture.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:  # of a 16-bit file, which Pillow reads in 8
        picture = picture.copy()
        picture.info["transparency"] = tuple(value >> 8 for value in key)
    if picture.mode == "La":
        picture = picture.convert("LA")
    return picture.convert("RGBA")
