"""Options of the scripts that train on images and captions: the pairs."""

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
    "it needs --dataset_name. Give that too, or leave it out.",
)

#: When options are read, if not always.
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("image_column", "caption_column", "id_column", "on_bad_image"), _OF_A_DATASET),
    "noise_seed": Rule(
        lambda args: args.inject_noise is not None,
        "no noise is injected. Give --inject_noise too, or leave it out.",
    ),
    "objects_from": Rule(
        _needs_objects,
        "the noise needs no object sets. Give --inject_noise part_N, or leave it out.",
    ),
}

#: Choices for pictures that do not decode.
ON_BAD_IMAGE = ("error", "skip", "ignore")


@dataclass
class PairArguments:
    """Which pairs to train on."""

    dataset_name: str | None = field(
        default=None,
        metadata={
            "help": "Hub dataset, folder (Parquet, pictures with a table of captions, WebDataset "
            "shards) or file (.csv, .tsv, .jsonl, .parquet, .tar); OpenMoji by default."
        },
    )
    dataset_config_name: str | None = field(
        default=None,
        metadata={
            "help": "Its config, which names the noise; needed if there are several. cmp_40 of "
            "OpenMoji by default."
        },
    )
    image_column: str | None = field(
        default=None, metadata={"help": "Column of the image, if it is not detected."}
    )
    caption_column: str | None = field(
        default=None, metadata={"help": "Column of the captions, if it is not detected."}
    )
    id_column: str | None = field(
        default=None, metadata={"help": "Column of the image id, if it is not detected."}
    )
    on_bad_image: str = field(
        default="error",
        metadata={
            "help": "What to do with pictures that do not decode and rows without a picture or a "
            "caption: error, skip, or ignore to train without checking the pictures first."
        },
    )
    inject_noise: str | None = field(
        default=None,
        metadata={"help": "Noise to inject into clean training pairs first, such as cmp_40."},
    )
    noise_seed: int = field(default=0, metadata={"help": "Seed of that noise."})
    objects_from: str | None = field(
        default=None,
        metadata={
            "help": "Source of the object sets of part_N, if the data has none: tags or captions "
            "(their nouns)."
        },
    )
    validation_share: float = field(
        default=0.1,
        metadata={
            "help": "Share of the training images to hold out if there is no validation split."
        },
    )
    drop_noisy_pairs: bool = field(
        default=False,
        metadata={
            "help": "Drop the wrong pairs by the oracle before training: an upper bound for "
            "comparisons, not a method."
        },
    )
    record_course: bool = field(
        default=False,
        metadata={
            "help": "Measure after each epoch on test, too, and on the right validation pairs by "
            "the oracle, and record all in curve.json: shows what choosing the epoch on clean "
            "pairs would give. It chooses nothing."
        },
    )
    max_seq_length: int | None = field(
        default=None,
        metadata={
            "help": "Length of a caption in tokens; longer ones are truncated and counted. By "
            "default that of the longest training caption, from 64 to 256, or of a pretrained "
            "text encoder."
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
