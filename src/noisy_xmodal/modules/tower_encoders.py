"""The towers of a pretrained two-tower model as the encoders of its images and texts.

They hold no weights: these are the model's. The vector of an image or text is its only token.
"""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from .backbones import length_limit
from .encoded import Encoded
from .stored_outputs import StoredOutputs, token_digests
from .tower_outputs import freeze_tower, has_projection, tower_of, tower_vectors


class TowerEncoder:
    """One tower of a two-tower model.

    Args:
        model: The two-tower model, such as CLIP.
        training: What is trained of the tower: "full", "lora" or "frozen".
    """

    side: ClassVar[str]

    def __init__(self, model: Any, training: str) -> None:
        self.model = model
        self.training = training

    @property
    def tower(self) -> nn.Module:
        """The tower, without a projection after it."""
        return tower_of(self.model, self.side)

    @property
    def is_frozen(self) -> bool:
        """Whether the outputs of the tower never change, because what is trained follows it."""
        return self.training == "frozen" and has_projection(self.model, self.side)

    def freeze(self) -> None:
        """Put a frozen tower into eval mode, without gradients; see `freeze_tower`."""
        if self.training == "frozen":
            freeze_tower(self.model, self.side)

    def share_backbone(self, other: Any) -> None:
        """Use the frozen tower of another model of this shape."""
        setattr(self.model, f"{self.side}_model", other.tower)


class ImageTower(TowerEncoder):
    """The vision tower: images as vectors in the joint space."""

    side = "vision"

    @property
    def backbone(self) -> nn.Module:
        """What makes the outputs of pictures that are computed once."""
        return _PooledTower(self.tower)

    def __call__(
        self,
        pixel_values: Tensor | None = None,
        regions: Tensor | None = None,
        pixel_attention_mask: Tensor | None = None,
        spatial_shapes: Tensor | None = None,
    ) -> Encoded:
        """Encode images.

        Args:
            pixel_values: As the model reads them.
            regions: Outputs of a frozen tower in place of the pixels, (n_images, 1, size).
            pixel_attention_mask: For SigLIP 2, (n_images, n_patches).
            spatial_shapes: For SigLIP 2, (n_images, 2).

        Raises:
            ValueError: If there are no pixels, and no outputs of a frozen tower.
        """
        if regions is not None and self.is_frozen:
            projection = self.model.visual_projection
            return _single_tokens(projection(regions[:, 0].to(next(projection.parameters()))))
        if pixel_values is None:
            raise ValueError("this model reads pixels: pass `pixel_values`.")
        masks = {"pixel_attention_mask": pixel_attention_mask, "spatial_shapes": spatial_shapes}
        return _single_tokens(
            tower_vectors(self.model, "image", pixel_values=pixel_values, **masks)
        )


class TextTower(TowerEncoder):
    """The text tower: texts as vectors in the joint space.

    What the projection after a frozen tower reads, a vector a text, is computed once.
    """

    side = "text"
    stored_kind = "pooled"

    def __init__(self, model: Any, training: str) -> None:
        super().__init__(model, training)
        self.stored = StoredOutputs()

    @property
    def backbone(self) -> nn.Module:
        """The text tower."""
        return self.tower

    @property
    def length_limit(self) -> int | None:
        """Maximum number of tokens of a text; None without a limit."""
        tower = getattr(self.model, "text_model", None)
        return None if tower is None else length_limit(tower)

    def share_backbone(self, other: Any) -> None:
        """Use the frozen tower of another model of this shape, and what is stored of it."""
        super().share_backbone(other)
        self.stored = other.stored

    def __call__(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Encoded:
        """Encode token ids (n_texts, length); the mask is 1 for real tokens."""
        if self.is_frozen and attention_mask is not None:
            return _single_tokens(self._project_stored(input_ids, attention_mask))
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        return _single_tokens(tower_vectors(self.model, "text", **inputs))

    @torch.no_grad()
    def output_rows(self, input_ids: Tensor, attention_mask: Tensor | None) -> list[np.ndarray]:
        """Compute the outputs of texts as they are stored, (1, size) float16 each."""
        read: list[Tensor] = []
        projection = self.model.text_projection
        handle = projection.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
        try:
            tower_vectors(self.model, "text", input_ids=input_ids, attention_mask=attention_mask)
        finally:
            handle.remove()
        return list(read[0].half().cpu().unsqueeze(1).numpy())

    def _project_stored(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Vectors of texts, (n_texts, size), from the store as far as they are in it."""
        rows = self.stored.read(token_digests(input_ids, attention_mask))
        lacking = [index for index, row in enumerate(rows) if row is None]
        if lacking:
            computed = self.output_rows(input_ids[lacking], attention_mask[lacking])
            for index, row in zip(lacking, computed, strict=True):
                rows[index] = row
        weight = next(self.model.text_projection.parameters())
        pooled = np.concatenate([row for row in rows if row is not None])  # (n_texts, size)
        vectors: Tensor = self.model.text_projection(torch.from_numpy(pooled).to(weight))
        return vectors


class _PooledTower(nn.Module):
    """A vision tower whose pooled output stands for a picture, in place of its pixels."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower
        self.config = tower.config

    def forward(self, pixel_values: Tensor) -> BaseModelOutput:
        """The pooled output of pictures, as a single token (n, 1, size) each."""
        pooled = self.tower(pixel_values=pixel_values).pooler_output.flatten(1)  # (n, size)
        return BaseModelOutput(last_hidden_state=pooled.unsqueeze(1))


def _single_tokens(vectors: Tensor) -> Encoded:
    """Vectors (n, size) as one token (n, 1, size) each."""
    mask = torch.ones(len(vectors), 1, dtype=torch.bool, device=vectors.device)
    return Encoded(vectors.unsqueeze(1), mask)
