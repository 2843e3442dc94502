"""TERAN's image encoder: a transformer over the region features, before their projection.

Messina et al., "Fine-grained Visual Textual Alignment for Cross-Modal Retrieval using Transformer
Encoders", TOMM 2021, section 4. A region f with the box b = (left, top, right, bottom) becomes
MLP([f; b; area of b]). A class token, which is a region of zeros with a box of zeros, comes first;
layers as wide as the features follow.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .box_geometry import GEOMETRY_SIZES, box_geometry
from .encoded import Encoded
from .image_encoders import RegionEncoder
from .transformer_layers import TransformerLayers


class RegionTransformer(RegionEncoder):
    """Contextualise region features with their boxes, then project them into the joint space.

    Args:
        region_size: Size of a region's feature vector without its box, a multiple of 4.
        hidden_size: Size of the joint space.
        layers: Layers of the transformer; 4 in TERAN.
        geometry: What is read of the boxes, "none", "5d" or "7d"; 5d in TERAN.
        dropout: Dropout before the projection.
        normalize: Whether every token is scaled to unit length.
    """

    def __init__(
        self,
        region_size: int,
        hidden_size: int,
        layers: int,
        geometry: str = "none",
        dropout: float = 0.0,
        normalize: bool = True,
    ) -> None:
        super().__init__(region_size, hidden_size, dropout, normalize)
        self.geometry = geometry
        if geometry != "none":
            self.boxes = nn.Sequential(
                nn.Linear(region_size + GEOMETRY_SIZES[geometry], region_size),
                nn.ReLU(),
                nn.Linear(region_size, region_size),
            )
        self.transformer = TransformerLayers(region_size, layers, 4, region_size, 0.1)

    def forward(self, regions: Tensor, region_mask: Tensor | None = None) -> Encoded:
        """Encode regions with their boxes.

        Args:
            regions: (n, n_regions, region_size), and 4 more numbers where boxes are read.
            region_mask: True where real, (n, n_regions).

        Returns:
            The class token and the regions, (n, 1 + n_regions, hidden_size).

        Raises:
            ValueError: If the features have another size.
        """
        size = self.projection.in_features
        expected = size if self.geometry == "none" else size + 4
        if regions.dim() != 3 or regions.shape[-1] != expected:
            raise ValueError(
                f"`regions` must be (n_images, n_regions, {expected}) for this model, {size} "
                f"numbers{' and a box' if expected > size else ''}, found {tuple(regions.shape)}; "
                "noisy_xmodal.data.append_boxes appends boxes to the features."
            )
        if region_mask is None:
            region_mask = torch.ones(regions.shape[:2], dtype=torch.bool, device=regions.device)
        mask = functional.pad(region_mask.bool(), (1, 0), value=True)  # (n, 1 + n_regions)
        regions = functional.pad(regions.to(self.projection.weight.dtype), (0, 0, 1, 0))
        regions = regions.masked_fill(~mask.unsqueeze(-1), 0)
        if self.geometry != "none":
            geometry = box_geometry(regions[..., size:], self.geometry)
            regions = self.boxes(torch.cat([regions[..., :size], geometry], dim=-1))
        return self.project(self.transformer(regions, mask), mask)
