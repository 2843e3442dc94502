"""Options of the scripts in `dataset_scripts/`, without the datasets themselves."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..noise.noise_types import listed_configs, types_for

CAPTION_DEFAULT = "clean cmp_20 cmp_40 cmp_60"
LABEL_DEFAULT = "clean sym_20 sym_40 sym_60 sym_80"


def configs_help(facts: Sequence[str], default: str) -> dict[str, str]:
    """The metadata of the option --configs.

    Args:
        facts: What the dataset has, as `NoisyPairsBuilder.FACTS`; empty if it offers no noise.
        default: The configs to write by default, the first of them first.
    """
    offered = listed_configs(default.split()[0], types_for(facts) if facts else [])
    text = f"Configs to write, the default one first: {offered}. {default} when left out."
    return {"help": text}


@dataclass(kw_only=True)
class WriteArguments:
    """The options of all dataset scripts, for a dataset that was collected with noise."""

    out: str = field(metadata={"help": "Folder to write; load_dataset(OUT, CONFIG) opens it."})
    configs: list[str] | None = field(default=None, metadata=configs_help((), "natural"))
    seed: int = field(default=0, metadata={"help": "Seed of the noise; the splits are fixed."})
    overwrite: bool = field(default=False, metadata={"help": "Replace OUT where it exists."})
    push_to_hub: str | None = field(
        default=None, metadata={"help": "ORG/NAME of a dataset repository to upload OUT to."}
    )
    private: bool = field(default=False, metadata={"help": "Make that repository private."})


@dataclass(kw_only=True)
class LabelNoiseArguments(WriteArguments):
    """The options of scripts for datasets with class labels alone."""

    configs: list[str] | None = field(
        default=None, metadata=configs_help(("labels",), LABEL_DEFAULT)
    )


@dataclass(kw_only=True)
class CaptionNoiseArguments(WriteArguments):
    """The options of scripts for datasets with captions."""

    configs: list[str] | None = field(
        default=None, metadata=configs_help(("captions", "objects"), CAPTION_DEFAULT)
    )
    noise_index: str | None = field(
        default=None,
        metadata={
            "help": "Published noise-index file (.npy) to use for the one noisy config instead of "
            "drawing the noise."
        },
    )
    objects_from: str | None = field(
        default=None,
        metadata={
            "help": "Derive the object sets of part_N from 'tags' or 'captions' (their nouns), if "
            "the dataset has none."
        },
    )


@dataclass(kw_only=True)
class PictureArguments(WriteArguments):
    """The options of scripts for datasets with pictures."""

    on_bad_image: str = field(
        default="error",
        metadata={"help": "'error', or 'skip' to leave out pictures that do not decode."},
    )
