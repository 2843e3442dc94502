"""Classification losses for labels that cannot be trusted, one value per sample.

Sources: Zhang & Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with
Noisy Labels", NeurIPS 2018 (GCE); Wang et al., "Symmetric Cross Entropy for Robust Learning with
Noisy Labels", ICCV 2019 (RCE, SCE); Ma et al., "Normalized Loss Functions for Deep Learning with
Noisy Labels", ICML 2020 (NCE, NFL, NGCE); Lin et al., "Focal Loss for Dense Object Detection",
ICCV 2017; Hu et al., "Learning Cross-Modal Retrieval with Noisy Labels" (MRL), CVPR 2021; Ding et
al., "Dual-Mix for Cross-Modal Retrieval with Noisy Labels" (DMCM), Eq. 2-3.

| symbol          | in the code                                               |
|-----------------|-----------------------------------------------------------|
| p(k | x)        | exp(log_p[:, k]), softmax of the logits (DMCM Eq. 2)      |
| y(k), q(k)      | q[:, k], 1 for the target class, or a soft label          |
| p_y = <q, p>    | exp(log_p_y), probability of the target class             |
| rho             | rho (q of Zhang & Sabuncu)                                |
| gamma           | gamma                                                     |
| log 0 := A      | log_zero                                                  |

All losses are computed from log-probabilities, so a probability of exactly 0 or 1 has a finite loss
and a finite gradient. Only `robust_clustering_loss` clamps.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .class_targets import class_distributions


def cross_entropy_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy, -sum_k q(k) log p(k).

    Args:
        logits: Score of each sample with each class, (n, K).
        targets: Class of each sample, (n,), or its distribution, (n, K).

    Returns:
        Loss of each sample, (n,).

    Raises:
        ValueError: If a shape or a target does not fit.
    """
    log_p, q = class_distributions(logits, targets)  # (n, K) each
    return -(q * log_p).sum(dim=1)  # (n,)


def mean_absolute_error_loss(logits: Tensor, targets: Tensor, form: str = "reduced") -> Tensor:
    """Distance of the probabilities from the target (the second term of DMCM Eq. 3).

    Args:
        logits: Score of each sample with each class, (n, K).
        targets: Class of each sample, (n,), or its distribution, (n, K).
        form: "reduced" is 1 - p_y, from 0 to 1, as in the code published with Ma et al.; "l1" is
            sum_k |p(k) - q(k)| as printed, twice that for a class and other for a soft label.

    Returns:
        Loss of each sample, (n,).

    Raises:
        ValueError: If a shape or a target does not fit or the form is unknown.
    """
    _check_choice("form", form, ("reduced", "l1"))
    log_p, q = class_distributions(logits, targets)  # (n, K) each
    if form == "l1":
        return (log_p.exp() - q).abs().sum(dim=1)  # (n,)
    return -torch.expm1(_log_mean(log_p, q))  # (n,)


def generalized_cross_entropy_loss(logits: Tensor, targets: Tensor, rho: float = 0.7) -> Tensor:
    """(1 - p_y^rho) / rho: the cross-entropy as rho falls to 0, the mean absolute error at 1.

    Args:
        logits: Score of each sample with each class, (n, K).
        targets: Class of each sample, (n,), or its distribution, (n, K).
        rho: Exponent, above 0 and at most 1; the higher, the more robust and the slower to learn.

    Returns:
        Loss of each sample, (n,).

    Raises:
        ValueError: If a shape or a target does not fit or rho is out of range.
    """
    _check_rho(rho)
    log_p, q = class_distributions(logits, targets)  # (n, K) each
    return -torch.expm1(rho * _log_mean(log_p, q)) / rho  # (n,)


