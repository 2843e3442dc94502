"""Train DMCM, or a system that it compares with, on pairs whose class labels are partly wrong.

    python examples/train_dmcm.py --output_dir runs/dmcm
    python examples/train_dmcm.py --method mrl --output_dir runs/mrl
    python examples/train_dmcm.py --dataset_name wikipedia --dataset_config_name sym_60 \
        --recipe paper --output_dir runs/dmcm-wikipedia
    python examples/train_dmcm.py --dataset_name photos.parquet --label_column kind \
        --backbone_name_or_path openai/clip-vit-base-patch32 --output_dir runs/photos

Without a dataset it trains on OpenMoji's nine categories, which need no download.
"""

import json
import sys
from argparse import ArgumentParser
from dataclasses import dataclass, field
from pathlib import Path

import datasets
from datasets import DatasetDict
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoTokenizer,
    HfArgumentParser,
    set_seed,
)
from transformers.utils import logging

from noisy_xmodal import (
    CommonSpaceProcessor,
    DmcmConfig,
    DmcmProcessor,
    LabelTrainer,
    LabelTrainingArguments,
)
from noisy_xmodal.arguments.pairs import RULES as PAIR_RULES
from noisy_xmodal.data import (
    DatasetError,
    LabelDataset,
    counted_noise,
    held_out_line,
    hold_out_validation,
    inject_noise,
    load_label_pairs,
    noise_protocol,
    validate_label_pairs,
    validation_facts,
    with_vectors,
)
from noisy_xmodal.data.arguments import refuse_share
from noisy_xmodal.data.builders import load_openmoji_labels
from noisy_xmodal.entry.errors import load_part
from noisy_xmodal.entry.options import typed_options
from noisy_xmodal.hub.run import data_facts, publish_run, reserve_repository, save_run
from noisy_xmodal.models.label_methods import LABEL_METHODS, build_label_model
from noisy_xmodal.options import Rule, field_defaults, refuse_unread, settle_unread
from noisy_xmodal.training import CurveCallback
from noisy_xmodal.training.curve import CURVE_NAME
from noisy_xmodal.training.failures import check_output_folder, failures_explained
from noisy_xmodal.training.files import read_json
from noisy_xmodal.training.run import (
    command_line,
    evaluated_checkpoints,
    run_script,
    train_and_evaluate,
)

#: Defaults of the options below: "small" suits a laptop, "paper" is the one of MRL and DMCM. What a
#: method says of itself (its `recipe`) comes on top of "paper".
RECIPES = {
    "small": {"hidden_size": 256, "num_train_epochs": 60.0, "learning_rate": 1e-3},
    "paper": {"num_train_epochs": 100.0, "learning_rate": 1e-4},
}


#: Options that name columns of a dataset of one's own.
COLUMN_OPTIONS = (
    *("label_column", "image_label_column", "text_label_column"),
    *("image_column", "text_column"),
)

#: When options are read, where they are not always.
DATA_RULES = {
    **dict.fromkeys(COLUMN_OPTIONS, PAIR_RULES["image_column"]),
    "noise_seed": PAIR_RULES["noise_seed"],
}
METHOD_RULES = {
    "freeze_backbone": Rule(
        lambda options: options.backbone_name_or_path is not None,
        "there is no backbone. Give --backbone_name_or_path too, or leave it out.",
    )
}


@dataclass
class DataArguments:
    """Which pairs to train on."""

    dataset_name: str | None = field(
        default=None,
        metadata={
            "help": "Hub dataset, folder or file (.parquet, .csv, .jsonl) of pairs with a class: "
            "columns image_features and text_features, or image and captions; OpenMoji's "
            "categories when left out."
        },
    )
    dataset_config_name: str | None = field(
        default=None,
        metadata={"help": "Its configuration, such as sym_40; OpenMoji's is sym_40 by default."},
    )
    label_column: str | None = field(
        default=None, metadata={"help": "Column of a class that image and text share."}
    )
    image_label_column: str | None = field(
        default=None, metadata={"help": "Column of the image's class, where each has its own."}
    )
    text_label_column: str | None = field(
        default=None, metadata={"help": "Column of the text's class, likewise."}
    )
    image_column: str | None = field(
        default=None, metadata={"help": "Column of the picture or its features, if not found."}
    )
    text_column: str | None = field(
        default=None, metadata={"help": "Column of the text or its features, likewise."}
    )
    inject_noise: str | None = field(
        default=None, metadata={"help": "Noise to put into clean labels first, such as sym_40."}
    )
    noise_seed: int = field(default=0, metadata={"help": "Seed of that noise."})
    validation_share: float = field(
        default=0.1,
        metadata={
            "help": "Share of the training pairs to hold out where there is no split validation."
        },
    )

    def __post_init__(self) -> None:
        refuse_unread(vars(self), field_defaults(DataArguments), DATA_RULES, "--{}")


