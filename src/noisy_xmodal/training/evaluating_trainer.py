"""A trainer whose metrics are an evaluator's."""

from collections.abc import Callable
from typing import Any

from transformers import TrainerControl

from ..evaluation import shared_evaluation
from .arguments import RobustTrainingArguments
from .checkpoint import CheckpointTrainer
from .chosen_metric import check_best_metric, configure_best_metric, validation_parts


class EvaluatingTrainer(CheckpointTrainer):
    """Evaluates by an evaluator, a callable of a model and samples that gives metrics.

    Args:
        args: Arguments.
        evaluator: The evaluator. One with `greater_is_better`, which says of each metric whether
            the larger one is better, is asked for the metric that chooses the best checkpoint
            before training begins.
        eval_dataset: Samples for validation; a dict of several is evaluated one by one, and their
            names come before those of the metrics.
        kwargs: Passed on to `transformers.Trainer`.

    Raises:
        ValueError: If the evaluator has no metric as `metric_for_best_model` names it.
    """

    def __init__(
        self,
        args: RobustTrainingArguments,
        evaluator: Callable[..., dict[str, float]],
        eval_dataset: Any = None,
        **kwargs: Any,
    ) -> None:
        self.evaluator = evaluator
        configure_best_metric(evaluator, args, eval_dataset)
        if args.lr_scheduler_type in ("reduce_lr_on_plateau", "greedy"):
            # These follow the metric, and take the smaller one for the better by themselves.
            mode = "max" if args.greater_is_better else "min"
            args.lr_scheduler_kwargs = {"mode": mode, **(args.lr_scheduler_kwargs or {})}
        super().__init__(args=args, eval_dataset=eval_dataset, **kwargs)

    def as_samples(self, dataset: Any, split: str) -> Any:
        """Make samples of what a person passes as a split."""
        return dataset

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Metrics of the evaluator, logged; without an argument on the validation split.

        Args:
            eval_dataset: Samples, or several by name, whose names come before the metrics' then.
            ignore_keys: None; the evaluator knows what it reads of a model's output.
            metric_key_prefix: What the names of the metrics begin with.

        Raises:
            ValueError: If there is no dataset, or the metric that chooses the best checkpoint is
                not among those of the validation split.
        """
        if ignore_keys is not None:
            raise ValueError("`ignore_keys` has no effect here: leave it out.")
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        if dataset is None:
            raise ValueError("no dataset to evaluate on: pass `eval_dataset`.")
        model = self.accelerator.unwrap_model(self.model)
        metrics: dict[str, float] = {}
        for part, rows in validation_parts(dataset).items():
            prefix = f"{metric_key_prefix}_{part}" if part else metric_key_prefix
            samples = self.as_samples(rows, part or metric_key_prefix)
            with shared_evaluation(model):
                values = self.evaluator(model, samples)
            metrics |= {f"{prefix}_{name}": value for name, value in values.items()}
        if self.is_in_train and eval_dataset is None:
            check_best_metric(metrics, self.args)
        self.log(metrics)
        self.control: TrainerControl = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: a score belongs to a pair of an image and a text, not to a row of a dataset."""
        raise ValueError(
            "a trainer predicts nothing for rows. For metrics use `evaluate(dataset)`; for the "
            "score of every image with every text noisy_xmodal.evaluation.score_matrix(model, "
            "processor, images, texts); for classes the model's own output."
        )

    def best_epoch(self) -> float | None:
        """Epochs that the best checkpoint had seen, None where none was chosen and loaded."""
        step = self.state.best_global_step if self.args.load_best_model_at_end else None
        epochs = [row["epoch"] for row in self.state.log_history if row["step"] == step]
        return epochs[-1] if step else None
