"""Metrics over the epochs, as a JSON file and a figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import TrainerControl, TrainerState

from ..data.columns import IS_NOISY
from ..data.pair_dataset import drop_noisy_pairs
from ..files import read_json
from .arguments import RobustTrainingArguments
from .callbacks import RobustCallback
from .plots import plot_curve
from .reports import write_rows

CURVE_NAME = "curve.json"
RIGHT_VALIDATION = "right_validation"  # the split without its wrong pairs, by the oracle
_DRAWN = ("i2t_map", "t2i_map", "rsum")


class CurveCallback(RobustCallback):
    """Records the metrics of every evaluation, and those of further splits at the same time.

    The further splits do not select a model. They show the result that selection on them would have
    given ("oracle"), and the quality of the model at the last epoch.

    Args:
        trainer: The trainer that it is added to.
        watched: Further splits by name, such as the test split.
    """

    def __init__(self, trainer: Any, watched: Mapping[str, Any] | None = None) -> None:
        super().__init__(trainer)
        self.watched = {
            split: trainer.as_samples(rows, split) for split, rows in (watched or {}).items()
        }

    def on_evaluate(
        self,
        args: RobustTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Add a row; rows written after the checkpoint that a run resumed from are replaced."""
        eval_metrics = {
            name.removeprefix("eval_"): value
            for name, value in (metrics or {}).items()
            if name.startswith("eval_")
        }
        if not (args.should_save and eval_metrics and self.trainer.is_in_train):
            return
        row: dict[str, Any] = {"epoch": state.epoch or 0.0, "validation": eval_metrics}
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        for split, samples in self.watched.items():
            row[split] = self.trainer.evaluator(model, samples)
        write_rows(Path(args.output_dir) / CURVE_NAME, row["epoch"] - 1e-6, [row])

    def on_train_end(
        self, args: RobustTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Draw the curves."""
        path = Path(args.output_dir) / CURVE_NAME
        if args.should_save and path.is_file():
            plot_curve(path.with_suffix(".png"), read_json(path), _DRAWN, args.warmup_epochs)


def record_course(trainer: Any, splits: Mapping[str, Dataset]) -> None:
    """Record the metrics of each epoch, so that choices of an epoch on clean pairs can be compared.

    Beside the validation split these are "test", if there is one, and the validation pairs that are
    right by the oracle, if there is an oracle.

    Args:
        trainer: A trainer of pairs with captions.
        splits: Its splits, with "validation".

    Raises:
        ValueError: If nothing is evaluated during training.
    """
    if trainer.args.eval_strategy == "no":
        raise ValueError(
            "--record_course has nothing to record with --eval_strategy no. Leave out one of them."
        )
    watched = {name: rows for name, rows in splits.items() if name == "test"}
    if IS_NOISY in splits["validation"].column_names:
        watched[RIGHT_VALIDATION] = drop_noisy_pairs(splits["validation"])
    trainer.add_callback(CurveCallback(trainer, watched))


def best_by_oracle(output_dir: str | Path, split: str, metric: str) -> dict[str, Any] | None:
    """The epoch that an oracle would choose, and its metrics.

    Args:
        output_dir: Folder of the run.
        split: The recorded split that the oracle knows, such as `test` or `right_validation`.
        metric: What it chooses by; the largest value is the best.

    Returns:
        `epoch` and the metrics on `test`; None if either split was not recorded.
    """
    path = Path(output_dir) / CURVE_NAME
    rows = [row for row in read_json(path) if {split, "test"} <= {*row}] if path.is_file() else []
    if not rows:
        return None
    best = max(rows, key=lambda row: row[split][metric])
    return {"epoch": best["epoch"], "test": best["test"]}
