"""Train NCR, or the same two networks without it, on noisy image-text pairs.

    python examples/train_ncr.py --output_dir runs/ncr
    python examples/train_ncr.py --robust False --output_dir runs/plain
    python examples/train_ncr.py --dataset_name photos/captions.csv --output_dir runs/mine
    accelerate launch examples/train_ncr.py --dataset_name DIR --dataset_config_name cmp_40 \
        --recipe paper --output_dir runs/ncr-f30k

Without a dataset it trains on OpenMoji pictures and their names, which need no download.
"""

import sys
from argparse import ArgumentParser
from dataclasses import dataclass, field

import datasets
from datasets import Dataset
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoTokenizer,
    HfArgumentParser,
    ResNetConfig,
    ViTImageProcessorPil,
    set_seed,
)
from transformers.utils import logging

from noisy_xmodal import (
    NcrConfig,
    NcrModel,
    NcrProcessor,
    NcrTrainer,
    RegionFeatureProcessor,
    RobustTrainingArguments,
)
from noisy_xmodal.data import (
    PairArguments,
    PairDataset,
    counted_noise,
    dataset_label,
    drop_noisy_pairs,
    load_training_pairs,
    validation_facts,
)
from noisy_xmodal.entry.errors import load_part
from noisy_xmodal.entry.options import json_option, typed_options
from noisy_xmodal.hub.run import data_facts, publish_run, reserve_repository, save_run
from noisy_xmodal.modules import train_word_tokenizer
from noisy_xmodal.modules.text_limits import set_max_length
from noisy_xmodal.options import Rule, settle_unread
from noisy_xmodal.training.failures import check_output_folder, failures_explained
from noisy_xmodal.training.run import (
    command_line,
    print_retrieval_table,
    run_script,
    train_and_evaluate,
)

#: Defaults of the options below: "small" suits a laptop, "paper" is NCR's own.
RECIPES = {
    "small": {
        "similarity": "cosine",
        "similarity_options": '{"image_pooling": "attention", "projection": true}',
        "normalize_tokens": False,
        "dropout": 0.2,
        "objective": "infonce",
        "word_encoder": "words",
        "word_size": 256,
        "hidden_size": 256,
        "min_word_frequency": 1,
        "warmup_epochs": 2,
        "num_train_epochs": 6.0,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "cosine",
    },
    "paper": {
        "similarity": "sgr",
        "objective": "triplet",
        "word_encoder": "bigru",
        "word_size": 300,
        "hidden_size": 1024,
        "min_word_frequency": 4,
        "warmup_epochs": 5,
        "num_train_epochs": 45.0,
        "learning_rate": 2e-4,
        "lr_scheduler_type": "constant",
    },
}


@dataclass
class ModelArguments:
    """What each of the two networks is made of, and NCR's constants."""

    similarity: str = field(
        default="cosine",
        metadata={"help": "Similarity head: cosine, scan_t2i, scan_i2t, saf, sgr or sgraf."},
    )
    similarity_options: str = field(
        default="{}", metadata={"help": 'Options of the head as JSON, such as {"dropout": 0.2}.'}
    )
    word_encoder: str = field(
        default="bigru", metadata={"help": "Word-level text encoder: bigru or words."}
    )
    hidden_size: int = field(default=256, metadata={"help": "Size of the joint space."})
    word_size: int = field(default=256, metadata={"help": "Size of a word's embedding."})
    dropout: float = field(default=0.4, metadata={"help": "Dropout on the word embeddings."})
    image_dropout: float = field(
        default=0.0, metadata={"help": "Dropout on region features or the vision model's output."}
    )
    normalize_tokens: bool = field(
        default=True, metadata={"help": "Give every region and word unit length before the head."}
    )
    vision_model_name_or_path: str | None = field(
        default=None,
        metadata={"help": "Pretrained vision model; a small ResNet from scratch if none."},
    )
    text_model_name_or_path: str | None = field(
        default=None, metadata={"help": "Pretrained text encoder; the word-level one if none."}
    )
    objective: str = field(
        default="infonce",
        metadata={"help": "Loss that targets enter: triplet, mean_triplet, infonce, soft_infonce."},
    )
    margin: float = field(default=0.2, metadata={"help": "alpha of NCR's Eq. 2 and 7."})
    soft_margin: str = field(
        default="exponential", metadata={"help": "Curve of Eq. 7: exponential, linear or sine."}
    )
    curve: float = field(default=10.0, metadata={"help": "m of Eq. 7."})
    rectification: str = field(
        default="epoch", metadata={"help": "Rectify targets once an epoch or for every batch."}
    )
    co_rectify: bool = field(
        default=True, metadata={"help": "False: co-divide alone, the paper's ablation."}
    )


#: When options are read, where they are not always.
OF_WORDS = {"min_word_frequency": NcrConfig.rules["word_size"]}
OF_TARGETS = dict.fromkeys(
    ("co_rectify", "rectification", "soft_margin", "curve"),
    Rule(lambda options: options.robust, "without --robust no target is rectified. Leave it out."),
)