@dataclass
class MethodArguments:
    """Which method, what its model is made of, and its constants."""

    method: str = field(
        default="dmcm", metadata={"help": f"What to train: {', '.join(LABEL_METHODS)}."}
    )
    hidden_size: int | None = field(
        default=None, metadata={"help": "Size of every hidden layer; the method's own if none."}
    )
    embedding_size: int | None = field(
        default=None, metadata={"help": "Size of the common space; the method's own if none."}
    )
    backbone_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Two-tower model of transformers, such as CLIP, that reads pictures and texts."
        },
    )
    freeze_backbone: bool = field(
        default=True,
        metadata={"help": "Leave it as it is, and make its features once. False trains it too."},
    )
    noise_rate: str | None = field(
        default=None,
        metadata={
            "help": "DMCM: share of wrong labels, a number, or known for the one that the data's "
            "noise protocol asked for; estimated by the mixture when left out."
        },
    )
    clean_threshold: float | None = field(
        default=None,
        metadata={"help": "DMCM: take the samples of at least this clean probability instead."},
    )
    beta: float | None = field(
        default=None, metadata={"help": "DMCM, MRL, LCN: weight of the class loss (Eq. 8)."}
    )
    class_loss: str | None = field(
        default=None,
        metadata={
            "help": "DMCM, MRL, LCN, CE: class loss by name, such as ngce+mae, ce, gce, nce+rce."
        },
    )
    mixing_weight: float | None = field(
        default=None, metadata={"help": "DMCM: lambda of Eq. 6, .1 by default; 1 is no mixing."}
    )
    mixture_scope: str | None = field(
        default=None,
        metadata={"help": "DMCM: a mixture for each epoch (the default) or for each batch."},
    )
    method_options: str = field(
        default="{}",
        metadata={"help": 'Further constants of the method as JSON, such as {"alpha": 0.3}.'},
    )


#: Options that only DMCM has.
DMCM_OPTIONS = ("noise_rate", "clean_threshold", "mixing_weight", "mixture_scope")


def parse(argv: list[str]) -> tuple[DataArguments, MethodArguments, LabelTrainingArguments, str]:
    """Read the options; recipe and method only change defaults."""
    first = ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--recipe", choices=list(RECIPES), default="small")
    first.add_argument("--method", choices=list(LABEL_METHODS), default="dmcm")
    asked, _ = first.parse_known_args(argv)
    parser = HfArgumentParser((DataArguments, MethodArguments, LabelTrainingArguments))
    parser.add_argument(
        "--recipe",
        choices=list(RECIPES),
        default="small",
        help="Defaults of the other options: small for a laptop, paper for the method's own.",
    )
    of_method = dict(LABEL_METHODS[asked.method].recipe)
    recipe = RECIPES[asked.recipe]
    parser.set_defaults(**(recipe | of_method if asked.recipe == "paper" else of_method | recipe))
    data, method, training, _ = parser.parse_args_into_dataclasses(argv)
    settle_unread(method, {}, MethodArguments, METHOD_RULES, typed_options(parser, argv))
    return data, method, training, asked.recipe


