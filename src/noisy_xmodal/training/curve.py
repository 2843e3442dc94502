"""Metrics over the epochs, as a JSON file and a figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerControl, TrainerState

from ..files import read_json, write_json
from .arguments import RobustTrainingArguments
from .callbacks import RobustCallback
from .plots import plot_curve

CURVE_NAME = "curve.json"
_DRAWN = ("i2t_map", "t2i_map")


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
        path = Path(args.output_dir) / CURVE_NAME
        rows = read_json(path) if path.is_file() else []
        write_json(path, [old for old in rows if old["epoch"] < row["epoch"] - 1e-6] + [row])

    def on_train_end(
        self, args: RobustTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Draw the curves."""
        path = Path(args.output_dir) / CURVE_NAME
        if args.should_save and path.is_file():
            plot_curve(path.with_suffix(".png"), read_json(path), _DRAWN, args.warmup_epochs)


def best_on_test(output_dir: str | Path) -> dict[str, Any] | None:
    """The epoch with the best mean mAP on test, an oracle selection, and its metrics.

    Args:
        output_dir: Folder of the run.

    Returns:
        `epoch` and the metrics on `test`; None if test was not recorded.
    """
    path = Path(output_dir) / CURVE_NAME
    rows = [row for row in read_json(path) if "test" in row] if path.is_file() else []
    if not rows:
        return None
    best = max(rows, key=lambda row: row["test"]["map"])
    return {"epoch": best["epoch"], "test": best["test"]}
