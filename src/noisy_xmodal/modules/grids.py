"""Grid cells: what a vision model makes of an image, pooled to few vectors."""

import math

import numpy as np
from torch import Tensor
from torch.nn import functional

#: Cells per side of the grid. The field uses 36 regions; 16 cells need less than half the disk.
GRID = 4


class GridCells(np.ndarray):
    """The grid cells of an image, (n_cells, size), which stand for the image itself.

    A processor of pictures passes them on to a model whose vision model is frozen.
    """


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
