"""Region features of images: the feature grid of a frozen vision model, cached on disk."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .cache import stored_rows

#: Cells per side of the grid. The field uses 36 regions; 16 cells need less than half the disk.
GRID = 4


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
        hidden = model(pixel_values=pixels.to(parameter)).last_hidden_state
        return grid_cells(hidden).to(torch.float16).cpu().numpy()  # (n_block, n_regions, size)

    return stored_rows(path, len(images), make, block_size, "image features", progress)


def grid_cells(hidden: Tensor) -> Tensor:
    """Pool the output of a vision model to at most 4 x 4 cells.

    Args:
        hidden: A feature map (n, channels, height, width), or tokens (n, length, size) that end
            with a square grid, as in ViT, DINO and CLIP.

    Returns:
        (n, n_cells, size); one cell with the mean of the tokens if they are not a square grid.
    """
    if hidden.dim() == 3:
        length, size = hidden.shape[1:]
        side = math.isqrt(length)
        if length - side**2 > 8:  # only a few class and register tokens precede a grid
            return hidden.float().mean(dim=1, keepdim=True)
        patches = hidden[:, length - side**2 :]  # (n, side * side, size)
        hidden = patches.transpose(1, 2).reshape(-1, size, side, side)
    cells = hidden.float()
    height, width = (min(side, GRID) for side in hidden.shape[2:])
    cells = functional.adaptive_avg_pool2d(cells, (height, width))
    return cells.flatten(2).transpose(1, 2)  # (n, n_cells, size)
