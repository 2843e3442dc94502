"""The command line of the scripts in `dataset_scripts/`.

A script names its builder and its additional options:

    @dataclass
    class Arguments(WriteArguments):
        data_dir: str = field(metadata={"help": "..."})

    main(Flickr30k, Arguments)
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...entry.door import enter
from ...entry.options import OptionError, read_options
from ...entry.rules import WRITE
from ..interfaces import script_spelling
from ..protocol import NATURAL
from .base import NoisyPairsBuilder, offered_configs
from .parquet_folder import write_dataset


@dataclass(kw_only=True)
class WriteArguments:
    """The options of all dataset scripts."""

    out: str = field(metadata={"help": "Folder to write; load_dataset(OUT, CONFIG) opens it."})
    configs: list[str] | None = field(
        default=None, metadata={"help": "Configs to write, the default one first."}
    )
    seed: int = field(default=0, metadata={"help": "Seed of the noise; the splits are fixed."})
    overwrite: bool = field(default=False, metadata={"help": "Replace OUT where it exists."})
    push_to_hub: str | None = field(
        default=None, metadata={"help": "ORG/NAME of a dataset repository to upload OUT to."}
    )
    private: bool = field(default=False, metadata={"help": "Make that repository private."})
    compact: bool = field(
        default=False,
        metadata={
            "help": "Store pictures and features once for all configs. For a local disk only: "
            "reading is slower, and readers other than `datasets` see all configs mixed."
        },
    )


@dataclass(kw_only=True)
class CaptionNoiseArguments(WriteArguments):
    """The options of scripts for datasets with captions."""

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


def main(
    builder_class: type[NoisyPairsBuilder],
    arguments_class: type[WriteArguments],
    argv: Sequence[str] | None = None,
) -> None:
    """Reads the options, writes the folder and prints its content.

    Args:
        builder_class: The dataset.
        arguments_class: Its options, with the names of `write_dataset` and of the builder.
        argv: The options; by default those of the process.
    """
    enter(
        lambda: _write(builder_class, arguments_class, argv),
        after_stop="Nothing is half-written.",
        spell=script_spelling(arguments_class),
    )


def _write(
    builder_class: type[NoisyPairsBuilder],
    arguments_class: type[WriteArguments],
    argv: Sequence[str] | None,
) -> None:
    description = sys.modules["__main__"].__doc__
    arguments = read_options(arguments_class, WRITE, argv, description, _epilog(builder_class))
    options: dict[str, Any] = {k: v for k, v in vars(arguments).items() if v is not None}
    configs = arguments.configs or builder_class.DEFAULT_CONFIGS
    need_objects = [t for t in builder_class.noise_types() if "objects" in t.needs]
    names = [name for noise_type in need_objects for name in noise_type.config_names()]
    if "objects_from" in options and set(names).isdisjoint(configs):
        raise OptionError(
            "--objects_from does nothing without a config of noise that needs object sets: add one "
            f"to --configs, such as {names[1]}, or leave it out"
        )
    splits = write_dataset(builder_class, **options)
    for name, split in splits.items():
        captions = f", {split.n_captions:,} captions" if split.n_captions else ""
        notes = "".join(f"\n  {note}" for note in split.facts.notes)
        print(f"{name}: {len(split):,} rows{captions}{notes}")
    config = (arguments.configs or builder_class.DEFAULT_CONFIGS)[0]
    print(f'Load it with: datasets.load_dataset("{arguments.out}", "{config}")')
    if arguments.push_to_hub:
        print(f'or with: datasets.load_dataset("{arguments.push_to_hub}", "{config}")')


def _epilog(builder_class: type[NoisyPairsBuilder]) -> str:
    text = f"Configs: {offered_configs(builder_class)}."
    if builder_class.DEFAULT_CONFIGS != (NATURAL,):
        text += f" Written by default: {', '.join(builder_class.DEFAULT_CONFIGS)}."
    return text
