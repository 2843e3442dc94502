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
from typing import Any

import datasets
import numpy as np

from ..clean_split import CleanSplit, FeatureColumn
from ..columns import CAPTIONS, IMAGE, IMAGE_FEATURES, IMAGE_ID, TEXT_FEATURES
from ..labels import number_classes
from ..plain_vectors import caption_features, picture_features
from ..protocol import CLEAN
from .base import NoisyPairsBuilder
from .openmoji import OpenMoji, build, image_id_of, merge_captions
from .openmoji_captions import CodePoints, emoji_table, n_tones
from .openmoji_pictures import draw, group_copies, png

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


class OpenMojiLabels(NoisyPairsBuilder):
    """OpenMoji with classes."""

    CARD = "openmoji_labels.md"
    FACTS = ("labels",)
    DEFAULT_CONFIGS = (CLEAN, "sym_20", "sym_40", "sym_60", "sym_80")

    @classmethod
    def source_version(cls, options: Mapping[str, Any]) -> str | None:
        """Returns the versions of the vectors, and of the packages with pictures and names.

        Raises:
            ImportError: One of them is not installed.
        """
        return f"{OpenMoji.source_version(options)}_{_FEATURES_VERSION}"

    def card_values(self) -> dict[str, Any]:
        """Returns the table of the sizes of the classes."""
        lines = [f"| class | {' | '.join(self.splits)} |", "|---" * (len(self.splits) + 1) + "|"]
        for number, name in enumerate(self.splits["train"].class_names):
            sizes = [int(np.sum(split.labels == number)) for split in self.splits.values()]
            lines.append(f"| {name} | {' | '.join(map(str, sizes))} |")
        return {"class_table": "\n".join(lines)}

    def read(self) -> dict[str, CleanSplit]:
        """Renders the pictures with a class and without skin tones, and splits them.

        Raises:
            ImportError: The packages of the demo extra are not installed.
        """
        self.source_version({})
        table = emoji_table()
        pictures = draw(p for p in table if table[p].category and not n_tones(p))
        rows = {image_id_of(group[0]): group for group in unique_bases(group_copies(pictures))}
        classes = {image_id: table[group[0]].category for image_id, group in rows.items()}
        splits = split_classes(classes)
        labels, names = number_classes(
            {name: [classes[i] for i in ids] for name, ids in splits.items()}, "OpenMoji"
        )
        clean = {}
        for name, ids in splits.items():
            own = [pictures[rows[i][0]] for i in ids]
            captions = [merge_captions([table[p] for p in rows[i]]) for i in ids]
            image = np.stack([picture_features(picture) for picture in own])
            columns = {
                IMAGE: [{"bytes": png(picture), "path": None} for picture in own],
                IMAGE_FEATURES: FeatureColumn(image),
                TEXT_FEATURES: FeatureColumn(np.stack([caption_features(*c) for c in captions])),
                IMAGE_ID: ids,
                CAPTIONS: captions,
            }
            clean[name] = CleanSplit(columns, labels=labels[name], class_names=names)
        return clean


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
