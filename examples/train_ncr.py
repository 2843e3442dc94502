"""Train NCR, or the same two networks without it, on noisy image-text pairs.

    python examples/train_ncr.py --output_dir runs/ncr
    python examples/train_ncr.py --robust False --output_dir runs/plain
    python examples/train_ncr.py --dataset_name photos/captions.csv --output_dir runs/mine
    accelerate launch examples/train_ncr.py --dataset_name DIR --dataset_config_name cmp_40 \
        --recipe paper --output_dir runs/ncr-f30k

Without a dataset it trains on OpenMoji pictures and their names, which need no download.
"""

import json
import sys
from argparse import ArgumentParser
from dataclasses import dataclass, field
from pathlib import Path

import datasets
from datasets import Dataset, DatasetDict
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
    DatasetError,
    config_names,
    drop_noisy_pairs,
    hold_out_validation,
    inject_noise,
    keep_good_pictures,
    load_pairs,
    noise_protocol,
)
from noisy_xmodal.data.builders import load_openmoji
from noisy_xmodal.hub import write_model_card
from noisy_xmodal.modules import train_word_tokenizer
from noisy_xmodal.training import train_and_evaluate
from noisy_xmodal.training.files import write_json

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
class DataArguments:
    """Which pairs to train on."""

    dataset_name: str | None = field(
        default=None,
        metadata={
            "help": "Hub dataset, folder (Parquet, pictures with a table of captions, WebDataset "
            "shards) or file (.csv, .tsv, .jsonl, .parquet, .tar); OpenMoji when left out."
        },
    )
    dataset_config_name: str | None = field(
        default=None,
        metadata={
            "help": "Its configuration, which names the noise; needed where there are several. "
            "OpenMoji's is cmp_40 when left out."
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
    on_bad_image: str = field(
        default="error",
        metadata={
            "help": "What to do with pictures that do not decode: error, skip, or ignore to train "
            "without looking at them first."
        },
    )
    inject_noise: str | None = field(
        default=None,
        metadata={"help": "Noise to put into clean training pairs first, such as cmp_40."},
    )
    noise_seed: int = field(default=0, metadata={"help": "Seed of that noise."})
    objects_from: str | None = field(
        default=None,
        metadata={
            "help": "What part_N takes for the objects of a picture, where nobody has annotated "
            "them: tags or captions (their nouns)."
        },
    )
    validation_share: float = field(
        default=0.1,
        metadata={
            "help": "Share of the training images to hold out where there is no split validation."
        },
    )
    drop_noisy_pairs: bool = field(
        default=False,
        metadata={
            "help": "Drop the wrong pairs by the oracle before training: an upper mark for "
            "comparisons, never a method."
        },
    )
    min_word_frequency: int = field(
        default=1, metadata={"help": "Rarer words of the training captions become <unk>."}
    )


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


def parse(argv: list[str]) -> tuple[DataArguments, ModelArguments, RobustTrainingArguments, str]:
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
    parser = HfArgumentParser((DataArguments, ModelArguments, RobustTrainingArguments))
    parser.add_argument(
        "--recipe",
        choices=list(RECIPES),
        default="small",
        help="Defaults of the other options: small for a laptop, paper for NCR's own.",
    )
    parser.set_defaults(**defaults)
    data, model, training, _ = parser.parse_args_into_dataclasses(argv)
    return data, model, training, recipe


def load_data(args: DataArguments) -> DatasetDict:
    """The dataset by name and configuration, wherever it lives, with train and validation."""
    if args.dataset_name is None:
        args.dataset_config_name = args.dataset_config_name or "cmp_40"
        dataset = load_openmoji(args.dataset_config_name, objects_from=args.objects_from)
    else:
        configs = config_names(args.dataset_name)
        if args.dataset_config_name is None and len(configs) > 1:
            raise DatasetError(
                f"{args.dataset_name} has the configs {', '.join(configs)}: choose one with "
                "--dataset_config_name."
            )
        dataset = load_pairs(
            args.dataset_name,
            args.dataset_config_name,
            image_column=args.image_column,
            caption_column=args.caption_column,
            id_column=args.id_column,
        )
        if args.on_bad_image != "ignore":
            for split, rows in dataset.items():
                dataset[split], notes = keep_good_pictures(rows, split, args.on_bad_image)
                print(*notes, sep="\n", end="\n" if notes else "")
    if "train" not in dataset:
        raise DatasetError(
            f"{args.dataset_name} has no split 'train'; it has {', '.join(dataset)}."
        )
    if "validation" not in dataset:
        dataset = hold_out_validation(dataset, args.validation_share)
        n_held_out = len(dataset["validation"])
        print(f"There is no split 'validation': {n_held_out} training images are held out for it.")
    if args.inject_noise is not None:
        dataset = inject_noise(
            dataset, args.inject_noise, seed=args.noise_seed, objects_from=args.objects_from
        )
    return dataset


def build_processor(train: Dataset, data: DataArguments, model: ModelArguments) -> NcrProcessor:
    """A processor for the columns that the data has."""
    if "regions" in train.column_names:
        row = train.with_format("numpy")[0]["regions"]
        images = RegionFeatureProcessor(region_size=row.shape[-1])
    elif model.vision_model_name_or_path:
        images = AutoImageProcessor.from_pretrained(model.vision_model_name_or_path, backend="pil")
    else:
        images = ViTImageProcessorPil(size={"height": 64, "width": 64})
    if model.text_model_name_or_path:
        tokenizer = AutoTokenizer.from_pretrained(model.text_model_name_or_path)
    else:
        captions = (caption for row in train["captions"] for caption in row)
        tokenizer = train_word_tokenizer(captions, min_frequency=data.min_word_frequency)
    return NcrProcessor(images, tokenizer)


def build_model(processor: NcrProcessor, args: ModelArguments) -> NcrModel:
    """Two fresh networks, with pretrained encoders where they were asked for."""
    vision = text = None
    if not isinstance(processor.image_processor, RegionFeatureProcessor):
        vision = (
            AutoConfig.from_pretrained(args.vision_model_name_or_path)
            if args.vision_model_name_or_path
            else ResNetConfig(
                embedding_size=32, hidden_sizes=[32, 64, 128], depths=[1, 1, 1], layer_type="basic"
            )
        )
    if args.text_model_name_or_path:
        text = AutoConfig.from_pretrained(args.text_model_name_or_path)
    model = NcrModel(
        NcrConfig(
            vision_config=vision,
            region_size=getattr(processor.image_processor, "region_size", 2048),
            text_config=text,
            word_encoder=args.word_encoder,
            vocab_size=len(processor.tokenizer),
            word_size=args.word_size,
            hidden_size=args.hidden_size,
            dropout=args.dropout,
            image_dropout=args.image_dropout,
            normalize_tokens=args.normalize_tokens,
            similarity=args.similarity,
            similarity_options=json.loads(args.similarity_options),
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


def method_name(data: DataArguments, training: RobustTrainingArguments) -> str:
    """What the results table calls this run."""
    name = "NCR" if training.robust else "plain"
    return f"{name}, noisy pairs dropped by the oracle" if data.drop_noisy_pairs else name


def print_table(results: dict) -> None:
    """Retrieval on every evaluated split, last epoch and best on validation."""
    columns = ["i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "rsum"]
    print(f"\n{results['method']} on {results['dataset']} {results['dataset_config']}")
    print(f"{'':28}" + "".join(f"{column:>9}" for column in columns))
    for checkpoint in ("last", "best"):
        for split, metrics in results[checkpoint].items():
            label = f"{checkpoint} epoch, {split}"
            print(f"{label:28}" + "".join(f"{metrics[column]:9.1f}" for column in columns))


def main(argv: list[str] | None = None) -> dict:
    """Train, evaluate the last and the best checkpoint, write everything to the output folder."""
    argv = sys.argv[1:] if argv is None else argv
    data, model_args, training, recipe = parse(argv)
    if training.disable_tqdm:
        logging.disable_progress_bar()
        datasets.disable_progress_bars()
    set_seed(training.seed)
    dataset = load_data(data)
    protocol = noise_protocol(dataset["train"])
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
    run = train_and_evaluate(trainer, splits, "python examples/train_ncr.py " + " ".join(argv))
    if not training.should_save:
        return {}
    results = run | {
        "method": method_name(data, training),
        "dataset": Path(data.dataset_name).name if data.dataset_name else "openmoji",
        "dataset_config": data.inject_noise or data.dataset_config_name or "default",
        "noise": protocol,
        "recipe": recipe,
        "arguments": vars(model_args) | {"seed": training.seed},
        "best_single_networks": {
            split: [trainer.evaluator(peer, rows) for peer in trainer.model.peers]
            for split, rows in splits.items()
        },
    }
    out = Path(training.output_dir)
    trainer.save_model(str(out))
    write_json(out / "results.json", results)
    write_model_card(out, results)
    print_table(results)
    print(f"\nLoad it:  import noisy_xmodal; AutoModel.from_pretrained({str(out)!r})")
    return results


if __name__ == "__main__":
    try:
        main()
    except (DatasetError, FileExistsError) as error:
        sys.exit(f"error: {error}")