def normalized_cross_entropy_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy over the sum of the cross-entropies of all classes, 0 to 1.

    Args:
        logits: Score of each sample with each class, (n, K).
        targets: Class of each sample, (n,), or its distribution, (n, K).

    Returns:
        Loss of each sample, (n,).

    Raises:
        ValueError: If a shape or a target does not fit.
    """
    log_p, q = class_distributions(logits, targets)  # (n, K) each
    return (q * log_p).sum(dim=1) / log_p.sum(dim=1)  # (n,)


def normalized_generalized_cross_entropy_loss(
    logits: Tensor, targets: Tensor, rho: float = 0.7, form: str = "reduced"
) -> Tensor:
    """Generalized cross-entropy over its sum for all classes (the first term of DMCM Eq. 3).

    Eq. 3 is implemented as one ratio per sample, (1 - p_y^rho) / (K - sum_k p(k)^rho). The paper
    prints a ratio of sums over the samples, which gives no loss per sample for the mixture, with a
    trailing rho and a 1/N that fit neither form. The two minus signs cancel and so do the two
    1/rho: the loss lies between 0 and 1.

    Args:
        logits: Score of each sample with each class, (n, K).
        targets: Class of each sample, (n,), or its distribution, (n, K).
        rho: Exponent, above 0 and at most 1.
        form: For soft labels: "reduced" takes p_y = <q, p> to the power, "expected" takes the mean
            sum_k q(k) (1 - p(k)^rho) as printed. Both are the same for classes.

    Returns:
        Loss of each sample, (n,).

    Raises:
        ValueError: If a shape or a target does not fit, rho is out of range or the form is unknown.
    """
    _check_rho(rho)
    _check_choice("form", form, ("reduced", "expected"))
    log_p, q = class_distributions(logits, targets)  # (n, K) each
    class_losses = -torch.expm1(rho * log_p)  # (n, K)
    if form == "expected":
        target_loss = (q * class_losses).sum(dim=1)  # (n,)
    else:
        target_loss = -torch.expm1(rho * _log_mean(log_p, q))  # (n,)
    return target_loss / class_losses.sum(dim=1)  # (n,)


def focal_loss(logits: Tensor, targets: Tensor, gamma: float = 2.0) -> Tensor:
    """Cross-entropy that down-weights confident samples, -sum_k q(k) (1 - p(k))^gamma log p(k).

    Args:
        logits: Score of each sample with each class, (n, K).
        targets: Class of each sample, (n,), or its distribution, (n, K).
        gamma: Strength of the down-weighting, 0 (cross-entropy) or more; Lin et al. find 2 best.

    Returns:
        Loss of each sample, (n,).

    Raises:
        ValueError: If a shape or a target does not fit or gamma is negative.
    """
    log_p, q = class_distributions(logits, targets)  # (n, K) each
    return (q * _class_focal_losses(log_p, gamma)).sum(dim=1)  # (n,)


def normalized_focal_loss(logits: Tensor, targets: Tensor, gamma: float = 0.5) -> Tensor:
    """Focal loss over the sum of the focal losses of all classes, 0 to 1.

    Args:
        logits: Score of each sample with each class, (n, K).
        targets: Class of each sample, (n,), or its distribution, (n, K).
        gamma: As in `focal_loss`; Ma et al. take 0.5.

    Returns:
        Loss of each sample, (n,).

    Raises:
        ValueError: If a shape or a target does not fit or gamma is negative.
    """
    log_p, q = class_distributions(logits, targets)  # (n, K) each
    class_losses = _class_focal_losses(log_p, gamma)  # (n, K)
    return (q * class_losses).sum(dim=1) / class_losses.sum(dim=1)  # (n,)


def reverse_cross_entropy_loss(logits: Tensor, targets: Tensor, log_zero: float = -4.0) -> Tensor:
    """Cross-entropy with the two distributions exchanged, -sum_k p(k) log q(k).

    For a class it is -A (1 - p_y). In a soft label log q(k) is at least A, so that a tiny
    probability does not cost more than zero.

    Args:
        logits: Score of each sample with each class, (n, K).
        targets: Class of each sample, (n,), or its distribution, (n, K).
        log_zero: A, the value used for the logarithm of 0, negative.

    Returns:
        Loss of each sample, (n,).

    Raises:
        ValueError: If a shape or a target does not fit or log_zero is not negative.
    """
    if log_zero >= 0:
        raise ValueError(f"log_zero is {log_zero}: give a negative number, such as -4")
    log_p, q = class_distributions(logits, targets)  # (n, K) each
    log_q = q.log().clamp(min=log_zero)  # (n, K)
    return -(log_p.exp() * log_q).sum(dim=1)  # (n,)


def symmetric_cross_entropy_loss(
    logits: Tensor,
    targets: Tensor,
    ce_weight: float = 0.1,
    rce_weight: float = 1.0,
    log_zero: float = -4.0,
) -> Tensor:
    """Cross-entropy in both directions, weighted.

    Args:
        logits: Score of each sample with each class, (n, K).
        targets: Class of each sample, (n,), or its distribution, (n, K).
        ce_weight: alpha, weight of the cross-entropy.
        rce_weight: beta, weight of the reverse cross-entropy.
        log_zero: A, as in `reverse_cross_entropy_loss`.

    Returns:
        Loss of each sample, (n,).

    Raises:
        ValueError: If a shape or a target does not fit or log_zero is not negative.
    """
    reverse = reverse_cross_entropy_loss(logits, targets, log_zero)  # (n,)
    return ce_weight * cross_entropy_loss(logits, targets) + rce_weight * reverse  # (n,)


def robust_clustering_loss(logits: Tensor, targets: Tensor, eps: float = 1e-7) -> Tensor:
    """log(1 - p_y) of MRL: confident samples weigh more, doubtful ones less.

    The values are negative by definition: 0 at p_y = 0 and log(eps) from p_y = 1 - eps on, where
    the gradient is 0.

    Args:
        logits: Score of each sample with each class, (n, K).
        targets: Class of each sample, (n,), or its distribution, (n, K).
        eps: Minimum of 1 - p_y, above 0 and below 1.

    Returns:
        Loss of each sample, (n,).

    Raises:
        ValueError: If a shape or a target does not fit or eps is out of range.
    """
    if not 0 < eps < 1:
        raise ValueError(f"eps is {eps}: give a small number above 0, such as 1e-7")
    log_p, q = class_distributions(logits, targets)  # (n, K) each
    log_rest = _log_mean(log_p, (1 - q).clamp(min=0))  # (n,), log(1 - p_y) without cancellation
    return log_rest.clamp(min=math.log(eps))


def _log_mean(log_p: Tensor, weights: Tensor) -> Tensor:
    """log sum_k weights(k) p(k), (n,), finite where any class has weight."""
    return (log_p + weights.log()).logsumexp(dim=1)


def _class_focal_losses(log_p: Tensor, gamma: float) -> Tensor:
    """Focal loss of each class, (n, K); the clamp keeps the gradient finite at p = 1."""
    if gamma < 0:
        raise ValueError(f"gamma is {gamma}: give 0 or more")
    others = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)  # (n, K), 1 - p
    return -log_p * others**gamma


def _check_rho(rho: float) -> None:
    if not 0 < rho <= 1:
        raise ValueError(f"rho is {rho}: give a number above 0 and at most 1")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}: choose from {', '.join(map(repr, choices))}")


CLASSIFICATION_LOSSES: dict[str, Callable[..., Tensor]] = {
    "ce": cross_entropy_loss,
    "mae": mean_absolute_error_loss,
    "gce": generalized_cross_entropy_loss,
    "nce": normalized_cross_entropy_loss,
    "ngce": normalized_generalized_cross_entropy_loss,
    "focal": focal_loss,
    "nfocal": normalized_focal_loss,
    "rce": reverse_cross_entropy_loss,
    "sce": symmetric_cross_entropy_loss,
    "robust_clustering": robust_clustering_loss,
}
