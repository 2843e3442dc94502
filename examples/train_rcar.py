"""Train RCAR, or the same cross-encoder without parts of it, on noisy image-text pairs.

    python examples/train_rcar.py --output_dir runs/rcar
    python examples/train_rcar.py --robust False --mlm_epochs 0 --output_dir runs/itm
    python examples/train_rcar.py --dataset_config_name part_40 --objects_from tags \
        --output_dir runs/rcar-part
    python examples/train_rcar.py --dataset_name photos/captions.csv --output_dir runs/mine
    accelerate launch examples/train_rcar.py --dataset_name DIR --dataset_config_name cmp_40 \
        --recipe paper --text_model_name_or_path bert-base-uncased \
        --shortlist_model_name_or_path runs/ncr-f30k --output_dir runs/rcar-f30k

Without a dataset it trains on OpenMoji pictures and their names, which need no download. Scoring
all pairs of a split by joint passes is expensive: a two-tower model given by
--shortlist_model_name_or_path makes shortlists that RCAR puts in order.
"""

import sys
from argparse import ArgumentParser
from dataclasses import dataclass, field
from pathlib import Path

import datasets
import torch
from datasets import Dataset, DatasetDict
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoProcessor,
    AutoTokenizer,
    BertConfig,
    HfArgumentParser,
    ResNetConfig,
    ViTImageProcessorPil,
    set_seed,
)
from transformers.utils import logging

from noisy_xmodal import (
    RcarConfig,
    RcarModel,
    RcarProcessor,
    RcarTrainer,
    RcarTrainingArguments,
    RegionFeatureProcessor,
)
from noisy_xmodal.data import (
    PairArguments,
    PairDataset,
    append_boxes,
    counted_noise,
    dataset_label,
    drop_noisy_pairs,
    load_training_pairs,
    validation_facts,
)
from noisy_xmodal.entry.errors import load_part
from noisy_xmodal.entry.options import typed_options
from noisy_xmodal.evaluation import (
    RerankEvaluator,
    RetrievalEvaluator,
    plot_retrieval_examples,
    retrieval_examples,
    score_matrix,
)
from noisy_xmodal.hub.run import data_facts, publish_run, reserve_repository, save_run
from noisy_xmodal.models.rcar.features_rcar import draw_pair_features
from noisy_xmodal.modules import train_word_tokenizer
from noisy_xmodal.modules.pair_scoring import output_scores
from noisy_xmodal.modules.text_limits import set_max_length
from noisy_xmodal.options import Rule, settle_unread
from noisy_xmodal.training.failures import check_output_folder, failures_explained
from noisy_xmodal.training.files import write_json
from noisy_xmodal.training.run import (
    command_line,
    print_retrieval_table,
    run_script,
    train_and_evaluate,
)

#: Defaults of the options below: "small" suits a laptop, "paper" is RCAR's own.
RECIPES = {
    "small": {
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 256,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "text_hidden_layers": 0,
        "initializer_range": 0.05,
        "negatives_per_positive": 7,
        "mask_weight": 0.1,
        "per_device_train_batch_size": 32,
        "num_train_epochs": 16.0,
        "mlm_epochs": 6,
        "warmup_epochs": 12,
        "learning_rate": 1e-3,
        "warmup_steps": 0.1,
        "validation_images": 100,
    },
    "paper": {},
}


