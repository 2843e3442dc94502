"""Class probabilities and target distributions, the common input of the classification losses."""

import torch
from torch import Tensor


def class_distributions(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Check logits and targets, and turn both into distributions over the classes.

    Args:
        logits: Score of each sample with each class, (n, K).
        targets: Class of each sample, (n,), integers, or its distribution, (n, K).

    Returns:
        Log-probability of each class, (n, K), in float32 or better, and the target distribution,
        (n, K), of the same type and without gradient.

    Raises:
        ValueError: If a shape does not fit, there are fewer than two classes, or a target is
            neither a class nor a distribution.
    """
    if logits.ndim != 2 or logits.shape[1] < 2 or not logits.is_floating_point():
        raise ValueError(
            f"logits has shape {tuple(logits.shape)} and type {logits.dtype}: give one floating "
            "row per sample and one column per class, (n, K), with at least 2 classes"
        )
    dtype = torch.promote_types(logits.dtype, torch.float32)
    log_p = logits.log_softmax(dim=1, dtype=dtype)  # (n, K)
    if targets.shape == logits.shape:
        return log_p, _checked_distribution(targets.detach().to(dtype))
    if targets.shape != logits.shape[:1]:
        raise ValueError(
            f"targets has shape {tuple(targets.shape)}: give one class per sample, "
            f"({len(logits)},), or one distribution, {tuple(logits.shape)}"
        )
    classes = _checked_classes(targets, n_classes=logits.shape[1])  # (n,)
    one_hot = torch.zeros_like(log_p)  # (n, K)
    return log_p, one_hot.scatter_(1, classes[:, None], 1.0)


def _checked_classes(targets: Tensor, n_classes: int) -> Tensor:
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise ValueError(f"targets has type {targets.dtype}: give class numbers as integers")
    outside = (targets < 0) | (targets >= n_classes)  # (n,)
    if outside.any():
        first = int(outside.int().argmax())
        raise ValueError(
            f"targets has class {int(targets[first])} at sample {first}: give numbers from 0 to "
            f"{n_classes - 1}, one per column of the logits, and leave out unlabelled samples"
        )
    return targets.long()


def _checked_distribution(targets: Tensor) -> Tensor:
    is_one = (targets.sum(dim=1) - 1).abs() < 1e-2  # (n,), tolerates half precision
    wrong = ~(is_one & (targets >= 0).all(dim=1))  # (n,), True for NaN
    if wrong.any():
        first = int(wrong.int().argmax())
        raise ValueError(
            f"targets at sample {first} sum to {targets[first].sum().item():.4g} with a lowest "
            f"entry of {targets[first].min().item():.4g}: give probabilities that sum to 1"
        )
    return targets
