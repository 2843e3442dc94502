"""Evaluate a model on one split of a dataset: recalls of pairs, or mAP of classes.

    python examples/evaluate.py --model_name_or_path runs/ncr --split test --results_file r.json
    python examples/evaluate.py --model_name_or_path openai/clip-vit-base-patch32
    python examples/evaluate.py --model_name_or_path runs/rcar --split test \
        --shortlist_model_name_or_path runs/ncr --results_file r.json
    python examples/evaluate.py --model_name_or_path runs/saf runs/sgr

A CLIP, a SigLIP or another two-tower model of transformers is evaluated as it is. The scores of
several models of pairs are averaged: SAF and SGR are SGRAF. The processes of `torchrun` or
`accelerate launch` share the scores.
"""

from dataclasses import dataclass, field

from noisy_xmodal.entry.command_line import answer_early


@dataclass
class EvaluationArguments:
    """The model and the data."""

    model_name_or_path: list[str] = field(
        metadata={
            "help": "Hub id or folder of a model of this library, or a CLIP or SigLIP, such as "
            "clip-vit-b32. Of several, the scores are averaged."
        }
    )
    dataset_name: str | None = field(
        default=None, metadata={"help": "Hub id or folder of a dataset; OpenMoji by default."}
    )
    dataset_config_name: str | None = field(
        default=None,
        metadata={
            "help": "Its config; the first one by default, as all have the same evaluation splits."
        },
    )
    image_column: str | None = field(
        default=None, metadata={"help": "Column of the image, if it is not detected."}
    )
    caption_column: str | None = field(
        default=None, metadata={"help": "Column of the captions, if it is not detected."}
    )
    text_column: str | None = field(
        default=None,
        metadata={"help": "Column of the text or its features, for a model of classes."},
    )
    label_column: str | None = field(
        default=None,
        metadata={"help": "Column of the class, for a model of classes."},
    )
    id_column: str | None = field(
        default=None, metadata={"help": "Column of the image id, if it is not detected."}
    )
    image_label_column: str | None = field(
        default=None,
        metadata={"help": "Column of the image's class, if the text has its own."},
    )
    text_label_column: str | None = field(
        default=None,
        metadata={"help": "Column of the text's class, if the image has its own."},
    )
    split: str = field(default="test", metadata={"help": "Split of the dataset."})
    results_file: str = field(
        default="results.json",
        metadata={"help": "JSON file for the metrics: recalls in percent, mAP from 0 to 1."},
    )
    precision_recall_file: str | None = field(
        default=None,
        metadata={"help": "JSON file for the precision-recall curves of a model of classes."},
    )
    block_size: int = field(
        default=64, metadata={"help": "Images and texts to score at once; limits memory."}
    )
    shortlist_model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Trained two-tower model whose shortlists a cross-encoder such as RCAR "
            "re-ranks; without it, all pairs of the split are scored."
        },
    )
    shortlist_size: int = field(default=32, metadata={"help": "Results on a shortlist."})
    shortlist_weight: float = field(
        default=0.0,
        metadata={"help": "Weight of the two-tower model's score that is added to the log-odds."},
    )
    fold_size: int | None = field(
        default=None,
        metadata={"help": "Average over consecutive folds of this many images (1000: COCO 1K)."},
    )
    device: str | None = field(
        default=None, metadata={"help": "Device of the models: cpu, cuda; a GPU if there is one."}
    )


if __name__ == "__main__":
    answer_early(EvaluationArguments)  # the imports below take seconds

from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from transformers import AutoConfig, AutoModel, AutoProcessor, PreTrainedConfig

