"""The boxes of regions as inputs of a network."""

import torch
from torch import Tensor

#: Numbers that a network reads of a box, by the name in a config.
GEOMETRY_SIZES = {"5d": 5, "7d": 7}


def box_geometry(boxes: Tensor, kind: str) -> Tensor:
    """Corners and area of boxes, and their width and height in "7d".

    Args:
        boxes: Left, top, right and bottom as fractions of the picture, (..., 4).
        kind: A key of `GEOMETRY_SIZES`.

    Returns:
        (..., 5) or (..., 7)
    """
    sides = boxes[..., 2:] - boxes[..., :2]  # (..., 2)
    parts = [boxes, sides.prod(dim=-1, keepdim=True)]
    return torch.cat([*parts, sides] if kind == "7d" else parts, dim=-1)
