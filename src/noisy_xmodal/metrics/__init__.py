"""Metrics of retrieval and of noise detection, on NumPy arrays."""

from .noise_detection import detection_metrics
from .retrieval import retrieval_metrics, retrieval_ranks

__all__ = ["detection_metrics", "retrieval_metrics", "retrieval_ranks"]
