"""Region features of images: the feature grid of a frozen vision model, cached on disk."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..data import PairDataset
from ..data.columns import IMAGE
from ..data.digests import image_digests
from ..data.lazy_rows import LazyRows
from ..data.pair_dataset import GridPairs
from ..modules.grids import grid_cells
from ..modules.pixels import PIXELS_VERSION
from .cache import cache_folder, network_digest, stored_rows


def grid_features(
    model: nn.Module,
    processor: Any,
    images: Sequence[Any],
    path: Path,
    block_size: int = 32,
    progress: bool = False,
) -> np.ndarray:
    """Compute region features of images by a vision model.

    Args:
        model: Any transformers vision model, in eval mode.
        processor: Its image processor.
        images: The images; slicing must give a list.
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

    @torch.inference_mode()
    def make(start: int, end: int) -> np.ndarray:
        pixels = processor(images=images[start:end], return_tensors="pt")["pixel_values"]
        pixels = pixels.to(parameter).contiguous(memory_format=torch.channels_last)  # faster
        hidden = model(pixel_values=pixels).last_hidden_state
        return grid_cells(hidden).to(torch.float16).cpu().numpy()  # (n_block, n_regions, size)

    return stored_rows(path, len(images), make, block_size, "image features", progress)


def grid_pairs(
    model: Any,
    image_processor: Any,
    pairs: PairDataset,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> GridPairs:
    """Replace the pictures of pairs by grid cells of a vision model.

    Every distinct picture is read once. Other runs with the same pictures reuse the file, in any
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
    settings = f"{PIXELS_VERSION} {image_processor.to_json_string()}"
    path = cache_folder(cache_dir) / f"{network_digest(model, distinct, settings)}-grid.npy"
    images = LazyRows(lambda rows: pairs.visuals(first_rows[rows].tolist()), len(distinct))
    features = grid_features(model, image_processor, images, path, progress=progress)
    return GridPairs(pairs.dataset, features, feature_rows, digests)


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
