"""The training loop, which exists once."""

from .arguments import LabelTrainingArguments, RobustTrainingArguments
from .co_teaching import CoTeachingTrainer
from .curve import CurveCallback
from .label_trainer import LabelBatch, LabelTrainer
from .loss_course import LossCourseCallback
from .matching_trainer import MatchingTrainer
from .objectives import OBJECTIVES, Objective
from .pair_state import PairState
from .pair_trainer import PairBatch, PairTrainer
from .run import train_and_evaluate
from .trainer import RobustTrainer

__all__ = [
    "OBJECTIVES",
    "CoTeachingTrainer",
    "CurveCallback",
    "LabelBatch",
    "LabelTrainer",
    "LabelTrainingArguments",
    "LossCourseCallback",
    "MatchingTrainer",
    "Objective",
    "PairBatch",
    "PairState",
    "PairTrainer",
    "RobustTrainer",
    "RobustTrainingArguments",
    "train_and_evaluate",
]
