"""Checks of the metric that selects the best checkpoint, and its direction."""

from collections.abc import Mapping
from typing import Any

from .arguments import RobustTrainingArguments


def configure_best_metric(evaluator: Any, args: RobustTrainingArguments, eval_dataset: Any) -> None:
    """Check `metric_for_best_model` before training, and set `greater_is_better`.

    Args:
        evaluator: The evaluator. `evaluator.greater_is_better` maps each metric that can select a
            checkpoint to whether a larger value is better; an evaluator without it is only checked
            when its metrics are first used.
        args: The arguments.
        eval_dataset: The validation dataset; the names of a dict of several prefix the metrics.

    Raises:
        ValueError: If the evaluator does not have the metric, or `greater_is_better` contradicts
            the evaluator.
    """
    directions: Mapping[str, bool] | None = getattr(evaluator, "greater_is_better", None)
    if directions is None or args.metric_for_best_model is None or args.eval_strategy == "no":
        return
    if isinstance(eval_dataset, dict):
        directions = {
            f"{part}_{name}": is_greater
            for part in eval_dataset
            for name, is_greater in directions.items()
        }
    name = args.metric_for_best_model.removeprefix("eval_")
    if name not in directions:
        raise ValueError(_unknown(args, directions))
    if args.way_is_given and args.greater_is_better != directions[name]:
        better = "larger" if directions[name] else "smaller"
        raise ValueError(
            f"`greater_is_better` is {args.greater_is_better}, but a {better} {name!r} is better: "
            "leave it out."
        )
    args.greater_is_better = directions[name]


def validation_parts(dataset: Any) -> dict[str, Any]:
    """The parts of a validation dataset by name; a single dataset has the empty name."""
    return dataset if isinstance(dataset, dict) else {"": dataset}


def check_best_metric(metrics: Mapping[str, float], args: RobustTrainingArguments) -> None:
    """Check that an evaluation returned the metric that selects the best checkpoint.

    Args:
        metrics: Metrics of the evaluation; their names begin with "eval_".
        args: The arguments.

    Raises:
        ValueError: If it did not.
    """
    name = args.metric_for_best_model
    if name is None or args.eval_strategy == "no":
        return
    if f"eval_{name.removeprefix('eval_')}" not in metrics:
        raise ValueError(_unknown(args, [key.removeprefix("eval_") for key in metrics]))


def _unknown(args: RobustTrainingArguments, names: Any) -> str:
    return (
        f"`metric_for_best_model` is {args.metric_for_best_model!r}, which the evaluator does not "
        f"have. Give one of: {', '.join(names)}."
    )