def parse(argv: list[str]) -> tuple[PairArguments, ModelArguments, RobustTrainingArguments, str]:
    """Read the options; a recipe only changes defaults."""
    first = ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--recipe", choices=list(RECIPES), default="small")
    first.add_argument("--similarity")
    asked = first.parse_known_args(argv)[0]
    recipe, defaults = asked.recipe, dict(RECIPES[asked.recipe])
    if asked.similarity not in (None, defaults["similarity"]):
        # These suit the recipe's own head; another one begins from its own defaults.
        for name in ("similarity_options", "normalize_tokens"):
            defaults.pop(name, None)
    parser = HfArgumentParser((PairArguments, ModelArguments, RobustTrainingArguments))
    parser.add_argument(
        "--recipe",
        choices=list(RECIPES),
        default="small",
        help="Defaults of the other options: small for a laptop, paper for NCR's own.",
    )
    parser.set_defaults(**defaults)
    data, model, training, _ = parser.parse_args_into_dataclasses(argv)
    typed = typed_options(parser, argv)
    beside = {
        "vision_config": model.vision_model_name_or_path,
        "text_config": model.text_model_name_or_path,
        "robust": training.robust,
    }
    settle_unread(data, beside, PairArguments, OF_WORDS, typed)
    settle_unread(model, beside, NcrConfig, OF_TARGETS, typed)
    settle_unread(model, beside, NcrConfig, NcrConfig.rules, typed)
    return data, model, training, recipe


def build_processor(train: Dataset, data: PairArguments, model: ModelArguments) -> NcrProcessor:
    """A processor for the columns that the data has."""
    if "regions" in train.column_names:
        row = train.with_format("numpy")[0]["regions"]
        images = RegionFeatureProcessor(region_size=row.shape[-1])
    elif model.vision_model_name_or_path:
        images = load_part(AutoImageProcessor, model.vision_model_name_or_path, backend="pil")
    else:
        images = ViTImageProcessorPil(size={"height": 64, "width": 64})
    if model.text_model_name_or_path:
        tokenizer = load_part(AutoTokenizer, model.text_model_name_or_path)
        set_max_length(tokenizer, data.max_seq_length)
    else:
        captions = (caption for row in train["captions"] for caption in row)
        tokenizer = train_word_tokenizer(
            captions, data.min_word_frequency, max_length=data.max_seq_length
        )
    return NcrProcessor(images, tokenizer)


def build_model(processor: NcrProcessor, args: ModelArguments) -> NcrModel:
    """Two fresh networks, with pretrained encoders where they were asked for."""
    vision = text = None
    if not isinstance(processor.image_processor, RegionFeatureProcessor):
        vision = (
            load_part(AutoConfig, args.vision_model_name_or_path)
            if args.vision_model_name_or_path
            else ResNetConfig(
                embedding_size=32, hidden_sizes=[32, 64, 128], depths=[1, 1, 1], layer_type="basic"
            )
        )
    if args.text_model_name_or_path:
        text = load_part(AutoConfig, args.text_model_name_or_path)
    sizes = {} if vision else {"region_size": processor.image_processor.region_size}
    sizes |= {} if text else {"vocab_size": len(processor.tokenizer)}
    model = NcrModel(
        NcrConfig(
            **sizes,
            vision_config=vision,
            text_config=text,
            word_encoder=args.word_encoder,
            word_size=args.word_size,
            hidden_size=args.hidden_size,
            dropout=args.dropout,
            image_dropout=args.image_dropout,
            normalize_tokens=args.normalize_tokens,
            similarity=args.similarity,
            similarity_options=json_option("similarity_options", args.similarity_options),
            objective=args.objective,
            margin=args.margin,
            soft_margin=args.soft_margin,
            curve=args.curve,
            rectification=args.rectification,
            co_rectify=args.co_rectify,
        )
    )
    for peer in model.peers:
        peer.load_backbones(args.vision_model_name_or_path, args.text_model_name_or_path)
    return model


def method_name(data: PairArguments, training: RobustTrainingArguments) -> str:
    """What the results table calls this run."""
    name = "NCR" if training.robust else "plain"
    return f"{name}, noisy pairs dropped by the oracle" if data.drop_noisy_pairs else name


def main(argv: list[str] | None = None) -> dict:
    """Train, evaluate the last and the best checkpoint, write everything to the output folder."""
    argv = sys.argv[1:] if argv is None else argv
    data, model_args, training, recipe = parse(argv)
    if training.disable_tqdm:
        logging.disable_progress_bar()
        datasets.disable_progress_bars()
    check_output_folder(training)
    reserve_repository(training)
    set_seed(training.seed)
    dataset = load_training_pairs(data)
    protocol = counted_noise(dataset["train"], PairDataset(dataset["train"]))
    train = drop_noisy_pairs(dataset["train"]) if data.drop_noisy_pairs else dataset["train"]
    processor = build_processor(train, data, model_args)
    model = build_model(processor, model_args)
    trainer = NcrTrainer(
        model,
        training,
        train_dataset=train,
        eval_dataset=dataset["validation"],
        processing_class=processor,
    )
    splits = {name: dataset[name] for name in ("validation", "test") if name in dataset}
    run = train_and_evaluate(trainer, splits, command_line("examples/train_ncr.py", argv))
    if not training.should_save:
        return {}
    name, config = dataset_label(data)
    run |= data_facts(data.dataset_name, data.dataset_config_name, dataset["train"])
    run |= validation_facts(dataset)
    results = run | {
        "method": method_name(data, training),
        "dataset": name,
        "dataset_config": config,
        "noise": protocol,
        "recipe": recipe,
        "arguments": vars(model_args) | {"seed": training.seed},
        "best_single_networks": {
            split: [trainer.evaluator(peer, rows) for peer in trainer.model.peers]
            for split, rows in splits.items()
        },
    }
    with failures_explained(training.output_dir):
        save_run(trainer, results)
        print_retrieval_table(results)
        publish_run(trainer, results)
    return results


if __name__ == "__main__":
    run_script(main, PairArguments, ModelArguments, RobustTrainingArguments)