@dataclass
class ModelArguments:
    """What the cross-encoder is made of, and RCAR's constants."""

    hidden_size: int = field(default=768, metadata={"help": "Size of a token."})
    num_hidden_layers: int = field(
        default=8, metadata={"help": "Layers of the single-stream transformer."}
    )
    num_attention_heads: int = field(default=8, metadata={"help": "Its heads."})
    intermediate_size: int | None = field(
        default=None,
        metadata={"help": "Hidden size of its feed-forward networks; 4 hidden sizes if none."},
    )
    hidden_dropout: float = field(default=0.1, metadata={"help": "Dropout on its tokens."})
    attention_dropout: float = field(default=0.1, metadata={"help": "Dropout on its attention."})
    initializer_range: float = field(
        default=0.02, metadata={"help": "Standard deviation of fresh weights."}
    )
    image_dropout: float = field(
        default=0.0, metadata={"help": "Dropout on region features or the vision model's output."}
    )
    vision_model_name_or_path: str | None = field(
        default=None,
        metadata={"help": "Pretrained vision model; a small ResNet from scratch if none."},
    )
    text_model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Pretrained text encoder, such as bert-base-uncased; a small BERT from scratch "
            "over the words of the training captions if none."
        },
    )
    text_hidden_layers: int = field(
        default=2,
        metadata={
            "help": "Layers of that small BERT; with 0, words meet in the transformer alone."
        },
    )
    box_geometry: str = field(
        default="none",
        metadata={"help": "What the model reads of the regions' boxes: none, 5d or 7d."},
    )
    box_column: str = field(default="boxes", metadata={"help": "Column of the boxes."})
    negatives_per_positive: int = field(
        default=1, metadata={"help": "Wrong pairs that are made for each given pair."}
    )
    negative_side: str = field(
        default="both", metadata={"help": "What is replaced in them: both, image or text."}
    )
    masking: str = field(
        default="mask",
        metadata={"help": "Masked words: all by [MASK] (mask, the paper) or 80/10/10 (bert)."},
    )
    mask_probability: float = field(default=0.15, metadata={"help": "Share of masked words."})
    mask_weight: float = field(default=1.0, metadata={"help": "Weight of their loss."})
    refurbishment: str = field(
        default="hard", metadata={"help": "Labels by Eq. 11: hard, or soft without its argmax."}
    )
    prediction: str = field(
        default="epoch",
        metadata={"help": "Where Eq. 11 has its prediction from: once an epoch, or the batch."},
    )
    mixture: str = field(
        default="beta", metadata={"help": "Mixture of the losses: beta, gaussian."}
    )

    def __post_init__(self) -> None:
        if self.text_hidden_layers < 0:
            raise ValueError(f"--text_hidden_layers is {self.text_hidden_layers}: give 0 or more.")


@dataclass
class ScoringArguments:
    """How retrieval is measured."""

    shortlist_model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Trained two-tower model whose shortlists are put in order; without it all "
            "pairs of a split are scored."
        },
    )
    shortlist_size: int = field(default=32, metadata={"help": "Answers on a shortlist."})
    validation_images: int | None = field(
        default=None,
        metadata={
            "help": "Keep the first so many images of the validation split, all if none: it is "
            "scored after every epoch."
        },
    )

    def __post_init__(self) -> None:
        for name in ("shortlist_size", "validation_images"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name} is {value}: give at least 1.")


#: When options are read, where they are not always.
OF_WORDS = {
    "min_word_frequency": Rule(
        lambda options: options.text_model_name_or_path is None,
        "the text encoder is a pretrained one, which has words of its own. Leave it out.",
    )
}
MASKS = Rule(
    lambda options: options.mlm_epochs > 0, "no words are masked (--mlm_epochs). Leave it out."
)
REFURBISHES = Rule(
    lambda options: options.robust, "without --robust no label is refurbished. Leave it out."
)
MODEL_RULES = {
    "text_hidden_layers": OF_WORDS["min_word_frequency"],
    **dict.fromkeys(("masking", "mask_probability", "mask_weight"), MASKS),
    **dict.fromkeys(("refurbishment", "prediction", "mixture"), REFURBISHES),
    "box_column": Rule(
        lambda options: options.box_geometry != "none",
        "no boxes are read. Give --box_geometry too, or leave it out.",
    ),
}
SCORING_RULES = {
    "shortlist_size": Rule(
        lambda options: options.shortlist_model_name_or_path is not None,
        "there are no shortlists. Give --shortlist_model_name_or_path too, or leave it out.",
    )
}

Options = tuple[PairArguments, ModelArguments, ScoringArguments, RcarTrainingArguments, str]


