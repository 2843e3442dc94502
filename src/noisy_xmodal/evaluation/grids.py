"""Region features of images: the feature grid of a frozen vision model, cached on disk."""

import os
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from ..data import PairDataset
from ..data.columns import IMAGE
from ..data.digests import image_digests
from ..data.lazy_rows import LazyRows
from ..data.pair_dataset import GridPairs
from ..data.pictures import open_picture, stored_pictures
from ..modules.efficientnet_lite import inference_form
from ..modules.grids import grid_cells
from ..modules.pixels import PIXELS_VERSION
from .cache import cache_folder, network_digest, stored_rows

#: Images that a CPU computes at once: the maps of more do not fit into its cache.
_CPU_BLOCK = 2
_THREADS = min(16, os.cpu_count() or 1)  # Pillow decodes and resizes without the GIL


def grid_features(
    model: nn.Module,
    processor: Any,
    images: Sequence[Any],
    path: Path,
    block_size: int = 64,
    progress: bool = False,
) -> np.ndarray:
    """Compute region features of images by a vision model.

    Images are read and resized by a thread a core.

    Args:
        model: Any transformers vision model, in eval mode.
        processor: Its image processor.
        images: The images; slicing must give a list, and threads may slice.
        path: `.npy` file, see `stored_rows`; its name must identify the model and the images.
        block_size: Images per block.
        progress: Whether to show a progress bar.

    Returns:
        (n_images, n_regions, size), float16, mapped from the file: 4 x 4 regions, or one if the
        model's tokens are not a grid.

    Raises:
        ValueError: If there are no images, or a feature is not finite.
    """
    parameter = next(model.parameters())
    network = inference_form(model)
    n_at_once = _CPU_BLOCK if parameter.device.type == "cpu" else block_size

    def read(start: int) -> torch.Tensor:
        rows = images[start : start + _CPU_BLOCK]
        return processor(images=rows, return_tensors="pt")["pixel_values"]

    @torch.inference_mode()
    def make(start: int, end: int) -> np.ndarray:
        pixels = torch.cat(pool.map(read, range(start, end, _CPU_BLOCK)))
        cells = []
        for part in pixels[: end - start].split(n_at_once):
            part = part.to(parameter).contiguous(memory_format=torch.channels_last)  # faster
            hidden = network(pixel_values=part).last_hidden_state
            cells.append(grid_cells(hidden).to(torch.float16).cpu())
        return torch.cat(cells).numpy()  # (n_block, n_regions, size)

    with ThreadPool(_THREADS) as pool:
        return stored_rows(path, len(images), make, block_size, "image features", progress)


def grid_pairs(
    model: Any,
    image_processor: Any,
    pairs: PairDataset,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> GridPairs:
    """Replace the pictures of pairs by grid cells of a vision model.

    Every distinct picture is read once; a large JPEG file at a reduced size, at least one and a
    half times the input of the model. Other runs with the same pictures reuse the file, in any
    order and with any captions.

    Args:
        model: Any transformers vision model, in eval mode.
        image_processor: Its image processor.
        pairs: Pairs of pictures and captions.
        cache_dir: Folder of the cache; that of `datasets` by default.
        progress: Whether to show a progress bar.
    """
    digests = image_digests(pairs.dataset)  # (n_images,)
    distinct, first_rows, feature_rows = np.unique(digests, return_index=True, return_inverse=True)
    min_side = _min_side(image_processor)
    settings = f"{PIXELS_VERSION} {min_side} {image_processor.to_json_string()}"
    path = cache_folder(cache_dir) / f"{network_digest(model, distinct, settings)}-grid.npy"
    stored = stored_pictures(pairs.dataset)

    def read(rows: list[int]) -> list[Image.Image]:
        pictures = stored[first_rows[rows].tolist()][IMAGE]
        return [open_picture(picture, min_side) for picture in pictures]

    images = LazyRows(read, len(distinct))
    features = grid_features(model, image_processor, images, path, progress=progress)
    return GridPairs(pairs.dataset, features, feature_rows, digests)


def _min_side(image_processor: Any) -> int | None:
    """One and a half times the largest side that an image processor resizes or crops to."""
    facts = image_processor.to_dict()
    sizes = [facts.get(name) or {} for name in ("size", "crop_size")]
    sides = [side for size in sizes for side in size.values() if isinstance(side, int)]
    return 3 * max(sides) // 2 if sides and facts.get("do_resize") else None


def with_grids(
    model: Any,
    processor: Any,
    pairs: PairDataset,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> PairDataset:
    """Replace pictures by what the frozen vision model of a model makes of them.

    Args:
        model: Any model.
        processor: Its processor.
        pairs: Pairs with captions.
        device: Device of the vision model.
        progress: Whether to show a progress bar.

    Returns:
        The pairs with grid cells, or `pairs` if they have no pictures or no vision model is frozen.
    """
    encoder = getattr(model, "frozen_vision_encoder", None)
    if encoder is None or pairs.visual != IMAGE:
        return pairs
    vision_model = encoder.backbone.to(device)
    return grid_pairs(vision_model, processor.image_processor, pairs, progress=progress)
