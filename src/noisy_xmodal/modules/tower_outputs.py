"""How the outputs of any pretrained two-tower model are read: vectors, their size, and logits.

CLIP, SigLIP, ALIGN and others have `get_image_features` and `get_text_features`, but differ in what
these return, in their temperature and in their bias.
"""

import math
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from .backbones import length_limit
from .stored_outputs import StoredOutputs, token_digests

_LARGEST_LOG_SCALE = math.log(100)


class NotTwoTowersError(ValueError):
    """The model has no vector per image and per text."""


def vector_sizes(config: Any) -> tuple[int, int]:
    """Sizes of the image vectors and of the text vectors of a two-tower model.

    Args:
        config: Its configuration.

    Raises:
        NotTwoTowersError: If the configuration does not say it.
    """
    sizes: tuple[int, int] | None = getattr(config, "vector_sizes", None)
    if sizes is not None:  # a pair of encoders
        return sizes
    vision = getattr(config, "vision_config", None)
    # SigLIP projects to the width of its vision tower.
    size = getattr(config, "projection_dim", None) or getattr(vision, "hidden_size", None)
    if not isinstance(size, int):
        raise NotTwoTowersError(
            f"a model of the type {config.model_type!r} has no joint space of images and texts: "
            "give a two-tower model, such as CLIP or SigLIP."
        )
    return size, size


def tower_vectors(model: Any, side: Literal["image", "text"], **inputs: Tensor | None) -> Tensor:
    """Vectors of images or texts, (n, size).

    Args:
        model: A two-tower model.
        side: "image" or "text".
        inputs: Inputs of that tower; those that are None are left out.

    Raises:
        NotTwoTowersError: If it returns something else than one vector each.
    """
    function = f"get_{side}_features"
    output = getattr(model, function)(**{k: v for k, v in inputs.items() if v is not None})
    vectors = output if isinstance(output, Tensor) else output.pooler_output  # (n, size)
    if not isinstance(vectors, Tensor) or vectors.ndim != 2:
        shape = tuple(vectors.shape) if isinstance(vectors, Tensor) else type(vectors).__name__
        raise NotTwoTowersError(
            f"{function} of {type(model).__name__} gives {shape}, not one vector each: give a "
            "two-tower model, such as CLIP or SigLIP."
        )
    return vectors


def tower_of(model: Any, side: str) -> nn.Module:
    """The vision or text tower of a two-tower model.

    Args:
        model: A two-tower model.
        side: "vision" or "text".

    Raises:
        NotTwoTowersError: If it has no tower of that name.
    """
    tower = getattr(model, f"{side}_model", None)
    if not isinstance(tower, nn.Module):
        raise NotTwoTowersError(
            f"a {type(model).__name__} has no `{side}_model`: train it in full, or give another "
            "two-tower model, such as CLIP or SigLIP."
        )
    return tower


class PooledTower(nn.Module):
    """A frozen vision tower whose pooled output stands for a picture, in place of its pixels.

    Args:
        model: A two-tower model with a projection after its vision tower, such as CLIP.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.tower = tower_of(model, "vision")
        self.config = self.tower.config

    @property
    def backbone(self) -> nn.Module:
        """This module, as the frozen model of a vision encoder."""
        return self

    def forward(self, pixel_values: Tensor) -> BaseModelOutput:
        """The pooled output of pictures, as a single token (n, 1, size) each."""
        pooled = self.tower(pixel_values=pixel_values).pooler_output.flatten(1)  # (n, size)
        return BaseModelOutput(last_hidden_state=pooled.unsqueeze(1))


class KeptTexts:
    """The frozen text tower of a two-tower model, whose outputs are computed once.

    They are what the projection after the tower reads: a vector a text.

    Args:
        model: A two-tower model with a projection after its text tower, such as CLIP.
    """

    stored_kind = "pooled"

    def __init__(self, model: Any) -> None:
        self.model = model
        self.stored = StoredOutputs()

    @property
    def backbone(self) -> nn.Module:
        """The text tower."""
        return tower_of(self.model, "text")

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

    def vectors(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
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


def has_projection(model: Any, side: str) -> bool:
    """Whether a projection follows a tower, "vision" or "text", as in CLIP."""
    return hasattr(model, {"vision": "visual_projection", "text": "text_projection"}[side])


def freeze_tower(model: Any, side: str) -> None:
    """Put a tower into eval mode, without gradients; what follows it is trained.

    That is the projection of CLIP. SigLIP has none: there it is the head of the tower, its pooling
    layer.

    Args:
        model: A two-tower model.
        side: "vision" or "text".
    """
    tower = tower_of(model, side)
    tower.eval().requires_grad_(False)
    head = getattr(tower, "head", None)
    if isinstance(head, nn.Module) and not has_projection(model, side):
        head.train(model.training).requires_grad_(True)


def inverse_temperature(model: Any) -> Tensor:
    """The factor of similarities in the logits of a two-tower model, a scalar.

    It is at most 100, as in the training of CLIP, unless the model has a bias, as SigLIP. The limit
    does not stop the gradient.

    Args:
        model: A model with `logit_scale`, the logarithm of the factor, or `temperature`.

    Raises:
        ValueError: If the model has neither.
    """
    if hasattr(model, "temperature"):  # ALIGN divides by it
        return 1 / model.temperature.float()
    if not hasattr(model, "logit_scale"):
        raise ValueError(f"{type(model).__name__} has no learned temperature")
    log_scale: Tensor = model.logit_scale.float().squeeze()
    if not hasattr(model, "logit_bias"):
        log_scale = log_scale - (log_scale.detach() - _LARGEST_LOG_SCALE).clamp(min=0)
    return log_scale.exp()


def tower_logits(model: Any, scores: Tensor) -> Tensor:
    """Logits of similarities, of the same shape.

    Args:
        model: See `inverse_temperature`; `logit_bias` is added if it has one.
        scores: Cosine of images with texts, (n_images, n_texts).
    """
    bias = getattr(model, "logit_bias", None)
    logits = scores * inverse_temperature(model)
    return logits if bias is None else logits + bias.float()


def text_length_limit(model: Any) -> int | None:
    """Maximum number of tokens of a text; None without a limit.

    Args:
        model: A two-tower model.
    """
    tower = getattr(model, "text_model", None)
    return None if tower is None else length_limit(tower)
