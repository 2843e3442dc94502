"""Options of `train_dmcm.py`: pairs with classes, and the method that trains on them."""

from dataclasses import dataclass, field
from typing import Any, Literal

from ..options import Rule, field_defaults, refuse_unread
from .published import published_recipes

#: Defaults of the options below: "small" is for small models and short runs, the others are the
#: published ones of the script's first method.
RECIPES: dict[str, dict[str, Any]] = {
    "small": {"hidden_size": 256, "num_train_epochs": 60.0, "learning_rate": 1e-3},
    **published_recipes("dmcm"),
}

_OF_A_DATASET = Rule(
    lambda args: args.dataset_name is not None,
    "it is for data of yours. Give --dataset_name too, or leave it out.",
)

#: When an option is read, where it is not always.
_DATA_RULES = {
    **dict.fromkeys(
        (
            *("label_column", "image_label_column", "text_label_column"),
            *("image_column", "text_column"),
        ),
        _OF_A_DATASET,
    ),
    "noise_seed": Rule(
        lambda args: args.inject_noise is not None,
        "no noise is put in. Give --inject_noise too, or leave it out.",
    ),
}
_DIVIDES = Rule(
    lambda options: options.robust, "without --robust no sample is divided or mixed. Leave it out."
)
METHOD_RULES = {
    "freeze_backbone": Rule(
        lambda options: options.backbone_name_or_path is not None,
        "there is no backbone. Give --backbone_name_or_path too, or leave it out.",
    ),
    **dict.fromkeys(("noise_rate", "clean_threshold", "mixing_weight"), _DIVIDES),
    "mixture_scope": Rule(
        lambda options: options.robust and options.mixing_weight != 1,
        "batches are divided to mix their samples, which needs --robust and a --mixing_weight "
        "below 1. Leave it out.",
    ),
}

#: Options that are constants of some method; None where the method's own stands.
CONSTANTS = (
    "beta",
    "class_loss",
    "noise_rate",
    "clean_threshold",
    "mixing_weight",
    "mixture_scope",
)


@dataclass
class LabelDataArguments:
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
        refuse_unread(vars(self), field_defaults(LabelDataArguments), _DATA_RULES, "--{}")


@dataclass
class LabelMethodArguments:
    """Which method, what its model is made of, and its constants."""

    method: str = field(
        default="dmcm",
        metadata={"help": "Method by its name in LABEL_METHODS; an unknown name lists them all."},
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
            "aliases": ["--backbone"],
            "help": "Pretrained model that reads pictures and texts: a two-tower model, such as "
            "CLIP, or VISION+TEXT, such as imagenet+minilm.",
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
            "noise protocol asked for, or estimated, by the mixture, the default of --recipe small."
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
    mixture_scope: Literal["epoch", "batch"] | None = field(
        default=None,
        metadata={"help": "DMCM: a mixture for each epoch (the default) or for each batch."},
    )
    method_options: str = field(
        default="{}",
        metadata={"help": 'Further constants of the method as JSON, such as {"alpha": 0.3}.'},
    )
