"""Pictures and region features as people have them, read as training reads them.

A picture is turned the way its camera was held and made RGB: that is what `datasets` and this
library's own datasets do before a model sees it, so one picture gives the same pixels either way.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps


def read_pictures(images: Any) -> list[Any]:
    """Make a list of what an image processor takes.

    Args:
        images: One or several, in any mixture: PIL pictures of any mode, paths of local files,
            uint8 arrays or tensors (height, width), (height, width, 3) or (height, width, 4);
            other arrays and tensors are handed on as they are.

    Returns:
        RGB pictures; arrays where it was given such.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is no picture, or an image is nothing of the above.
    """
    return [_picture(image, position) for position, image in enumerate(_several(images, 3))]


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


def _picture(image: Any, position: int) -> Any:
    if isinstance(image, str | Path):
        return _picture_file(_local_file(image, position), position)
    if isinstance(image, Image.Image):
        return _upright_rgb(image)
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu().numpy()
    if not isinstance(image, np.ndarray):
        raise ValueError(
            f"image {position} is a {type(image).__name__}: pass a picture, the path of a local "
            "file, or an array."
        )
    if image.dtype == np.uint8 and (image.ndim == 2 or image.shape[-1] in (3, 4)):
        return _upright_rgb(Image.fromarray(image))
    return image


def _upright_rgb(picture: Image.Image) -> Image.Image:
    if picture.getexif().get(Image.ExifTags.Base.Orientation) is not None:
        picture = ImageOps.exif_transpose(picture)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


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
            picture.load()
            return _upright_rgb(picture)
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
