"""Losses: pure functions of scores that return one value per pair, never reduced."""

from .contrastive import info_nce_loss, soft_info_nce_loss
from .negatives import legitimate_negatives
from .ranking import (
    hardest_triplet_loss,
    mean_triplet_loss,
    sum_triplet_loss,
)
from .soft_margin import (
    SOFT_MARGINS,
    exponential_soft_margin,
    linear_soft_margin,
    sine_soft_margin,
)

__all__ = [
    "SOFT_MARGINS",
    "exponential_soft_margin",
    "hardest_triplet_loss",
    "info_nce_loss",
    "legitimate_negatives",
    "linear_soft_margin",
    "mean_triplet_loss",
    "sine_soft_margin",
    "soft_info_nce_loss",
    "sum_triplet_loss",
]
