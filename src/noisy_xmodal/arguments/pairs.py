"""Options of the scripts that read pairs of images and captions: which pairs to train on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..noise.noise_types import needs_objects
from ..options import Rule, field_defaults, refuse_unread


def _needs_objects(args: Any) -> bool:
    config = args.inject_noise or (args.dataset_name is None and args.dataset_config_name)
    return needs_objects(str(config))


_OF_A_DATASET = Rule(
    lambda args: args.dataset_name is not None,
    "it is for data of yours. Give --dataset_name too, or leave it out.",
)

#: When an option is read, where it is not always.
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("image_column", "caption_column", "id_column", "on_bad_image"), _OF_A_DATASET),
    "noise_seed": Rule(
        lambda args: args.inject_noise is not None,
        "no noise is put in. Give --inject_noise too, or leave it out.",
    ),
    "objects_from": Rule(
        _needs_objects,
        "the noise needs no object sets. Give --inject_noise part_N, or leave it out.",
    ),
}

#: What can be done with pictures that do not decode.
ON_BAD_IMAGE = ("error", "skip", "ignore")


@dataclass
class PairArguments:
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
            "help": "What to do with pictures that do not decode and rows that lack a picture or a "
            "caption: error, skip, or ignore to train without looking at the pictures first."
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
    max_seq_length: int | None = field(
        default=None,
        metadata={
            "help": "Tokens that are read of a caption; longer ones are cut and counted. If none, "
            "as many as the longest training caption has, at least 64 and at most 256, or what a "
            "pretrained text encoder reads."
        },
    )
    min_word_frequency: int = field(
        default=1, metadata={"help": "Rarer words of the training captions become <unk>."}
    )

    def __post_init__(self) -> None:
        if self.on_bad_image not in ON_BAD_IMAGE:
            raise ValueError(
                f"--on_bad_image is {self.on_bad_image!r}: give one of {', '.join(ON_BAD_IMAGE)}."
            )
        refuse_unread(vars(self), field_defaults(PairArguments), RULES, "--{}")