def load_data(args: DataArguments, reads_raw: bool = False) -> DatasetDict:
    """The dataset by name and configuration, wherever it lives, with train and validation."""
    if args.dataset_name is None:
        args.dataset_config_name = args.dataset_config_name or "sym_40"
        dataset = load_openmoji_labels(args.dataset_config_name)
    else:
        dataset = load_label_pairs(
            args.dataset_name,
            args.dataset_config_name,
            image_column=args.image_column,
            text_column=args.text_column,
            label_column=args.label_column,
            image_label_column=args.image_label_column,
            text_label_column=args.text_label_column,
        )
    if "train" not in dataset:
        raise DatasetError(
            f"{args.dataset_name} has no split 'train'; it has {', '.join(dataset)}."
        )
    for split, rows in dataset.items():
        validate_label_pairs(rows, split=split)  # before rows change their numbers
    if "validation" in dataset:
        refuse_share(args.validation_share, DataArguments)
    else:
        dataset = hold_out_validation(dataset, args.validation_share)
        print(held_out_line(dataset))
    if not reads_raw:
        dataset = describe(dataset)
    if args.inject_noise is not None:
        dataset = inject_noise(dataset, args.inject_noise, seed=args.noise_seed)
    return dataset


def describe(dataset: DatasetDict) -> DatasetDict:
    """Vectors for sides that come without them."""
    names = dataset["train"].column_names
    if "image_features" not in names or "text_features" not in names:
        print(
            "Not both sides are vectors: means of region features, gradients and colours of "
            "pictures, and hashed words of texts stand for them. --backbone_name_or_path, such as "
            "a CLIP, describes pictures and texts far better."
        )
    return DatasetDict({split: with_vectors(rows, split) for split, rows in dataset.items()})


def build_processor(args: MethodArguments) -> CommonSpaceProcessor:
    """A processor of vectors, or the backbone's own."""
    kind = DmcmProcessor if args.method == "dmcm" else CommonSpaceProcessor
    if args.backbone_name_or_path is None:
        return kind()
    family = load_part(AutoConfig, args.backbone_name_or_path).model_type
    return kind(
        load_part(AutoImageProcessor, args.backbone_name_or_path, backend="pil"),
        load_part(AutoTokenizer, args.backbone_name_or_path),
        padding="max_length" if family.startswith("siglip") else True,
    )


def model_fields(args: MethodArguments, protocol: dict | None) -> dict:
    """The fields of the model's config that the options change."""
    shape = LABEL_METHODS[args.method].shape
    fields: dict = {}
    if args.hidden_size is not None:
        fields["hidden_sizes"] = [args.hidden_size] * len(shape.get("hidden_sizes", [0, 0]))
    if args.embedding_size is not None:
        fields["embedding_size"] = args.embedding_size
    if args.backbone_name_or_path is not None:
        fields["backbone_config"] = load_part(AutoConfig, args.backbone_name_or_path)
        fields["freeze_backbone"] = args.freeze_backbone
    given = {
        name: getattr(args, name)
        for name in ("beta", "class_loss", *DMCM_OPTIONS)
        if getattr(args, name) is not None
    }
    try:
        options = json.loads(args.method_options) | given
    except (json.JSONDecodeError, TypeError) as error:
        raise DatasetError(
            f"--method_options {args.method_options!r} is no JSON object: {error}."
        ) from error
    if args.method != "dmcm":
        for name in given:
            if name not in LABEL_METHODS[args.method].options:
                raise DatasetError(
                    f"--{name} is no option of --method {args.method}: leave it out."
                )
        return fields | {"method_options": options}
    if "noise_rate" in given:
        options["noise_rate"] = noise_rate(args.noise_rate, protocol)
    if "clean_threshold" in given:
        options["selection"] = "threshold"
    return fields | options


def noise_rate(given: str, protocol: dict | None) -> float:
    """A number, or what the data's noise protocol asked for."""
    if given == "known":
        if protocol is None or protocol.get("ratio") is None:
            raise DatasetError(
                "--noise_rate known: the data carries no noise protocol. Give a number, or leave "
                "it out to have it estimated."
            )
        return float(protocol["ratio"])
    try:
        return float(given)
    except ValueError as error:
        raise DatasetError(
            f"--noise_rate is {given!r}: give a share such as 0.4, or known."
        ) from error