def parse(argv: list[str]) -> Options:
    """Read the options; a recipe only changes defaults."""
    first = ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--recipe", choices=list(RECIPES), default="small")
    recipe = first.parse_known_args(argv)[0].recipe
    parser = HfArgumentParser(
        (PairArguments, ModelArguments, ScoringArguments, RcarTrainingArguments)
    )
    parser.add_argument(
        "--recipe",
        choices=list(RECIPES),
        default="small",
        help="Defaults of the other options: small for a laptop, paper for RCAR's own.",
    )
    parser.set_defaults(**RECIPES[recipe])
    data, model, scoring, training, _ = parser.parse_args_into_dataclasses(argv)
    typed = typed_options(parser, argv)
    beside = vars(training) | vars(scoring) | vars(model)
    settle_unread(data, beside, PairArguments, OF_WORDS, typed)
    settle_unread(model, beside, ModelArguments, MODEL_RULES, typed)
    settle_unread(scoring, beside, ScoringArguments, SCORING_RULES, typed)
    return data, model, scoring, training, recipe


def load_data(data: PairArguments, model: ModelArguments) -> DatasetDict:
    """The splits, with boxes behind the features where the model reads them."""
    dataset = load_training_pairs(data)
    if model.box_geometry != "none":
        for split, rows in dataset.items():
            dataset[split] = append_boxes(rows, split, model.box_column)
    if data.drop_noisy_pairs:
        dataset["train"] = drop_noisy_pairs(dataset["train"])
    return dataset


def build_processor(train: Dataset, data: PairArguments, model: ModelArguments) -> RcarProcessor:
    """A processor for the columns that the data has."""
    if "regions" in train.column_names:
        images = RegionFeatureProcessor(train.with_format("numpy")[0]["regions"].shape[-1])
    elif model.vision_model_name_or_path:
        images = load_part(AutoImageProcessor, model.vision_model_name_or_path, backend="pil")
    else:
        images = ViTImageProcessorPil(size={"height": 64, "width": 64})
    if model.text_model_name_or_path:
        words = load_part(AutoTokenizer, model.text_model_name_or_path)
        set_max_length(words, data.max_seq_length)
        return RcarProcessor(images, words)
    captions = (caption for row in train["captions"] for caption in row)
    words = train_word_tokenizer(
        captions, data.min_word_frequency, max_length=data.max_seq_length, mask=True
    )
    return RcarProcessor(images, words)


def build_model(processor: RcarProcessor, args: ModelArguments) -> RcarModel:
    """A fresh cross-encoder, with pretrained encoders where they were asked for."""
    images, words = processor.image_processor, processor.tokenizer
    vision = None
    if args.vision_model_name_or_path:
        vision = load_part(AutoConfig, args.vision_model_name_or_path)
    elif not isinstance(images, RegionFeatureProcessor):
        vision = ResNetConfig(
            embedding_size=32, hidden_sizes=[32, 64, 128, 128], depths=[1] * 4, layer_type="basic"
        )
    text = (
        load_part(AutoConfig, args.text_model_name_or_path)
        if args.text_model_name_or_path
        else BertConfig(
            vocab_size=len(words),
            hidden_size=args.hidden_size,
            num_hidden_layers=args.text_hidden_layers,
            num_attention_heads=args.num_attention_heads,
            intermediate_size=2 * args.hidden_size,
            max_position_embeddings=words.model_max_length,
            initializer_range=args.initializer_range,
            pad_token_id=words.pad_token_id,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
        )
    )
    boxes = 0 if args.box_geometry == "none" else 4
    method = {
        name: getattr(args, name)
        for name in (
            *("hidden_size", "num_hidden_layers", "num_attention_heads", "hidden_dropout"),
            *("attention_dropout", "image_dropout", "box_geometry", "negatives_per_positive"),
            *("negative_side", "masking", "mask_probability", "mask_weight", "refurbishment"),
            *("prediction", "mixture", "initializer_range"),
        )
    }
    sizes = {} if vision else {"region_size": images.region_size - boxes}
    model = RcarModel(
        RcarConfig(
            **sizes,
            vision_config=vision,
            text_config=text,
            intermediate_size=args.intermediate_size or 4 * args.hidden_size,
            **method,
        )
    )
    model.load_backbones(args.vision_model_name_or_path, args.text_model_name_or_path)
    return model


