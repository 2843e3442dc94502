"""The built-in dataset with classes: OpenMoji pictures, their names, and the nine Unicode groups.

    load_openmoji_labels("sym_40")

A row is one pair with a class, for methods that learn a common space with wrong labels. It has both
sides as vectors, `image_features` and `text_features`, and also the picture and its captions.
Nothing is downloaded, and no pretrained network is needed: `picture_features` and
`caption_features` compute each vector from its own picture or caption, without class and topic
words, so they also apply to new ones.

Variants of an emoji by skin tone, gender or direction are one picture here (`base_of`). Otherwise
People & Body would be three fifths of all rows, and variants would be in both train and test.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import datasets
import numpy as np
from datasets.utils import tqdm

from ..card import CardText
from ..columns import IMAGE
from ..labels import number_classes
from ..plain_vectors import caption_features, picture_features
from ..protocol import CLEAN
from .base import NoisyPairsBuilder
from .clean_split import CleanSplit, Facts
from .modality_arrays import VectorSplit
from .openmoji import OpenMoji, build, image_id_of, merge_captions
from .openmoji_captions import CodePoints, emoji_table, n_tones
from .openmoji_pictures import drawings, group_copies, png, rasterise

TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1

_SALT = "noisy-xmodal openmoji labels 1"
_FEATURES_VERSION = "features-1"  # increase it whenever vectors change
_ADULT, _CHILD, _HEART, _HANDSHAKE = 0x1F9D1, 0x1F9D2, 0x2764, 0x1F91D
_JOINER = 0x200D
_SIGNS = frozenset((0x2640, 0x2642, 0x27A1))  # female, male, facing right
_NEUTRAL: dict[int, CodePoints] = {
    **dict.fromkeys((0x1F468, 0x1F469), (_ADULT,)),
    **dict.fromkeys((0x1F466, 0x1F467), (_CHILD,)),
    **dict.fromkeys((0x1F474, 0x1F475), (0x1F9D3,)),  # older
    **dict.fromkeys((0x1F934, 0x1F478), (0x1FAC5,)),  # with crown
    **dict.fromkeys((0x1F930, 0x1FAC3), (0x1FAC4,)),  # pregnant
    **dict.fromkeys((0x1F385, 0x1F936), (_ADULT, 0x1F384)),  # Claus
    **dict.fromkeys((0x1F46B, 0x1F46C, 0x1F46D), (_ADULT, _HANDSHAKE)),  # holding hands
    0x1F57A: (0x1F483,),  # dancing
    0x1F46A: (_ADULT, _CHILD),  # family
    0x1F48F: (_ADULT, _HEART, 0x1F48B),  # kiss
    0x1F491: (_ADULT, _HEART),  # couple with heart
}


class OpenMojiLabelsSplit(VectorSplit):
    """Pictures with captions, classes and vectors, in memory.

    Args:
        pictures: The PNG file of each picture.
        image: Their vectors, (n_rows, 704).
        image_ids: One per picture.
        facts: Captions and labels.
    """

    def __init__(
        self, pictures: list[bytes], image: np.ndarray, image_ids: list[str], facts: Facts
    ) -> None:
        text = np.stack([caption_features(*captions) for captions in facts.captions or ()])
        super().__init__(image, text, image_ids, facts)
        self._pictures = pictures

    def columns(self, first: int, last: int) -> dict[str, Any]:
        """Returns the pictures, vectors and ids of some rows."""
        pictures = [{"bytes": data, "path": None} for data in self._pictures[first:last]]
        return {IMAGE: pictures, **super().columns(first, last)}

    def features(self) -> dict[str, Any]:
        """Returns the types of those columns."""
        return {IMAGE: datasets.Image(), **super().features()}


class OpenMojiLabels(NoisyPairsBuilder):
    """Builder of OpenMoji with classes."""

    FACTS = ("labels",)
    DEFAULT_CONFIGS = (CLEAN, "sym_20", "sym_40", "sym_60", "sym_80")
    SUMMARY = "OpenMoji pictures and their English names, as vectors too, with 9 classes."
    HOMEPAGE = OpenMoji.HOMEPAGE
    LICENSE = OpenMoji.LICENSE

    @classmethod
    def source_version(cls, options: Mapping[str, Any]) -> str | None:
        """Returns the versions of the vectors, and of the packages with pictures and names.

        Raises:
            ImportError: One of them is not installed.
        """
        return f"{OpenMoji.source_version(options)}_{_FEATURES_VERSION}"

    def has_objects(self) -> bool:
        """Returns False, because rows only have classes."""
        return False

    def open_splits(self) -> dict[str, CleanSplit]:
        """Renders the pictures with a class and without skin tones, and splits them.

        Raises:
            ImportError: The packages of the demo extra are not installed.
        """
        table, files = emoji_table(), drawings()
        points = [p for p in table if p in files and table[p].category and not n_tones(p)]
        pictures = {p: rasterise(files[p]) for p in tqdm(points, desc="Drawing OpenMoji")}
        rows = {image_id_of(group[0]): group for group in unique_bases(group_copies(pictures))}
        classes = {image_id: table[group[0]].category for image_id, group in rows.items()}
        splits = split_classes(classes)
        labels, names = number_classes(
            {name: [classes[i] for i in ids] for name, ids in splits.items()}, "OpenMoji"
        )
        clean: dict[str, CleanSplit] = {}
        for name, ids in splits.items():
            split_pictures = [pictures[rows[i][0]] for i in ids]
            captions = [merge_captions([table[p] for p in rows[i]]) for i in ids]
            clean[name] = OpenMojiLabelsSplit(
                [png(picture) for picture in split_pictures],
                np.stack([picture_features(picture) for picture in split_pictures]),
                ids,
                Facts(captions=captions, labels=labels[name], class_names=names),
            )
        return clean

    def row_features(self, splits: dict[str, CleanSplit]) -> dict[str, Any]:
        """Returns the types of pictures, vectors and ids."""
        return cast(OpenMojiLabelsSplit, next(iter(splits.values()))).features()

    def card_text(self, splits: dict[str, CleanSplit]) -> CardText:
        """Returns the text of the card, with the sizes of the classes."""
        return replace(CARD, body=f"{CARD.body.strip()}\n\n{_class_table(splits)}")


def base_of(points: CodePoints) -> CodePoints:
    """Returns the base of an emoji, without variants of gender and direction.

    Args:
        points: An emoji without skin tone.

    Returns:
        Its distinct code points without signs and joiners, with gender-neutral people: any family
        is an adult and a child.
    """
    parts = [c for c in points if c not in _SIGNS and c != _JOINER] or points
    return tuple(dict.fromkeys(part for c in parts for part in _NEUTRAL.get(c, (c,))))


def unique_bases(groups: Sequence[list[CodePoints]]) -> list[list[CodePoints]]:
    """Selects one picture per base: the most gender-neutral one, then the shortest.

    Args:
        groups: The emoji of each picture, from `group_copies`.

    Returns:
        The selected groups; no two share a base.
    """

    def order(group: list[CodePoints]) -> tuple[int, int, CodePoints]:
        return min((sum(c in _NEUTRAL or c in _SIGNS for c in p), len(p), p) for p in group)

    used_bases: set[CodePoints] = set()
    selection = []
    for group in sorted(groups, key=order):
        bases = {base_of(points) for points in group}
        if not bases & used_bases:
            selection.append(group)
        used_bases |= bases
    return selection


def split_classes(classes: Mapping[str, str]) -> dict[str, list[str]]:
    """Splits the pictures of each class: a fifth is test, a tenth validation, the rest train.

    Pictures are ordered by a hash of the image id, so the splits depend neither on the order of
    files nor on a seed.

    Args:
        classes: The class of each image id.

    Returns:
        The image ids of each split, classes mixed.
    """
    order = sorted(classes, key=lambda i: hashlib.sha256(f"{_SALT} {i}".encode()).digest())
    sizes, positions = Counter(classes.values()), Counter[str]()
    splits: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for image_id in order:
        name = classes[image_id]
        n_test, n_validation = (round(s * sizes[name]) for s in (TEST_SHARE, VALIDATION_SHARE))
        split = "test" if positions[name] < n_test else "validation"
        splits[split if positions[name] < n_test + n_validation else "train"].append(image_id)
        positions[name] += 1
    return splits


def load_openmoji_labels(
    config_name: str = "sym_40",
    cache_dir: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> datasets.DatasetDict:
    """Builds the built-in dataset with classes, or reads it from the cache.

    Args:
        config_name: clean, or label noise with a percentage of 20, 40, 60 or 80: sym_40
            (independent draws for image and text), sym_shared_40 (one draw for both).
        cache_dir: Cache folder; by default, that of `datasets`.
        seed: Seed of the noise. The splits do not depend on it.

    Returns:
        The splits train, validation and test; noise is in train only.

    Raises:
        DatasetError: The config is unknown.
        ImportError: The packages of the demo extra are not installed.
    """
    return build(OpenMojiLabels, config_name, cache_dir, seed=seed)


def _class_table(splits: Mapping[str, CleanSplit]) -> str:
    lines = [f"| class | {' | '.join(splits)} |", "|---" * (len(splits) + 1) + "|"]
    names = next(iter(splits.values())).facts.class_names
    for number, name in enumerate(names):
        sizes = [int(np.sum(split.facts.labels == number)) for split in splits.values()]
        lines.append(f"| {name} | {' | '.join(map(str, sizes))} |")
    return "\n".join(lines)


CARD = CardText(
    title="OpenMoji pictures and names with their Unicode groups",
    license="cc-by-sa-4.0",
    language=("en",),
    body="""
