"""The training loop, which exists once."""

from .arguments import RobustTrainingArguments
from .co_teaching import CoTeachingTrainer
from .objectives import OBJECTIVES, Objective
from .pair_state import PairState
from .trainer import PairBatch, RobustTrainer

__all__ = [
    "OBJECTIVES",
    "CoTeachingTrainer",
    "Objective",
    "PairBatch",
    "PairState",
    "RobustTrainer",
    "RobustTrainingArguments",
]
