"""Image encoders: region features, or the grid of any transformers vision model, as tokens."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, PreTrainedConfig

from .backbones import output_size
from .encoded import Encoded


class RegionEncoder(nn.Module):
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
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(region_size, hidden_size)
        self.normalize = normalize

    def forward(self, regions: Tensor, region_mask: Tensor | None = None) -> Encoded:
        """Encode regions (n, n_regions, region_size); the mask (n, n_regions) is True where real.

        Raises:
            ValueError: If the features have another size than the model's `region_size`.
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


class VisionEncoder(nn.Module):
    """Project the grid cells or patches of a transformers vision model into the joint space.

    Args:
        config: Configuration of any vision model that `AutoModel` builds and whose
            `last_hidden_state` is a grid (n, channels, height, width) or tokens (n, length, size).
        hidden_size: Size of the joint space.
        dropout: Dropout before the projection; 0 in SCAN, SGRAF and NCR.
        normalize: Whether every token is scaled to unit length.
    """

    def __init__(
        self,
        config: PreTrainedConfig,
        hidden_size: int,
        dropout: float = 0.0,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.backbone = AutoModel.from_config(config)
        self.projection = nn.Linear(output_size(config), hidden_size)
        self.normalize = normalize

    def forward(self, pixel_values: Tensor) -> Encoded:
        """Encode pixels (n, channels, height, width)."""
        # Convolutions run 1.6 times faster in this layout (a small ResNet on one CPU core).
        pixel_values = pixel_values.to(
            self.projection.weight.dtype, memory_format=torch.channels_last
        )
        hidden = self.backbone(pixel_values=pixel_values).last_hidden_state
        if hidden.dim() == 4:
            hidden = hidden.flatten(2).transpose(1, 2)  # (n, height * width, channels)
        tokens = self.projection(self.dropout(hidden))  # (n, length, hidden)
        if self.normalize:
            tokens = functional.normalize(tokens, dim=-1)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Encoded(tokens, mask)
