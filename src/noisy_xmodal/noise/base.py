"""Noise types that describe themselves: what a type acts on, needs, is called and does.

A new type is one subclass of `CaptionNoise` or `LabelNoise` in a file of its own, and its name in
the table of `noise_types.py`. Config names, dataset cards, model cards and errors read it here.
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
        title: What the type is, for model cards: one phrase.
        sentences: What dataset cards say of it. A card prints a sentence that several types share
            once; without any, it prints the title.
        needs: What the data must have, of "captions", "objects" and "labels". Each comes with the
            error that follows the name of the config where the data lacks it.
        prefixes: Config names without the percentage, and the options that each stands for.
        unlisted: Prefixes that dataset builders do not offer.
        percentages: Percentages that dataset builders offer.
        levels: What `level` can be.
        is_drawn: Whether the noise depends on a seed.
        ratio: Share of what the noise acts on, 0 to 1.
        level: What moves or changes as one.

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
        return [f"{prefix}_{percent}" for prefix in cls.listed() for percent in cls.percentages]

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
        """Give captions to other images: `apply(pairs, rng)`.

        Args:
            args: Clean pairs (`Pairs`) and a `numpy.random.Generator`; with "objects" among
                `needs` also the object sets, a bool array of (n_images, n_classes).
            kwargs: The same by name.

        Returns:
            Noisy pairs.
        """


@dataclass(frozen=True, eq=False)
class LabelNoise(NoiseType):
    """Noise that gives images and texts other classes."""

    needs: ClassVar = {
        "labels": "makes class labels wrong, but these rows have none. Use noise on captions, such "
        "as cmp_40, or a dataset with classes."
    }
    percentages = (20, 40, 60, 80)
    levels: ClassVar[tuple[str, ...]] = ("modality", "shared")

    level: str = "modality"

    @abstractmethod
    def apply(self, *args: Any, **kwargs: Any) -> NoisyLabels:
        """Give images and texts other classes: `apply(labels, n_classes, rng)`.

        Args:
            args: The true class of each row, (n,), the number of classes, and a
                `numpy.random.Generator`.
            kwargs: The same by name.

        Returns:
            The labels of both modalities.
        """
