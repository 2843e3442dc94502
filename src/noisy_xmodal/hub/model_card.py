"""The model card of a trained model: every number in it comes from the run's `results.json`."""

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

TEMPLATE = "model_card_template.md"

#: Metrics of the card's table, in order.
METRICS = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "rsum")


def render_model_card(results: Mapping[str, Any], name: str) -> ModelCard:
    """Render the card of one run.

    Args:
        results: What the training script wrote to `results.json`.
        name: Name of the model, for the card's title.

    Returns:
        The card, with metadata and one evaluation result per split and metric of the best
        checkpoint.
    """
    rows = [
        (checkpoint, split, metrics)
        for checkpoint in ("last", "best")
        for split, metrics in results[checkpoint].items()
    ]
    evaluations = [
        EvalResult(
            task_type="image-text-retrieval",
            dataset_type=str(results["dataset"]),
            dataset_name=str(results["dataset"]),
            dataset_config=results["dataset_config"],
            dataset_split=split,
            metric_type=metric,
            metric_name=metric,
            metric_value=round(value, 2),
        )
        for split, metrics in results["best"].items()
        for metric, value in metrics.items()
        if metric in METRICS
    ]
    data = ModelCardData(
        model_name=name,
        library_name="transformers",
        tags=["noisy-xmodal", "image-text-retrieval", "noisy-correspondence"],
        eval_results=evaluations,
    )
    template = files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")
    return ModelCard.from_template(
        data, template_str=template, name=name, rows=rows, metrics=METRICS, **dict(results)
    )


def write_model_card(folder: str | Path, results: Mapping[str, Any]) -> Path:
    """Write README.md into a model's folder, aside and then renamed."""
    folder = Path(folder)
    card = render_model_card(results, folder.resolve().name)
    aside = folder / ".README.md.partial"
    aside.write_text(str(card), encoding="utf-8")
    os.replace(aside, folder / "README.md")
    return folder / "README.md"
