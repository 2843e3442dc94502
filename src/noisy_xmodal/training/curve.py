"""The course of the metrics over the epochs, as a JSON file and a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerControl, TrainerState

from .arguments import RobustTrainingArguments
from .callbacks import RobustCallback
from .files import read_json, write_json
from .plots import plot_curve

if TYPE_CHECKING:
    from .trainer import RobustTrainer

CURVE_NAME = "curve.json"


class CurveCallback(RobustCallback):
    """Keeps the metrics of every evaluation, and those of further splits at the same moments.

    Nothing is ever chosen by the further splits: they show what a choice on them would have given
    ("oracle"), and whether a model is still good at the last epoch.

    Args:
        trainer: The trainer that it is added to.
        watched: Further splits by name, such as the test split.
        metrics: Metrics to draw.
    """

    def __init__(
        self,
        trainer: "RobustTrainer",
        watched: Mapping[str, Any] | None = None,
        metrics: tuple[str, ...] = ("i2t_map", "t2i_map"),
    ) -> None:
        super().__init__(trainer)
        self.metrics = metrics
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
        """Add a row; rows that a resumed run had written beyond its checkpoint are replaced."""
        found = {
            name.removeprefix("eval_"): value
            for name, value in (metrics or {}).items()
            if name.startswith("eval_")
        }
        if not (args.should_save and found and self.trainer.is_in_train):
            return
        row: dict[str, Any] = {"epoch": state.epoch or 0.0, "validation": found}
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        for split, samples in self.watched.items():
            row[split] = self.trainer.evaluator(model, samples)
        path = Path(args.output_dir) / CURVE_NAME
        known = read_json(path) if path.is_file() else []
        write_json(path, [old for old in known if old["epoch"] < row["epoch"] - 1e-6] + [row])

    def on_train_end(
        self, args: RobustTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Draw the curves."""
        path = Path(args.output_dir) / CURVE_NAME
        if args.should_save and path.is_file():
            plot_curve(path.with_suffix(".png"), read_json(path), self.metrics, args.warmup_epochs)
