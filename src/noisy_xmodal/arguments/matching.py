"""Options of `train_ncr.py`: the networks of a matching model, and the method that trains them."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from .published import published_recipes

_SMALL_HEAD = {"image_pooling": "attention", "projection": True, "shortcut": True}

#: Defaults of the options below: "small" is for small models and short runs, the others are the
#: published ones of the script's first method.
RECIPES: dict[str, dict[str, Any]] = {
    "small": {
        "similarity": "cosine",
        "similarity_options": json.dumps(_SMALL_HEAD),
        "normalize_tokens": False,
        "dropout": 0.2,
        "objective": "infonce",
        "vision_training": "frozen",
        "text_training": "frozen",
        "words_beside": True,
        "word_encoder": "words",
        "word_size": 256,
        "hidden_size": 256,
        "min_word_frequency": 1,
        "warmup_epochs": 2,
        "num_train_epochs": 6.0,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "cosine",
    },
    **published_recipes("ncr"),
}

#: Learning rate of a backbone: that of a recipe destroys pretrained weights.
BACKBONE_LEARNING_RATE = 1e-5
#: The same where both towers are frozen and their projections are trained.
FROZEN_LEARNING_RATE = 3e-4
#: The same where low-rank adapters are trained in place of its weights.
ADAPTER_LEARNING_RATE = 1e-4


@dataclass
class MatchingArguments:
    """The method, what each network is made of, and the constants of NCR."""

    method: str = field(
        default="ncr",
        metadata={"help": "Method by its name in CAPTION_METHODS; an unknown name lists them all."},
    )
    similarity: str = field(
        default="cosine",
        metadata={
            "help": "Similarity head: cosine, scan_t2i, scan_i2t, saf, sgr, sgraf_joint, imram, "
            "vsrn or teran."
        },
    )
    similarity_options: str = field(
        default="{}", metadata={"help": 'Options of the head as JSON, such as {"dropout": 0.2}.'}
    )
    word_encoder: Literal["bigru", "gru", "words"] = field(
        default="bigru", metadata={"help": "Word-level text encoder."}
    )
    vision_training: Literal["full", "lora", "frozen"] = field(
        default="full",
        metadata={
            "help": "What is trained of a pretrained vision model; lora are low-rank adapters. "
            "The outputs of a frozen one are computed once."
        },
    )
    text_training: Literal["full", "lora", "frozen"] = field(
        default="full", metadata={"help": "What is trained of a pretrained text encoder, likewise."}
    )
    text_layers: int = field(
        default=0,
        metadata={
            "help": "Last layers of a frozen text encoder (a BERT or RoBERTa, such as minilm) that "
            "are trained nevertheless; what the layers below make of a text is computed once."
        },
    )
    lora_rank: int = field(default=8, metadata={"help": "Rank of low-rank adapters."})
    words_beside: bool = field(
        default=False,
        metadata={"help": "A word-level encoder of the same tokens beside a pretrained one."},
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
    region_layers: int = field(
        default=0,
        metadata={
            "help": "Transformer layers over region features, as in TERAN, whose size 4 divides."
        },
    )
    box_geometry: Literal["none", "5d", "7d"] = field(
        default="none", metadata={"help": "What these layers read of the regions' boxes."}
    )
    box_column: str = field(default="boxes", metadata={"help": "Column of the boxes."})
    captioner_size: int = field(
        default=0,
        metadata={"help": "Size of the states of the captioner that --method vsrn trains."},
    )
    backbone_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Pretrained two-tower model, such as CLIP or SigLIP, as the network: its own "
            "encoders, projections and temperature; clip-vit-b32 and clip-vit-l14 are OpenAI's. By "
            "default it is trained in full at --learning_rate 1e-5, without a warm-up. Or "
            "VISION+TEXT, such as imagenet+minilm, with new projections."
        },
    )
    vision_model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Pretrained vision model: imagenet, a folder or a name of the Hub; a small "
            "ResNet from scratch if none."
        },
    )
    text_model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Pretrained text encoder: minilm, a folder or a name of the Hub; the "
            "word-level one if none."
        },
    )
    objective: Literal["triplet", "mean_triplet", "sum_triplet", "infonce", "soft_infonce"] = field(
        default="infonce", metadata={"help": "Loss that targets enter."}
    )
    margin: float = field(default=0.2, metadata={"help": "alpha of NCR's Eq. 2 and 7."})
    soft_margin: Literal["exponential", "linear", "sine"] = field(
        default="exponential", metadata={"help": "Curve of Eq. 7."}
    )
    curve: float = field(default=10.0, metadata={"help": "m of Eq. 7."})
    rectification: Literal["epoch", "batch"] = field(
        default="epoch", metadata={"help": "Rectify targets once an epoch or for every batch."}
    )
    co_rectify: bool = field(
        default=True, metadata={"help": "False: co-divide alone, the paper's ablation."}
    )
    co_divide: bool = field(
        default=True, metadata={"help": "False: co-rectify alone, the paper's ablation."}
    )
    method_options: str = field(
        default="{}",
        metadata={"help": 'Further constants of the method as JSON, such as {"margin": 0.3}.'},
    )
    draw_features: bool = field(
        default=False,
        metadata={
            "help": "Draw training pairs and constructed negatives by t-SNE, for one network whose "
            "head is cosine or scan: features.png."
        },
    )
