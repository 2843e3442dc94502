"""Evaluate a trained matching model on one split of a dataset.

python examples/evaluate.py --model_name_or_path runs/ncr --split test --results_file r.json
"""

import sys
from dataclasses import dataclass, field

import torch
from transformers import AutoModel, AutoProcessor, HfArgumentParser

import noisy_xmodal  # noqa: F401 - registers the models
from noisy_xmodal.data import DatasetError, load_pairs, validate_pairs
from noisy_xmodal.data.builders import load_openmoji
from noisy_xmodal.evaluation import RetrievalEvaluator
from noisy_xmodal.training.files import write_json


@dataclass
class EvaluationArguments:
    """What to evaluate on what."""

    model_name_or_path: str = field(metadata={"help": "Hub id or folder of a trained model."})
    dataset_name: str | None = field(
        default=None, metadata={"help": "Hub id or folder of a dataset; OpenMoji when left out."}
    )
    dataset_config_name: str | None = field(
        default=None,
        metadata={
            "help": "Its configuration; its default one when left out, as evaluation splits are "
            "the same in all."
        },
    )
    image_column: str | None = field(
        default=None, metadata={"help": "Column of the image, where it is not found by itself."}
    )
    caption_column: str | None = field(
        default=None, metadata={"help": "Column of the captions, likewise."}
    )
    id_column: str | None = field(
        default=None, metadata={"help": "Column that names the image, likewise."}
    )
    split: str = field(default="test", metadata={"help": "Its split."})
    results_file: str = field(
        default="results.json", metadata={"help": "JSON file that takes the metrics, in percent."}
    )
    block_size: int = field(
        default=64, metadata={"help": "Images and texts that are scored at once; bounds memory."}
    )
    fold_size: int | None = field(
        default=None,
        metadata={"help": "Average over consecutive folds of this many images (1000: COCO 1K)."},
    )


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Evaluate, print and write."""
    (args,) = HfArgumentParser(EvaluationArguments).parse_args_into_dataclasses(argv)
    if args.dataset_name is None:
        dataset = load_openmoji(args.dataset_config_name or "clean")
    else:
        dataset = load_pairs(
            args.dataset_name,
            args.dataset_config_name,
            image_column=args.image_column,
            caption_column=args.caption_column,
            id_column=args.id_column,
        )
    if args.split not in dataset:
        raise DatasetError(f"there is no split {args.split!r}; there are: {', '.join(dataset)}.")
    validate_pairs(dataset[args.split], split=args.split)
    model = AutoModel.from_pretrained(args.model_name_or_path)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    evaluator = RetrievalEvaluator(
        AutoProcessor.from_pretrained(args.model_name_or_path),
        block_size=args.block_size,
        fold_size=args.fold_size,
        progress=True,
    )
    metrics = evaluator(model, dataset[args.split])
    write_json(args.results_file, metrics)
    for name, value in metrics.items():
        print(f"{name:10}{value:8.2f}")
    return metrics


if __name__ == "__main__":
    try:
        main()
    except DatasetError as error:
        sys.exit(f"error: {error}")
