"""Metrics of retrieval and of noise detection, on NumPy arrays."""

from .average_precision import (
    average_precision,
    class_retrieval_metrics,
    precision_recall_curve,
)
from .noise_detection import detection_metrics
from .retrieval import metrics_of_ranks, retrieval_metrics, retrieval_ranks

__all__ = [
    "average_precision",
    "class_retrieval_metrics",
    "detection_metrics",
    "metrics_of_ranks",
    "precision_recall_curve",
    "retrieval_metrics",
    "retrieval_ranks",
]
