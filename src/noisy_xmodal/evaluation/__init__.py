"""Scoring with any matching model, and evaluators over it."""

from .evaluators import LabelRetrievalEvaluator, RetrievalEvaluator
from .features import extract_features
from .reranking import RerankEvaluator, Shortlist, rerank, shortlist
from .retrieved import plot_retrieved, retrieved_examples
from .scoring import ScoringModel, score_matrix

__all__ = [
    "LabelRetrievalEvaluator",
    "RerankEvaluator",
    "RetrievalEvaluator",
    "ScoringModel",
    "Shortlist",
    "extract_features",
    "plot_retrieved",
    "rerank",
    "retrieved_examples",
    "score_matrix",
    "shortlist",
]
