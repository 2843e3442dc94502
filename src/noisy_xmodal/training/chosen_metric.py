"""The metric that chooses the best checkpoint: whether there is one, and which way it is better."""

from collections.abc import Mapping
from typing import Any

from .arguments import RobustTrainingArguments


def choose_by(evaluator: Any, args: RobustTrainingArguments, eval_dataset: Any) -> None:
    """Check `metric_for_best_model` before training, and set `greater_is_better` by the evaluator.

    Args:
        evaluator: What computes the metrics. `evaluator.greater_is_better` says of each that can
            choose a checkpoint whether the larger one is better; one without it is believed, and
            looked at when it is first used.
        args: The arguments.
        eval_dataset: What is evaluated; a dict of several gives their names to the metrics.

    Raises:
        ValueError: If the evaluator has no such metric, or `greater_is_better` was given and says
            the opposite.
    """
    ways: Mapping[str, bool] | None = getattr(evaluator, "greater_is_better", None)
    if ways is None or args.metric_for_best_model is None or args.eval_strategy == "no":
        return
    if isinstance(eval_dataset, dict):
        ways = {f"{part}_{name}": way for part in eval_dataset for name, way in ways.items()}
    name = args.metric_for_best_model.removeprefix("eval_")
    if name not in ways:
        raise ValueError(_unknown(args, ways))
    if args.way_is_given and args.greater_is_better != ways[name]:
        better = "larger" if ways[name] else "smaller"
        raise ValueError(
            f"`greater_is_better` is {args.greater_is_better}, and of {name!r} the {better} one is "
            "better: leave it out."
        )
    args.greater_is_better = ways[name]


def check_evaluated(metrics: Mapping[str, float], args: RobustTrainingArguments) -> None:
    """See that an evaluation gave the metric that chooses the best checkpoint.

    Args:
        metrics: What it gave; their names begin with "eval_".
        args: The arguments.

    Raises:
        ValueError: If it did not.
    """
    name = args.metric_for_best_model
    if name is not None and args.eval_strategy != "no" and _full(name) not in metrics:
        raise ValueError(_unknown(args, [key.removeprefix("eval_") for key in metrics]))


def _full(name: str) -> str:
    return name if name.startswith("eval_") else f"eval_{name}"


def _unknown(args: RobustTrainingArguments, names: Any) -> str:
    return (
        f"`metric_for_best_model` is {args.metric_for_best_model!r}, and the evaluator has no such "
        f"metric to choose by. Give one of: {', '.join(names)}."
    )
