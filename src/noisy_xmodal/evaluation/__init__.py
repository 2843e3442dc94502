"""Scoring with any matching model, and evaluators over it."""

from .evaluators import RetrievalEvaluator
from .scoring import ScoringModel, score_matrix

__all__ = ["RetrievalEvaluator", "ScoringModel", "score_matrix"]