from noisy_xmodal import CommonSpaceConfig, RcarConfig
from noisy_xmodal.auditing.judge import check_judge, load_judge
from noisy_xmodal.data import (
    DatasetError,
    LabelDataset,
    PairDataset,
    append_boxes,
    load_label_pairs,
    load_pairs,
    validate_label_pairs,
    validate_pairs,
    with_vectors,
)
from noisy_xmodal.data.readers import load_openmoji, load_openmoji_labels
from noisy_xmodal.entry.devices import device_of
from noisy_xmodal.entry.errors import load_part
from noisy_xmodal.entry.launch import join_group
from noisy_xmodal.entry.limits import EVALUATE
from noisy_xmodal.entry.options import OptionError, read_options
from noisy_xmodal.entry.outputs import check_output
from noisy_xmodal.evaluation import (
    AverageEvaluator,
    LabelRetrievalEvaluator,
    RerankEvaluator,
    RetrievalEvaluator,
    query_cost,
    shared_evaluation,
)
from noisy_xmodal.files import read_json, write_json
from noisy_xmodal.models.two_towers import load_two_towers
from noisy_xmodal.modules.pretrained import encoder_path
from noisy_xmodal.modules.text_limits import count_truncated
from noisy_xmodal.training.run import run_script

#: Options without an effect for a model of pairs, and for one of classes.
OF_CLASSES = (
    *("text_column", "label_column", "image_label_column", "text_label_column"),
    "precision_recall_file",
)
OF_PAIRS = ("caption_column", "id_column", "fold_size", "shortlist_model_name_or_path")


def load_data(args: EvaluationArguments, of_classes: bool) -> DatasetDict:
    """The splits that a model of pairs, or one of classes, is evaluated on."""
    if args.dataset_name is None:
        load = load_openmoji_labels if of_classes else load_openmoji
        return load(args.dataset_config_name or "clean")
    name = (args.dataset_name, args.dataset_config_name)
    if of_classes:
        return load_label_pairs(
            *name,
            image_column=args.image_column,
            text_column=args.text_column,
            label_column=args.label_column,
            image_label_column=args.image_label_column,
            text_label_column=args.text_label_column,
        )
    return load_pairs(
        *name,
        image_column=args.image_column,
        caption_column=args.caption_column,
        id_column=args.id_column,
    )


def build_evaluator(
    args: EvaluationArguments,
    config: PreTrainedConfig,
    processors: list[Any],
    device: str,
    progress: bool,
) -> Any:
    """The evaluator of a model with this config, or of several."""
    shortlists, processor = args.shortlist_model_name_or_path, processors[0]
    if isinstance(config, CommonSpaceConfig):
        return LabelRetrievalEvaluator(processor, block_size=args.block_size)
    folds: dict[str, Any] = {"block_size": args.block_size, "fold_size": args.fold_size}
    if len(processors) > 1:
        return AverageEvaluator(processors, **folds, progress=progress)
    if shortlists is None:
        return RetrievalEvaluator(processor, **folds, progress=progress)
    retriever, reads = load_two_towers(shortlists, device)
    sizes = args.shortlist_size, args.block_size
    return RerankEvaluator(
        processor,
        retriever,
        reads,
        *sizes,
        progress=progress,
        weight=args.shortlist_weight,
        fold_size=args.fold_size,
    )


def load_model(name: str, of_classes: bool, device: str) -> tuple[Any, Any]:
    """A model of classes or of pairs, and its processor."""
    if not of_classes:
        return load_judge(name, device)
    model = load_part(AutoModel, name, use_safetensors=True)
    processor = load_part(AutoProcessor, name)
    return model.to(device), processor


def is_metrics(path: Path) -> bool:
    """Whether a file holds metrics, as this script writes them."""
    return _holds(path, lambda found: not {"rsum", "map"}.isdisjoint(found))


def is_curves(path: Path) -> bool:
    """Whether a file holds curves, as this script writes them."""
    return _holds(path, lambda found: "recall" in found)


def _holds(path: Path, check: Callable[[dict], bool]) -> bool:
    try:
        found = read_json(path)
    except ValueError:
        return False
    return isinstance(found, dict) and check(found)


def texts_of(rows: Dataset, of_classes: bool) -> list[str]:
    """The texts of a split as a model reads them."""
    if of_classes:
        return LabelDataset(rows).texts(slice(None))
    return [caption for captions in rows["captions"] for caption in captions]


def gallery_of(rows: Dataset, config: PreTrainedConfig, of_classes: bool) -> Any:
    """The rows as a model of pairs, or one of classes, reads them."""
    if not of_classes:
        return PairDataset(rows)
    pairs = LabelDataset(rows)
    return pairs if config.backbone_config is None else pairs.without_features()


