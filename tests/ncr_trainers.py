"""A tiny trainer of NCR on the made-up world of `toy_pairs`."""

from pathlib import Path
from typing import Any

from transformers import set_seed

from noisy_xmodal import (
    NcrConfig,
    NcrModel,
    NcrProcessor,
    RegionFeatureProcessor,
    RobustTrainer,
    RobustTrainingArguments,
    train_word_tokenizer,
)
from noisy_xmodal.methods import Ncr
from noisy_xmodal.noise import CompleteMismatch
from toy_pairs import REGION_SIZE, toy_pairs


def make_ncr(
    out: Path,
    train: Any = None,
    validation: Any = None,
    words: Any = None,
    fields: dict[str, Any] | None = None,
    callbacks: Any = (),
    **options: Any,
) -> RobustTrainer:
    """A trainer on 120 pairs with 40 % of noise, in batches of 32; four epochs by default.

    Args:
        out: Output folder.
        train: Training rows instead.
        validation: Validation rows instead of 20 images.
        words: Captions of which the vocabulary is made, instead of those of the clean pairs.
        fields: Fields of the model's config.
        callbacks: For the trainer.
        options: Training arguments.
    """
    set_seed(0)
    if words is None:
        words = [caption for row in toy_pairs()["captions"] for caption in row]
    processor = NcrProcessor(RegionFeatureProcessor(REGION_SIZE), train_word_tokenizer(words))
    sizes = {"word_encoder": "words", "word_size": 8, "hidden_size": 8, "dropout": 0.1}
    network = sizes | {"similarity": "cosine", "objective": "infonce"} | (fields or {})
    config = NcrConfig(
        **{"region_size": REGION_SIZE, "vocab_size": len(processor.tokenizer)} | network
    )
    arguments = {
        "num_train_epochs": 4,
        "warmup_epochs": 1,
        "per_device_train_batch_size": 32,
        "learning_rate": 1e-2,
        "disable_tqdm": True,
        "use_cpu": True,
        "plot_divisions": False,
    }
    return RobustTrainer(
        NcrModel(config),
        RobustTrainingArguments(output_dir=str(out), **arguments | options),
        Ncr(),
        toy_pairs(noise=CompleteMismatch(0.4, "caption")) if train is None else train,
        eval_dataset=toy_pairs(20, seed=1) if validation is None else validation,
        processing_class=processor,
        callbacks=callbacks,
    )
