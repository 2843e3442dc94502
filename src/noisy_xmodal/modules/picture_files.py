"""Pictures and region features as people have them, read as training reads them.

A picture becomes what `on_white` makes of it, so it gives the same pixels as in a dataset.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from .pixels import eight_bits, on_white

_CHANNELS = (1, 2, 3, 4)


def read_pictures(images: Any, scale_floats: bool = True) -> list[Any]:
    """Make a list of what an image processor takes.

    Args:
        images: One or several, in any mixture: PIL pictures of any mode, paths of local files,
            arrays or tensors (height, width), or (height, width, channels) or (channels, height,
            width) with 1 channel (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha). Their numbers
            are scaled as `eight_bits` says: floats from 0 to 1 as well as integers to 255 or 65535.
        scale_floats: False to hand arrays of floats on as they are, for an image processor that
            does not rescale.

    Returns:
        RGB pictures, see `on_white`; arrays where they are handed on.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is no picture, or an image is nothing of the above.
    """
    several = enumerate(_several(images, 3))
    return [_picture(image, position, scale_floats) for position, image in several]


def read_regions(images: Any) -> list[np.ndarray]:
    """Make a list of arrays of region features.

    Args:
        images: One or several, in any mixture: arrays, tensors or nested lists (n_regions, size),
            and paths of local `.npy` files that hold such an array.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file holds no array.
    """
    return [
        _array_file(_local_file(image, position), position)
        if isinstance(image, str | Path)
        else np.asarray(image.detach().cpu() if isinstance(image, torch.Tensor) else image)
        for position, image in enumerate(_several(images, 2))
    ]


def _several(images: Any, n_axes: int) -> Sequence[Any]:
    """A sequence of images, also of a single one, whose arrays have at most `n_axes` axes."""
    if isinstance(images, str | Path | Image.Image):
        return [images]
    if isinstance(images, np.ndarray | torch.Tensor) and 2 <= images.ndim <= n_axes:
        return [images]
    if not hasattr(images, "__iter__"):
        raise ValueError(
            f"found a {type(images).__name__} in place of an image: pass a picture, the path of a "
            "file, an array, or a list of them."
        )
    found = list(images)
    if not found:
        raise ValueError("no image was given: pass at least one.")
    return found


def _picture(image: Any, position: int, scale_floats: bool) -> Any:
    if isinstance(image, str | Path):
        return _picture_file(_local_file(image, position), position)
    if isinstance(image, Image.Image):
        return on_white(image)
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        image = (image.float() if image.dtype == torch.bfloat16 else image).numpy()
    if not isinstance(image, np.ndarray):
        raise ValueError(
            f"image {position} is a {type(image).__name__}: pass a picture, the path of a local "
            "file, or an array."
        )
    if image.dtype.kind == "f" and not scale_floats:
        return image
    return on_white(Image.fromarray(eight_bits(_channels_last(image, position))))


def _channels_last(array: np.ndarray, position: int) -> np.ndarray:
    """A picture's numbers as (height, width) or (height, width, channels), channels from 2 on."""
    if array.ndim == 3 and array.shape[-1] not in _CHANNELS and array.shape[0] in _CHANNELS:
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in _CHANNELS)
    if not is_picture or not array.size or array.dtype.kind not in "buif":
        raise ValueError(
            f"image {position} is an array of {array.dtype} of the shape {array.shape}: pass "
            "numbers (height, width), (height, width, channels) or (channels, height, width) with "
            "1 to 4 channels."
        )
    return np.ascontiguousarray(array)


def _local_file(given: str | Path, position: int) -> Path:
    if isinstance(given, str) and ("://" in given or given.startswith("data:")):
        raise ValueError(
            f"image {position} is {given[:80]!r}: only local files are read and nothing is "
            "fetched. Download it and pass the path of the file."
        )
    path = Path(given).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"image {position}: there is no file {str(path)!r}.")
    return path


def _picture_file(path: Path, position: int) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return on_white(picture)
    except Exception as error:  # damaged files make Pillow's readers raise many kinds
        raise ValueError(
            f"image {position}: {str(path)!r} is no picture that Pillow can read "
            f"({error or type(error).__name__})."
        ) from error


def _array_file(path: Path, position: int) -> np.ndarray:
    if path.suffix != ".npy":
        raise ValueError(
            f"image {position} is {str(path)!r}: this model reads region features, so pass the "
            "path of a .npy file with an array (n_regions, size)."
        )
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # damaged headers make NumPy raise many kinds
        raise ValueError(
            f"image {position}: {str(path)!r} holds no array ({error or type(error).__name__})."
        ) from error