def best_on_test(out: Path) -> dict | None:
    """The row of the curve with the best mean mAP on test: what a choice on test would give."""
    path = out / CURVE_NAME  # none where nothing was evaluated while it trained
    rows = [row for row in read_json(path) if "test" in row] if path.is_file() else []
    if not rows:
        return None
    best = max(rows, key=lambda row: row["test"]["map"])
    return {"epoch": best["epoch"], "test": best["test"]}


def title_of(kind: type[LabelTrainer], trainer: LabelTrainer) -> str:
    """The method's name, with the class loss where it is not its own, and what was left out."""
    asked = trainer.model.config.to_dict()
    options = asked.get("method_options") or {}
    loss = asked.get("class_loss") or options.get("class_loss")
    own = DmcmConfig.class_loss if kind is LABEL_METHODS["dmcm"] else kind.options.get("class_loss")
    title = kind.title if loss in (None, own) else f"{kind.title} ({loss})"
    plain = kind is LABEL_METHODS["dmcm"] and not trainer.args.robust
    return f"{title} without division" if plain else title


def print_table(results: dict) -> None:
    """Mean average precision on every evaluated split, last epoch and best on validation."""
    columns = ["i2t_map", "t2i_map", "map"]
    print(f"\n{results['method']} on {results['dataset']} {results['dataset_config']}")
    print(f"{'':36}" + "".join(f"{column:>9}" for column in columns))
    rows = [
        (f"{name} epoch, {split}", metrics)
        for name in evaluated_checkpoints(results)
        for split, metrics in results[name].items()
    ]
    if results["best_on_test"] is not None:
        rows.append(("oracle: best epoch on test, test", results["best_on_test"]["test"]))
    for label, metrics in rows:
        print(f"{label:36}" + "".join(f"{metrics[column]:9.3f}" for column in columns))


def main(argv: list[str] | None = None) -> dict:
    """Train, evaluate the last and the best checkpoint, write everything to the output folder."""
    argv = sys.argv[1:] if argv is None else argv
    data, method, training, recipe = parse(argv)
    if training.disable_tqdm:
        logging.disable_progress_bar()
        datasets.disable_progress_bars()
    check_output_folder(training)
    reserve_repository(training)
    set_seed(training.seed)
    dataset = load_data(data, reads_raw=method.backbone_name_or_path is not None)
    protocol = noise_protocol(dataset["train"])
    pairs = LabelDataset(dataset["train"])
    kind = LABEL_METHODS[method.method]
    if "per_device_train_batch_size" in kind.recipe:
        training.per_device_train_batch_size = min(training.per_device_train_batch_size, len(pairs))
    processor = build_processor(method)
    model = build_label_model(method.method, pairs, **model_fields(method, protocol))
    if method.backbone_name_or_path is not None:
        model.load_backbone(method.backbone_name_or_path)
    trainer = kind(
        model,
        training,
        dataset["train"],
        eval_dataset=dataset["validation"],
        processing_class=processor,
    )
    splits = {
        name: trainer.as_samples(dataset[name], name)
        for name in ("validation", "test")
        if name in dataset
    }
    watched = {"test": splits["test"]} if "test" in splits else {}
    trainer.add_callback(CurveCallback(trainer, watched))
    run = train_and_evaluate(trainer, splits, command_line("examples/train_dmcm.py", argv))
    if not training.should_save:
        return {}
    run |= data_facts(data.dataset_name, data.dataset_config_name, dataset["train"])
    run |= validation_facts(dataset)
    results = run | {
        "task": "classes",
        "method": title_of(kind, trainer),
        "citation": kind.citation,
        "dataset": Path(data.dataset_name).name if data.dataset_name else "openmoji categories",
        "dataset_config": data.inject_noise or data.dataset_config_name or "default",
        "noise": counted_noise(dataset["train"], pairs),
        "recipe": recipe,
        "arguments": vars(method) | {"seed": training.seed},
        "best_on_test": best_on_test(Path(training.output_dir)),
    }
    with failures_explained(training.output_dir):
        save_run(trainer, results)
        print_table(results)
        publish_run(trainer, results)
    return results


if __name__ == "__main__":
    run_script(main, DataArguments, MethodArguments, LabelTrainingArguments)
