"""The training loop, which exists once."""

from .arguments import LabelTrainingArguments, RcarTrainingArguments, RobustTrainingArguments
from .callbacks import RobustCallback
from .curve import CurveCallback
from .label_task import LabelBatch, LabelTask
from .loss_course import LossCourseCallback
from .method import Constant, Method
from .pair_state import PairState
from .pair_task import PairBatch, PairTask
from .run import train_and_evaluate
from .trainer import RobustTrainer

__all__ = [
    "Constant",
    "CurveCallback",
    "LabelBatch",
    "LabelTask",
    "LabelTrainingArguments",
    "LossCourseCallback",
    "Method",
    "PairBatch",
    "PairState",
    "PairTask",
    "RcarTrainingArguments",
    "RobustCallback",
    "RobustTrainer",
    "RobustTrainingArguments",
    "train_and_evaluate",
]
