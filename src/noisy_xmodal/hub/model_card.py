"""The model card of a trained model: every number in it comes from the run's `results.json`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

TEMPLATE = "model_card_template.md"


@dataclass(frozen=True)
class CardKind:
    """What the cards of one kind of task say.

    Attributes:
        metrics: Metrics of the table, in order.
        digits: Decimal places of the table.
        task: Task type of the Hub's metadata.
        tags: Tags of the Hub's metadata.
        description: What the model is.
        measure: What the metrics mean, and which of them chooses a checkpoint.
        citation: What to cite, where the results do not say.
    """

    metrics: tuple[str, ...]
    digits: int
    task: str
    tags: tuple[str, ...]
    description: str
    measure: str
    citation: str


#: By what `results["task"]` says; results without it are of pairs.
CARD_KINDS = {
    "pairs": CardKind(
        metrics=("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "rsum"),
        digits=1,
        task="image-text-retrieval",
        tags=("image-text-retrieval", "noisy-correspondence"),
        description="An image-text matching model of two networks whose similarities are averaged",
        measure="Recall in percent; rSum, the sum of the six recalls, chooses the checkpoint.",
        citation='Huang et al., "Learning with Noisy Correspondence for Cross-modal Matching", '
        "NeurIPS 2021.",
    ),
    "classes": CardKind(
        metrics=("i2t_map", "t2i_map", "map", "i2t_map_50", "t2i_map_50"),
        digits=3,
        task="cross-modal-retrieval",
        tags=("cross-modal-retrieval", "noisy-labels"),
        description="A model of a common space of images and texts, learnt from class labels",
        measure="Mean average precision of retrieving the query's class in the other modality, 0 "
        "to 1, over the whole list and its first 50; map, the mean of both directions, chooses the "
        "checkpoint.",
        citation="See the method.",
    ),
}

CARD_KINDS["joint pairs"] = replace(
    CARD_KINDS["pairs"],
    description="A cross-encoder that reads an image and a text together and says how probably "
    "they are aligned",
    citation='Guo and Ding, "Robust cross-modal retrieval with alignment refurbishment", FITEE '
    "2023.",
)


def render_model_card(results: Mapping[str, Any], name: str) -> ModelCard:
    """Render the card of one run.

    Args:
        results: What the training script wrote to `results.json`.
        name: Name of the model, for the card's title.

    Returns:
        The card, with metadata and one evaluation result per split and metric of the best
        checkpoint.
    """
    kind = CARD_KINDS[results.get("task", "pairs")]
    rows = [
        (checkpoint, split, metrics)
        for checkpoint in ("last", "best")
        for split, metrics in results[checkpoint].items()
    ]
    evaluations = [
        EvalResult(
            task_type=kind.task,
            dataset_type=str(results["dataset"]),
            dataset_name=str(results["dataset"]),
            dataset_config=results["dataset_config"],
            dataset_split=split,
            metric_type=metric,
            metric_name=metric,
            metric_value=round(value, kind.digits + 1),
        )
        for split, metrics in results["best"].items()
        for metric, value in metrics.items()
        if metric in kind.metrics
    ]
    data = ModelCardData(
        model_name=name,
        library_name="transformers",
        tags=["noisy-xmodal", *kind.tags],
        eval_results=evaluations,
    )
    template = files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")
    found: dict[str, Any] = {"citation": kind.citation} | dict(results)
    return ModelCard.from_template(
        data, template_str=template, name=name, rows=rows, kind=kind, **found
    )


def write_model_card(folder: str | Path, results: Mapping[str, Any]) -> Path:
    """Write README.md into a model's folder, aside and then renamed."""
    folder = Path(folder)
    card = render_model_card(results, folder.resolve().name)
    aside = folder / ".README.md.partial"
    aside.write_text(str(card), encoding="utf-8")
    os.replace(aside, folder / "README.md")
    return folder / "README.md"
