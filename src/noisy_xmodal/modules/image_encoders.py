"""Image encoders: region features, or the grid of any transformers vision model, as tokens."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, PreTrainedConfig

from .backbones import output_size
from .dropout import Dropout
from .encoded import Encoded
from .grids import grid_cells


class _ImageEncoder(nn.Module):
    """Projects vectors of image parts into the joint space."""

    dropout: Dropout
    projection: nn.Linear
    normalize: bool

    def project(self, regions: Tensor, region_mask: Tensor | None = None) -> Encoded:
        """Encode vectors (n, n_regions, region_size); the mask (n, n_regions) is True where real.

        Raises:
            ValueError: If they have another size.
        """
        expected = self.projection.in_features
        if regions.dim() != 3 or regions.shape[-1] != expected:
            raise ValueError(
                f"`regions` must be (n_images, n_regions, {expected}) for this model, found "
                f"{tuple(regions.shape)}; set `region_size` in the config to your feature size."
            )
        regions = self.dropout(regions.to(self.projection.weight.dtype))
        tokens = self.projection(regions)  # (n, length, hidden)
        if self.normalize:
            tokens = functional.normalize(tokens, dim=-1)
        if region_mask is None:
            region_mask = torch.ones(regions.shape[:2], dtype=torch.bool, device=regions.device)
        return Encoded(tokens, region_mask.bool())


class RegionEncoder(_ImageEncoder):
    """Project region features into the joint space, region by region.

    Source: SCAN (Lee et al., ECCV 2018), section 3.3; used unchanged by SGRAF and NCR.

    Args:
        region_size: Size of a region's feature vector, 2048 for bottom-up attention.
        hidden_size: Size of the joint space.
        dropout: Dropout before the projection; 0 in SCAN, SGRAF and NCR.
        normalize: Whether every token is scaled to unit length.
    """

    def __init__(
        self, region_size: int, hidden_size: int, dropout: float = 0.0, normalize: bool = True
    ) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.projection = nn.Linear(region_size, hidden_size)
        self.normalize = normalize

    def forward(self, regions: Tensor, region_mask: Tensor | None = None) -> Encoded:
        """Encode regions (n, n_regions, region_size); the mask (n, n_regions) is True where real.

        Raises:
            ValueError: If the features have another size than the model's `region_size`.
        """
        return self.project(regions, region_mask)


class VisionEncoder(_ImageEncoder):
    """Project the grid cells or patches of a transformers vision model into the joint space.

    A frozen model has no gradients and stays in eval mode. Its output is pooled to at most 4 x 4
    cells, which may also be passed in place of the pixels.

    Args:
        config: Configuration of any vision model that `AutoModel` builds and whose
            `last_hidden_state` is a grid (n, channels, height, width) or tokens (n, length, size).
        hidden_size: Size of the joint space.
        dropout: Dropout before the projection; 0 in SCAN, SGRAF and NCR.
        normalize: Whether every token is scaled to unit length.
        is_frozen: Whether the vision model is frozen.
    """

    def __init__(
        self,
        config: PreTrainedConfig,
        hidden_size: int,
        dropout: float = 0.0,
        normalize: bool = True,
        is_frozen: bool = False,
    ) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.backbone = AutoModel.from_config(config)
        self.projection = nn.Linear(output_size(config), hidden_size)
        self.normalize = normalize
        self.is_frozen = is_frozen
        self.train(self.training)

    def train(self, mode: bool = True) -> "VisionEncoder":
        """Switch the mode; a frozen vision model stays in eval mode and has no gradients."""
        super().train(mode)
        if self.is_frozen:
            self.backbone.eval().requires_grad_(False)
        return self

    def share_backbone(self, other: "VisionEncoder") -> None:
        """Use the frozen vision model of another encoder."""
        self.backbone = other.backbone

    def forward(
        self,
        pixel_values: Tensor | None = None,
        regions: Tensor | None = None,
        region_mask: Tensor | None = None,
    ) -> Encoded:
        """Encode images.

        Args:
            pixel_values: (n_images, channels, height, width).
            regions: Cells of the frozen vision model in place of the pixels, (n_images, n_cells,
                size).
            region_mask: True where a cell is real, (n_images, n_cells).

        Raises:
            ValueError: If there are no pixels, and no cells of a frozen vision model.
        """
        if regions is not None and self.is_frozen:
            return self.project(regions, region_mask)
        if pixel_values is None:
            raise ValueError("this model reads pixels: pass `pixel_values`.")
        return self.project(self.outputs(pixel_values))

    def outputs(self, pixel_values: Tensor) -> Tensor:
        """What the encoder reads of its vision model, (n_images, length, size)."""
        # Convolutions run 1.6 times faster in this layout (a small ResNet on one CPU core).
        pixel_values = pixel_values.to(
            self.projection.weight.dtype, memory_format=torch.channels_last
        )
        hidden: Tensor = self.backbone(pixel_values=pixel_values).last_hidden_state
        if self.is_frozen:
            return grid_cells(hidden)
        return hidden.flatten(2).transpose(1, 2) if hidden.dim() == 4 else hidden
