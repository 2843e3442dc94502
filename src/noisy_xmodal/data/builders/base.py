"""What all dataset builders share: noise, applied once, to the train split only.

A dataset subclass gives its clean splits (`open_splits`) and the type of its visual column
(`visual_features`); everything about noise is here.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import datasets
import numpy as np

from ...noise import (
    CompleteMismatch,
    NoiseIndex,
    Pairs,
    parse_noise,
    read_noise_index,
)
from ..columns import CAPTIONS, IMAGE_ID, IS_NOISY, DatasetError
from ..protocol import describe_noise, with_protocol

TRAIN = str(datasets.Split.TRAIN)
INDEX_CONFIG = "noise_index"

# A published index shuffles the captions that it selects, so a few come back to their image.
_RATIO_TOLERANCE = 0.05


@dataclass
class NoisyPairsConfig(datasets.BuilderConfig):
    """One noise setting of a dataset.

    Attributes:
        noise: "clean", or a noise name such as "cmp_40" or "cmp_image_40".
        seed: Seed of the noise.
        noise_index: A noise-index file that gives the noise instead of drawing it.
    """

    noise: str = "clean"
    seed: int = 0
    noise_index: str | None = None


def noise_configs(*names: str, version: str) -> list[NoisyPairsConfig]:
    """Makes the configs that are called like the noise that they carry."""
    return [NoisyPairsConfig(name=name, version=version, noise=name) for name in names]


class CleanSplit(ABC):
    """A split before noise: captions in memory, the rest read row by row.

    Attributes:
        captions: The captions of each image.
    """

    captions: list[list[str]]

    @abstractmethod
    def row(self, index: int) -> dict[str, Any]:
        """Returns the columns of one image, except captions and oracle."""


class NoisyPairsBuilder(datasets.GeneratorBasedBuilder):
    """Base of the dataset builders.

    Attributes:
        splits: Names of the splits to build; all that exist by default.
    """

    BUILDER_CONFIG_CLASS = NoisyPairsConfig
    DEFAULT_CONFIG_NAME = "clean"
    SUMMARY: ClassVar[str] = ""
    HOMEPAGE: ClassVar[str] = ""
    LICENSE: ClassVar[str] = ""
    CITATION: ClassVar[str] = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        known = [config.name for config in self.BUILDER_CONFIGS]
        name = kwargs.get("config_name")
        if name is not None and name not in known:
            raise DatasetError(
                f"{type(self).__name__} has no config '{name}'. Known configs: {', '.join(known)}."
            )
        kwargs.setdefault("hash", self.source_version(kwargs.get("data_dir")))
        self.splits: tuple[str, ...] | None = None
        self._clean_splits: dict[str, CleanSplit] | None = None
        super().__init__(*args, **kwargs)

    @classmethod
    def source_version(cls, data_dir: str | None) -> str | None:
        """Names the state of the raw data; a change of it makes the cache build anew."""
        return None

    @abstractmethod
    def open_splits(self) -> dict[str, CleanSplit]:
        """Opens the clean splits by name, and checks them before any long work."""

    @abstractmethod
    def visual_features(self, splits: dict[str, CleanSplit]) -> dict[str, Any]:
        """Returns the types of all columns that `CleanSplit.row` gives."""

    @property
    def clean_splits(self) -> dict[str, CleanSplit]:
        """The clean splits, opened at first use; builders of one dataset may share them."""
        if self._clean_splits is None:
            self._clean_splits = self.open_splits()
        return self._clean_splits

    @clean_splits.setter
    def clean_splits(self, splits: dict[str, CleanSplit]) -> None:
        self._clean_splits = splits

    def noisy_pairs(self) -> tuple[Pairs | None, dict[str, Any]]:
        """Applies the noise of this config to the train split.

        Returns:
            The train pairs (None without a train split) and the noise protocol.

        Raises:
            DatasetError: The noise-index file is not what the config name says.
            ValueError: The noise or the index does not fit the data.
        """
        split = self.clean_splits.get(TRAIN)
        if split is None:
            return None, {}
        counts = [len(texts) for texts in split.captions]
        noise = None if self.config.noise == INDEX_CONFIG else parse_noise(self.config.noise)
        source: CompleteMismatch | NoiseIndex | None = noise
        pairs = Pairs.from_counts(counts)
        details = {"config": self.config.name, "seed": self.config.seed}
        if self.config.noise_index is not None:
            source = read_noise_index(self.config.noise_index, counts, len(counts))
            pairs = source.pairs
            _check_index(self.config, noise, source)
            details |= {"seed": None, "noise_index": os.path.basename(self.config.noise_index)}
        elif self.config.noise == INDEX_CONFIG:
            raise DatasetError(f"Config '{INDEX_CONFIG}' needs a file: give noise_index=PATH.")
        elif noise is not None:
            pairs = noise.apply(pairs, np.random.default_rng(self.config.seed))
        return pairs, describe_noise(source, pairs, **details, version=str(self.VERSION))

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description=self.SUMMARY,
            homepage=self.HOMEPAGE,
            license=self.LICENSE,
            citation=self.CITATION,
        )

    def _split_generators(
        self, dl_manager: datasets.DownloadManager
    ) -> list[datasets.SplitGenerator]:
        splits = self.clean_splits
        self.info.features = datasets.Features(
            {
                **self.visual_features(splits),
                CAPTIONS: datasets.List(datasets.Value("string")),
                IS_NOISY: datasets.List(datasets.Value("bool")),
            }
        )
        train_pairs, protocol = self.noisy_pairs()
        self.info.description = with_protocol(self.SUMMARY, protocol) if protocol else self.SUMMARY
        return [
            datasets.SplitGenerator(
                name, gen_kwargs={"split": split, "pairs": train_pairs if name == TRAIN else None}
            )
            for name, split in splits.items()
            if self.splits is None or name in self.splits
        ]

    def _generate_examples(
        self, split: CleanSplit, pairs: Pairs | None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        if pairs is None:
            pairs = Pairs.from_counts([len(texts) for texts in split.captions])
        captions = [text for texts in split.captions for text in texts]
        is_noisy = pairs.is_noisy
        for row, caption_ids in enumerate(pairs.rows()):
            yield (
                row,
                {
                    **split.row(row),
                    CAPTIONS: [captions[i] for i in caption_ids],
                    IS_NOISY: is_noisy[caption_ids].tolist(),
                },
            )


def _check_index(
    config: NoisyPairsConfig, noise: CompleteMismatch | None, index: NoiseIndex
) -> None:
    """Refuses a file under a name that promises another noise."""
    if config.noise == INDEX_CONFIG:
        return
    share = float(index.pairs.is_noisy.mean())
    asked = ("none", 0.0) if noise is None else (noise.level, noise.ratio)
    if index.level != asked[0] or abs(share - asked[1]) > _RATIO_TOLERANCE:
        raise DatasetError(
            f"Config '{config.name}' says {asked[1]:.0%} noise at level '{asked[0]}', but "
            f"{config.noise_index} holds {share:.1%} at level '{index.level}'. Name the config "
            f"that fits, or use '{INDEX_CONFIG}'."
        )


IDENTITY_FEATURES = {IMAGE_ID: datasets.Value("string")}