Drawings of OpenMoji at 64 x 64 pixels on white, with 1 to 5 English captions and one class each:
the group of the emoji in the Unicode chart.

**Vectors.** `image_features` (704 numbers): the histograms of 8 gradient orientations of 8 x 8
cells, then the mean colours of the cells (white is 0). `text_features` (512 numbers, unit norm):
hashed words and pairs of words (128) and character 3- to 5-grams (384) of all captions. Both come
from fixed functions, `picture_features` and `caption_features`, without training, classes or topic
words. `image` and `captions` are available for other encoders.

**Captions.** The Unicode CLDR name, and natural short codes. They are correct in every config: the
noise is in `image_label` and `text_label`.

**Pictures.** One per base emoji: without skin tone, and the most neutral of its genders and
directions (a person running, but no woman, man, or person facing right). Emoji with equal drawings
are one row. Emoji that are too new for the `emojis` package have no class and are left out.

**Splits.** In each class, ordered by a hash of `image_id`: a fifth test, a tenth validation, the
rest train, independent of the noise seed.

**Limits.** Classes are unbalanced, and groups follow convention (a golf flag is an activity, a
white flag is a flag). Regularised logistic regression on the standardised vectors, trained with
clean labels, predicts the class of three test pairs in five, by picture or by name; trained with
sym_60, one in two. The largest class has one pair in six.
""",
    credit="""
All emojis designed by [OpenMoji](https://openmoji.org), the open-source emoji and icon project.
License: [CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/). The pictures were
rasterised; this dataset is shared under the same licence. Names: Unicode CLDR, (c) Unicode, Inc.,
[Unicode License](https://www.unicode.org/license.txt), through the `emoji` package (BSD); short
codes and groups: `emoji` and `emojis` (MIT).
""",
)
