"""Load images or region features from paths, arrays or PIL images.

Images are converted by `to_rgb`, so they have the same pixels as in a dataset.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from .pixels import eight_bits, to_rgb

_CHANNELS = (1, 2, 3, 4)


def load_images(images: Any, scale_floats: bool = True) -> list[Any]:
    """Load images as an image processor accepts them.

    Args:
        images: One or several, in any mixture: PIL images of any mode, paths of local files,
            arrays or tensors (height, width), or (height, width, channels) or (channels, height,
            width) with 1 channel (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha). Values are
            scaled by `eight_bits`: floats from 0 to 1 as well as integers to 255 or 65535.
        scale_floats: False returns arrays of floats unchanged, for an image processor that does
            not rescale.

    Returns:
        RGB images, see `to_rgb`, or the unchanged arrays.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If a file is not an image, or an image has another type or shape.
    """
    items = enumerate(_to_list(images, max_axes=3))
    return [_load_image(image, position, scale_floats) for position, image in items]


def load_regions(images: Any) -> list[np.ndarray]:
    """Load the region features of images.

    Args:
        images: One or several, in any mixture: arrays, tensors or nested lists (n_regions, size),
            and paths of local `.npy` files that hold such an array.

    Returns:
        Arrays (n_regions, size).

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If a file does not hold an array.
    """
    return [
        _read_array_file(_local_path(image, position), position)
        if isinstance(image, str | Path)
        else np.asarray(image.detach().cpu() if isinstance(image, torch.Tensor) else image)
        for position, image in enumerate(_to_list(images, max_axes=2))
    ]


def _to_list(images: Any, max_axes: int) -> list[Any]:
    """A list of images from one or several; the array of one has at most `max_axes` axes."""
    if isinstance(images, str | Path | Image.Image):
        return [images]
    if isinstance(images, np.ndarray | torch.Tensor) and 2 <= images.ndim <= max_axes:
        return [images]
    if not hasattr(images, "__iter__"):
        raise ValueError(
            f"an image is a {type(images).__name__}: pass a PIL image, the path of a file, an "
            "array, or a list of them."
        )
    items = list(images)
    if not items:
        raise ValueError("there is no image: pass at least one.")
    return items


def _load_image(image: Any, position: int, scale_floats: bool) -> Any:
    if isinstance(image, str | Path):
        return _read_image_file(_local_path(image, position), position)
    if isinstance(image, Image.Image):
        return to_rgb(image)
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        image = (image.float() if image.dtype == torch.bfloat16 else image).numpy()
    if not isinstance(image, np.ndarray):
        raise ValueError(
            f"image {position} is a {type(image).__name__}: pass a PIL image, the path of a local "
            "file, or an array."
        )
    if image.dtype.kind == "f" and not scale_floats:
        return image
    return to_rgb(Image.fromarray(eight_bits(_channels_last(image, position))))


def _channels_last(array: np.ndarray, position: int) -> np.ndarray:
    """An image as (height, width) or (height, width, channels) with 2 to 4 channels."""
    if array.ndim == 3 and array.shape[-1] not in _CHANNELS and array.shape[0] in _CHANNELS:
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in _CHANNELS)
    if not is_image or not array.size or array.dtype.kind not in "buif":
        raise ValueError(
            f"image {position} is an array of type {array.dtype} and shape {array.shape}: pass "
            "numbers (height, width), (height, width, channels) or (channels, height, width) with "
            "1 to 4 channels."
        )
    return np.ascontiguousarray(array)


def _local_path(image: str | Path, position: int) -> Path:
    if isinstance(image, str) and ("://" in image or image.startswith("data:")):
        raise ValueError(
            f"image {position} is {image[:80]!r}: only local files are read. Download it and pass "
            "the path of the file."
        )
    path = Path(image).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"image {position}: there is no file {str(path)!r}.")
    return path


def _read_image_file(path: Path, position: int) -> Image.Image:
    try:
        with Image.open(path) as image:
            return to_rgb(image)
    except Exception as error:  # Pillow raises many types for damaged files
        raise ValueError(
            f"image {position}: Pillow cannot read {str(path)!r} as an image "
            f"({error or type(error).__name__})."
        ) from error


def _read_array_file(path: Path, position: int) -> np.ndarray:
    if path.suffix != ".npy":
        raise ValueError(
            f"image {position} is {str(path)!r}: this model takes region features, so pass the "
            "path of a .npy file with an array (n_regions, size)."
        )
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy raises many types for damaged headers
        raise ValueError(
            f"image {position}: {str(path)!r} is not a NumPy array "
            f"({error or type(error).__name__})."
        ) from error
