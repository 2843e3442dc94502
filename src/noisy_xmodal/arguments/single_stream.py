"""Options of `train_rcar.py`: a single-stream model, its method, how retrieval is measured."""

from dataclasses import dataclass, field
from typing import Any, Literal

from .published import published_recipes

#: Defaults of the options below: "small" is for small models and short runs, the others are the
#: published ones of the script's first method.
RECIPES: dict[str, dict[str, Any]] = {
    "small": {
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 256,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "vision_training": "frozen",
        "text_hidden_layers": 0,
        "text_training": "frozen",
        "initializer_range": 0.05,
        "negatives_per_positive": 7,
        "mask_weight": 0.1,
        "per_device_train_batch_size": 32,
        "num_train_epochs": 16.0,
        "mlm_epochs": 6,
        "warmup_epochs": 12,
        "learning_rate": 1e-3,
        "encoder_learning_rate": 1e-4,
        "warmup_steps": 0.1,
        "validation_images": 100,
    },
    **published_recipes("rcar"),
}


@dataclass
class SingleStreamArguments:
    """The method, what the single-stream model is made of, and the constants of RCAR."""

    method: str = field(
        default="rcar",
        metadata={"help": "Method by its name in CAPTION_METHODS; an unknown name lists them all."},
    )
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
        metadata={
            "help": "Pretrained vision model: imagenet, a folder or a name of the Hub; a small "
            "ResNet from scratch if none."
        },
    )
    vision_training: Literal["full", "frozen"] = field(
        default="full",
        metadata={
            "help": "What is trained of a pretrained vision model. The outputs of a frozen one "
            "are computed once."
        },
    )
    text_model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Pretrained text encoder, such as minilm or bert-base-uncased; a small BERT "
            "from scratch over the words of the training captions if none."
        },
    )
    text_hidden_layers: int = field(
        default=2,
        metadata={
            "help": "Layers of that small BERT; with 0, words meet in the transformer alone."
        },
    )
    text_training: Literal["full", "frozen"] = field(
        default="full", metadata={"help": "What is trained of a pretrained text encoder."}
    )
    stream_start: Literal["fresh", "text"] = field(
        default="fresh",
        metadata={
            "help": "Layers of the transformer: fresh, or the last ones of the pretrained text "
            "encoder (text), whose sizes they have."
        },
    )
    box_geometry: Literal["none", "5d", "7d"] = field(
        default="none", metadata={"help": "What the model reads of the regions' boxes."}
    )
    box_column: str = field(default="boxes", metadata={"help": "Column of the boxes."})
    negatives_per_positive: int = field(
        default=1, metadata={"help": "Wrong pairs that are made for each given pair."}
    )
    negatives: Literal["random", "similar"] = field(
        default="random",
        metadata={
            "help": "Which they are; similar: every second one is drawn by the probabilities of "
            "the shortlist model."
        },
    )
    negative_side: Literal["both", "image", "text"] = field(
        default="both", metadata={"help": "What is replaced in them."}
    )
    masking: Literal["mask", "bert"] = field(
        default="mask",
        metadata={"help": "Masked words: all by [MASK] (mask, the paper) or 80/10/10 (bert)."},
    )
    mask_probability: float = field(default=0.15, metadata={"help": "Share of masked words."})
    mask_weight: float = field(default=1.0, metadata={"help": "Weight of their loss."})
    refurbishment: Literal["hard", "soft"] = field(
        default="hard", metadata={"help": "Labels by Eq. 11: hard, or soft without its argmax."}
    )
    prediction: Literal["epoch", "batch"] = field(
        default="epoch",
        metadata={"help": "Where Eq. 11 has its prediction from: once an epoch, or the batch."},
    )
    mixture: Literal["beta", "gaussian"] = field(
        default="beta", metadata={"help": "Mixture of the losses."}
    )
    method_options: str = field(
        default="{}",
        metadata={"help": 'Further constants of the method as JSON, such as {"name": 0.5}.'},
    )

    def __post_init__(self) -> None:
        if self.text_hidden_layers < 0:
            raise ValueError(f"--text_hidden_layers is {self.text_hidden_layers}: give 0 or more.")
        if self.negatives not in ("random", "similar"):
            raise ValueError(f"--negatives is {self.negatives!r}: give random or similar.")


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
    shortlist_weight: float = field(
        default=0.0,
        metadata={
            "help": "Weight of the shortlist model's score that is added to the log-odds; with 0 "
            "these alone order a shortlist."
        },
    )
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
