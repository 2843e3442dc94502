"""A tiny trainer of any method for pairs with classes, on the made-up world of `toy_labels`."""

from pathlib import Path
from typing import Any

from transformers import set_seed

from noisy_xmodal import (
    CommonSpaceProcessor,
    LabelDataset,
    LabelTrainingArguments,
    RobustTrainer,
    build_label_model,
)
from noisy_xmodal.methods import LABEL_METHODS
from toy_labels import toy_labels


def tiny_label_model(method: str, **fields: Any) -> Any:
    """The method's model for the made-up world: 12 hidden numbers, 4 to 8 in the common space."""
    sizes: dict[str, Any] = {"hidden_sizes": [12], "embedding_size": 8}
    if "canonical_size" in LABEL_METHODS[method].shape:
        sizes |= {"embedding_size": 4, "canonical_size": 3}
    return build_label_model(method, LabelDataset(toy_labels()), **sizes | fields)


def make_label_trainer(
    method: str,
    out: Path,
    train: Any = None,
    fields: dict[str, Any] | None = None,
    model_seed: int = 0,
    model: Any = None,
    **options: Any,
) -> RobustTrainer:
    """A trainer on 120 pairs with 40 % of noise, in batches of 30; two epochs by default.

    Args:
        method: A name in `LABEL_METHODS`.
        out: Output folder.
        train: Training rows or pairs instead.
        fields: Fields of the model's config.
        model_seed: Seed of the fresh weights.
        model: A model instead of a fresh one.
        options: Training arguments; `eval_dataset` and `callbacks` go to the trainer.
    """
    set_seed(model_seed)
    kind = LABEL_METHODS[method]
    model = tiny_label_model(method, **fields or {}) if model is None else model
    passed = {name: options.pop(name) for name in ("callbacks",) if name in options}
    validation = options.pop("eval_dataset", toy_labels(40, seed=1))
    arguments = {
        **kind.recipe,
        "num_train_epochs": 2,
        "warmup_epochs": 1 if "warmup_epochs" in kind.recipe else 0,
        "per_device_train_batch_size": 30,
        "learning_rate": 1e-2,
        "save_total_limit": None,
        "load_best_model_at_end": False,
        "disable_tqdm": True,
        "use_cpu": True,
        "plot_divisions": False,
    }
    return RobustTrainer(
        model,
        LabelTrainingArguments(output_dir=str(out), **arguments | options),
        kind(),
        toy_labels(noise="sym_40") if train is None else train,
        eval_dataset=validation,
        processing_class=CommonSpaceProcessor(),
        **passed,
    )


def weights(trainer: RobustTrainer) -> dict[str, Any]:
    """A copy of everything that the model holds."""
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}
