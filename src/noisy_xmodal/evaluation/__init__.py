"""Scoring with any matching model, evaluators, calibration and re-ranking."""

from .calibration import calibrate, calibrate_on, fit_match_probability
from .evaluators import AverageEvaluator, LabelRetrievalEvaluator, RetrievalEvaluator
from .features import extract_features
from .processes import shared_evaluation
from .query_cost import machine_facts, query_cost
from .reranking import RerankEvaluator, rerank, shortlist
from .retrieval_examples import plot_retrieval_examples, retrieval_examples
from .scoring import ScoringModel, pair_scores, score_matrix
from .text_outputs import store_text_outputs

__all__ = [
    "AverageEvaluator",
    "LabelRetrievalEvaluator",
    "RerankEvaluator",
    "RetrievalEvaluator",
    "ScoringModel",
    "calibrate",
    "calibrate_on",
    "extract_features",
    "fit_match_probability",
    "machine_facts",
    "pair_scores",
    "plot_retrieval_examples",
    "query_cost",
    "rerank",
    "retrieval_examples",
    "score_matrix",
    "shared_evaluation",
    "shortlist",
    "store_text_outputs",
]