def build_evaluator(
    processor: RcarProcessor, args: ScoringArguments, block_size: int
) -> RetrievalEvaluator | RerankEvaluator:
    """Retrieval among all pairs, or among the shortlists of a two-tower model."""
    name = args.shortlist_model_name_or_path
    if name is None:
        return RetrievalEvaluator(processor, block_size=block_size)
    retriever, reads = load_part(AutoModel, name), load_part(AutoProcessor, name)
    return RerankEvaluator(processor, retriever, reads, args.shortlist_size, block_size)


def method_name(data: PairArguments, training: RcarTrainingArguments) -> str:
    """What the results table calls this run."""
    parts = ["MLM"] if training.mlm_epochs else []
    parts += ["refurbisher"] if training.robust else []
    name = "RCAR" if len(parts) == 2 else " + ".join(["ITM", *parts])
    return f"{name}, noisy pairs dropped by the oracle" if data.drop_noisy_pairs else name


def draw(out: Path, trainer: RcarTrainer, rows: Dataset, seed: int) -> None:
    """The best model's [CLS] in a plane, and what it finds among some images and their captions."""
    model, processor = trainer.model, trainer.processing_class
    try:
        draw_pair_features(out / "features.png", model, processor, trainer.train_dataset, seed)
    except ValueError as error:
        print(f"features.png is not drawn: {error}")
    pairs = PairDataset(rows.select(range(min(100, len(rows)))))
    scores = score_matrix(model, processor, pairs.images, pairs.captions())
    shown = output_scores(model, torch.from_numpy(scores)).numpy()
    examples = retrieval_examples(scores, pairs, seed=seed, values=shown)
    write_json(out / "retrieved.json", examples)
    plot_retrieval_examples(out / "retrieved.png", examples, pairs)


def main(argv: list[str] | None = None) -> dict:
    """Train, evaluate the last and the best checkpoint, write everything to the output folder."""
    argv = sys.argv[1:] if argv is None else argv
    data, model_args, scoring, training, recipe = parse(argv)
    if training.disable_tqdm:
        logging.disable_progress_bar()
        datasets.disable_progress_bars()
    check_output_folder(training)
    reserve_repository(training)
    set_seed(training.seed)
    dataset = load_data(data, model_args)
    processor = build_processor(dataset["train"], data, model_args)
    model = build_model(processor, model_args)
    n_images = len(dataset["validation"])
    n_kept = min(scoring.validation_images or n_images, n_images)
    dataset["validation"] = dataset["validation"].select(range(n_kept))
    trainer = RcarTrainer(
        model,
        training,
        train_dataset=dataset["train"],
        eval_dataset=dataset["validation"],
        processing_class=processor,
        evaluator=build_evaluator(processor, scoring, training.score_block_size),
    )
    splits = {name: dataset[name] for name in ("validation", "test") if name in dataset}
    run = train_and_evaluate(trainer, splits, command_line("examples/train_rcar.py", argv))
    if not training.should_save:
        return {}
    name, config = dataset_label(data)
    run |= data_facts(data.dataset_name, data.dataset_config_name, dataset["train"])
    run |= validation_facts(dataset)
    results = run | {
        "task": "joint pairs",
        "method": method_name(data, training),
        "dataset": name,
        "dataset_config": config,
        "noise": counted_noise(dataset["train"], trainer.train_dataset),
        "recipe": recipe,
        "mlm_epochs": training.mlm_epochs,
        "best_chosen_by": f"{n_kept} of {n_images} validation images",
        "arguments": vars(model_args) | vars(scoring) | {"seed": training.seed},
    }
    with failures_explained(training.output_dir):
        save_run(trainer, results)
        print_retrieval_table(results)
        shown = splits.get("test", dataset["validation"])
        draw(Path(training.output_dir), trainer, shown, training.seed)
        publish_run(trainer, results)
    return results


if __name__ == "__main__":
    run_script(main, PairArguments, ModelArguments, ScoringArguments, RcarTrainingArguments)
