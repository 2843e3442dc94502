"""Pictures as region features: the grid of a frozen vision model, made once and kept on disk."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .stored_rows import check_finite, stored_rows

#: Cells of the grid a side; the field's regions are 36, and 16 are a quarter of its disk.
GRID = 4


def picture_grids(
    model: nn.Module,
    processor: Any,
    images: Sequence[Any],
    path: Path,
    block_size: int = 32,
    progress: bool = False,
) -> np.ndarray:
    """Region features of pictures by a vision model.

    Args:
        model: Any vision model of transformers, in eval mode.
        processor: Its image processor.
        images: Pictures; anything that gives a list for a slice.
        path: `.npy` file, named after the model and the pictures: what is there is not made again.
        block_size: Pictures that are read at once.
        progress: Whether to show a progress bar.

    Returns:
        (n_images, n_regions, size), float16, mapped from the file: 4 x 4 regions, or one where
        the model's tokens are no grid.

    Raises:
        ValueError: If there are no pictures, or a feature is not finite.
    """
    parameter = next(model.parameters())

    @torch.inference_mode()
    def make(start: int, end: int) -> np.ndarray:
        pixels = processor(images=images[start:end], return_tensors="pt")["pixel_values"]
        hidden = model(pixel_values=pixels.to(parameter)).last_hidden_state
        cells = grid_cells(hidden).to(torch.float16).cpu().numpy()  # (n_block, n_regions, size)
        check_finite(cells, start, "picture")
        return cells

    return stored_rows(path, len(images), make, block_size, "looking at pictures", progress)


def grid_cells(hidden: Tensor) -> Tensor:
    """What a vision model gives, as at most 4 x 4 cells.

    Args:
        hidden: A map (n, channels, height, width), or tokens (n, length, size) of which the last
            are a square grid, as those of ViT, DINO and CLIP.

    Returns:
        (n, n_cells, size); the mean of the tokens alone where they are no square.
    """
    if hidden.dim() == 3:
        length, size = hidden.shape[1:]
        side = math.isqrt(length)
        if length - side**2 > 8:  # class and register tokens come first, and are few
            return hidden.float().mean(dim=1, keepdim=True)
        patches = hidden[:, length - side**2 :]  # (n, side * side, size)
        hidden = patches.transpose(1, 2).reshape(-1, size, side, side)
    cells = hidden.float()
    height, width = (min(side, GRID) for side in hidden.shape[2:])
    cells = functional.adaptive_avg_pool2d(cells, (height, width))
    return cells.flatten(2).transpose(1, 2)  # (n, n_cells, size)
