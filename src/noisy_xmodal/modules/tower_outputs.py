"""How the outputs of any pretrained two-tower model are read: vectors, their size, and logits.

CLIP, SigLIP, ALIGN and others have `get_image_features` and `get_text_features`, but differ in what
these return, in their temperature and in their bias.
"""

import math
from typing import Any, Literal

from torch import Tensor, nn

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
