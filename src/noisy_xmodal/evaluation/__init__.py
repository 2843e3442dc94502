"""Scoring with any matching model, and evaluators over it."""

from .evaluators import LabelRetrievalEvaluator, RetrievalEvaluator
from .features import extract_features
from .scoring import ScoringModel, score_matrix

__all__ = [
    "LabelRetrievalEvaluator",
    "RetrievalEvaluator",
    "ScoringModel",
    "extract_features",
    "score_matrix",
]
