"""The command that the scripts of `dataset_scripts/` share."""

import sys
from collections.abc import Sequence
from typing import Any

from ...arguments.datasets import WriteArguments
from ...entry.door import enter
from ...entry.limits import WRITE
from ...entry.options import OptionError, read_options
from ...noise.noise_types import needs_objects
from ..messages import script_spelling
from ..writing import write_dataset
from .base import NoisyPairsBuilder


def main(
    builder_class: type[NoisyPairsBuilder],
    arguments_class: type[WriteArguments],
    argv: Sequence[str] | None = None,
) -> None:
    """Read the options, write the folder and print its content.

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
    arguments = read_options(arguments_class, WRITE, argv, description)
    options: dict[str, Any] = {k: v for k, v in vars(arguments).items() if v is not None}
    configs = arguments.configs or builder_class.DEFAULT_CONFIGS
    if "objects_from" in options and not any(map(needs_objects, configs)):
        raise OptionError(
            "--objects_from does nothing without a config of noise that needs object sets: add one "
            "to --configs, such as part_20, or leave it out"
        )
    splits = write_dataset(builder_class, **options)
    for name, split in splits.items():
        captions = f", {split.n_captions:,} captions" if split.n_captions else ""
        notes = "".join(f"\n  {note}" for note in split.notes)
        print(f"{name}: {len(split):,} rows{captions}{notes}")
    config = (arguments.configs or builder_class.DEFAULT_CONFIGS)[0]
    print(f'Load it with: datasets.load_dataset("{arguments.out}", "{config}")')
    if arguments.push_to_hub:
        print(f'or with: datasets.load_dataset("{arguments.push_to_hub}", "{config}")')