def check_options(args: EvaluationArguments, configs: list[PreTrainedConfig]) -> None:
    """Refuse options that do nothing for models with these configs."""
    of_classes = isinstance(configs[0], CommonSpaceConfig)
    names = ", ".join(args.model_name_or_path)
    for option in OF_PAIRS if of_classes else OF_CLASSES:
        if getattr(args, option) is not None:
            kind = "learned classes" if of_classes else "compares pairs"
            raise OptionError(f"--{option} does nothing for {names}, which {kind}: leave it out")
    is_average = len(configs) > 1
    if is_average and any(isinstance(config, CommonSpaceConfig) for config in configs):
        raise OptionError(
            f"--model_name_or_path {names}: scores of models of pairs are averaged, and one of "
            "these learned classes: give it alone"
        )
    has_shortlists = args.shortlist_model_name_or_path is not None
    if has_shortlists and (is_average or not isinstance(configs[0], RcarConfig)):
        raise OptionError(
            f"--shortlist_model_name_or_path does nothing for {names}: it is for one cross-encoder "
            "such as RCAR, so leave it out"
        )


def cost_of(members: list[tuple[Any, Any]], gallery: Any) -> dict[str, Any]:
    """What a query costs, see `query_cost`; parameters and seconds of all models."""
    first, *others = [query_cost(model, processor, gallery) for model, processor in members]
    for name in ("parameters", "seconds_per_image_query", "seconds_per_text_query"):
        first[name] += sum(other[name] for other in others)
    return first


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Evaluate, print and write."""
    args = read_options(EvaluationArguments, EVALUATE, argv)
    check_output(args.results_file, "--results_file", ".json", is_metrics)
    if args.precision_recall_file is not None:
        check_output(args.precision_recall_file, "--precision_recall_file", ".json", is_curves)
    launch = join_group()
    device = device_of(args.device)
    names = args.model_name_or_path
    configs = [load_part(AutoConfig, encoder_path(name)) for name in names]
    config, of_classes = configs[0], isinstance(configs[0], CommonSpaceConfig)
    check_options(args, configs)
    members = [load_model(name, of_classes, device) for name in names]
    models, processors = [model for model, _ in members], [processor for _, processor in members]
    dataset = load_data(args, of_classes)
    if args.split not in dataset:
        raise DatasetError(f"there is no --split {args.split}; there are: {', '.join(dataset)}.")
    rows = dataset[args.split]
    if of_classes:
        rows = rows if config.backbone_config is not None else with_vectors(rows, args.split)
        validate_label_pairs(rows, split=args.split)
    else:
        if any(getattr(config, "box_size", 0) for config in configs):
            rows = append_boxes(rows, args.split)
        validate_pairs(rows, split=args.split)
        for name, processor in zip(names, processors, strict=True):
            check_judge(processor, PairDataset(rows), name)
    evaluator = build_evaluator(args, config, processors, device, launch.is_main)
    cuts = [
        count_truncated(processor, texts_of(rows, of_classes))
        for processor in processors
        if processor.tokenizer is not None
    ]
    cut = max(cuts, key=lambda cut: cut.n_cut, default=None)
    if cut is not None and cut.n_cut and launch.is_main:
        print(cut.message())
    with shared_evaluation():
        metrics = evaluator(models if len(models) > 1 else models[0], rows)
    if not launch.is_main:
        return metrics
    found = {"cut_texts": cut.to_dict()} if cut is not None and cut.n_cut else {}
    cost = cost_of(members, gallery_of(rows, config, of_classes))
    write_json(args.results_file, metrics | found | {"cost": cost})
    if of_classes and args.precision_recall_file is not None:
        write_json(args.precision_recall_file, evaluator.curves(models[0], rows))
    for name, value in metrics.items():
        print(f"{name:21}{value:8.4f}" if of_classes else f"{name:21}{value:8.2f}")
    return metrics


if __name__ == "__main__":
    run_script(main, EvaluationArguments)
