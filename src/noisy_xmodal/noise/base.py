"""The base of noise types: what a type acts on, what it needs, and how cards describe it.

A new type is a subclass of `CaptionNoise` or `LabelNoise` in its own file, and its name in the
table of `noise_types.py`. Config names, cards and errors use the attributes of the class.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .labels import NoisyLabels
from .pairs import Pairs

#: For the `sentences` of caption noise with both levels.
CAPTION_LEVELS = (
    "At level `caption` single captions move to other images; at level `image` the whole caption "
    "list of an image moves, which is far harder at the same percentage."
)


@dataclass(frozen=True, eq=False)
class NoiseType(ABC):
    """A kind of noise with its ratio. Subclass `CaptionNoise` or `LabelNoise`, not this class.

    Attributes:
        kind: Name of the type in noise protocols, such as "complete_mismatch".
        title: One phrase for model cards.
        sentences: Text for dataset cards, by default the title; shared sentences appear once.
        needs: What the data must have, of "captions", "objects" and "labels"; for each the error
            message if the data lacks it, which follows the config name.
        prefixes: Config names without the percentage, each with its options.
        unlisted: Prefixes that dataset builders do not offer.
        percentages: Percentages that dataset builders offer.
        levels: The values of `level`.
        is_drawn: Whether the noise depends on a seed.
        ratio: Share of wrong captions, caption lists or labels, 0 to 1.
        level: The unit that moves or changes.

    Raises:
        ValueError: If the ratio is outside 0 to 1 or the level is unknown.
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    sentences: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[Mapping[str, str]]
    prefixes: ClassVar[Mapping[str, Mapping[str, Any]]]
    unlisted: ClassVar[tuple[str, ...]] = ()
    percentages: ClassVar[tuple[int, ...]]
    levels: ClassVar[tuple[str, ...]]
    is_drawn: ClassVar[bool] = True

    ratio: float
    level: str

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 1:
            raise ValueError(
                f"ratio is {self.ratio}: give a share between 0 and 1, such as 0.4 for 40 %"
            )
        if self.level not in self.levels:
            raise ValueError(f"level is {self.level!r}: choose one of {', '.join(self.levels)}")

    @property
    def name(self) -> str:
        """Name of the dataset config with this noise, such as "cmp_40"."""
        for prefix, options in self.prefixes.items():
            if all(getattr(self, option) == value for option, value in options.items()):
                return f"{prefix}_{100 * self.ratio:g}"
        return self.kind

    @classmethod
    def listed(cls) -> list[str]:
        """The prefixes that dataset builders offer."""
        return [prefix for prefix in cls.prefixes if prefix not in cls.unlisted]

    @classmethod
    def config_names(cls) -> list[str]:
        """Names of the configs that dataset builders offer."""
        names = [f"{prefix}_{percent}" for prefix in cls.listed() for percent in cls.percentages]
        return names if cls.prefixes else [cls.kind]

    def protocol(self) -> dict[str, Any]:
        """What to store with the data, ready for JSON: type, level, ratio, and other options."""
        return {"type": self.kind, "level": self.level, "ratio": float(self.ratio)}


@dataclass(frozen=True, eq=False)
class CaptionNoise(NoiseType):
    """Noise that gives captions, or whole caption lists, to other images."""

    needs: ClassVar = {
        "captions": "gives captions to other images, but the texts of these rows are feature "
        "vectors. Use noise on labels, such as sym_40."
    }
    percentages = tuple(range(10, 90, 10))
    levels: ClassVar[tuple[str, ...]] = ("caption", "image")

    level: str = "caption"

    @abstractmethod
    def apply(self, *args: Any, **kwargs: Any) -> Pairs:
        """`apply(pairs, rng)` moves captions; with "objects" in `needs`, object sets follow."""


@dataclass(frozen=True, eq=False)
class LabelNoise(NoiseType):
    """Noise that gives other classes to images and texts."""

    needs: ClassVar = {
        "labels": "makes class labels wrong, but these rows have none. Use noise on captions, such "
        "as cmp_40, or a dataset with classes."
    }
    percentages = (20, 40, 60, 80)
    levels: ClassVar[tuple[str, ...]] = ("modality", "shared")

    level: str = "modality"

    @abstractmethod
    def apply(self, *args: Any, **kwargs: Any) -> NoisyLabels:
        """`apply(labels, n_classes, rng)` changes the class of each row, (n,)."""
