"""Losses: pure functions that return one value per pair or sample, never reduced.

The exception is the correlation loss, which is a property of a whole batch.
"""

from .active_passive import ClassificationLoss, classification_loss
from .classification import (
    CLASSIFICATION_LOSSES,
    cross_entropy_loss,
    focal_loss,
    generalized_cross_entropy_loss,
    mean_absolute_error_loss,
    normalized_cross_entropy_loss,
    normalized_focal_loss,
    normalized_generalized_cross_entropy_loss,
    reverse_cross_entropy_loss,
    robust_clustering_loss,
    symmetric_cross_entropy_loss,
)
from .contrastive import (
    info_nce_loss,
    log_match_probabilities,
    multimodal_contrastive_loss,
    soft_info_nce_loss,
)
from .correlation import LinearCca, canonical_correlations, correlation_loss, fit_linear_cca
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
    "CLASSIFICATION_LOSSES",
    "SOFT_MARGINS",
    "ClassificationLoss",
    "LinearCca",
    "canonical_correlations",
    "classification_loss",
    "correlation_loss",
    "cross_entropy_loss",
    "exponential_soft_margin",
    "fit_linear_cca",
    "focal_loss",
    "generalized_cross_entropy_loss",
    "hardest_triplet_loss",
    "info_nce_loss",
    "legitimate_negatives",
    "linear_soft_margin",
    "log_match_probabilities",
    "mean_absolute_error_loss",
    "mean_triplet_loss",
    "multimodal_contrastive_loss",
    "normalized_cross_entropy_loss",
    "normalized_focal_loss",
    "normalized_generalized_cross_entropy_loss",
    "reverse_cross_entropy_loss",
    "robust_clustering_loss",
    "sine_soft_margin",
    "soft_info_nce_loss",
    "sum_triplet_loss",
    "symmetric_cross_entropy_loss",
]
