"""The base of all datasets: config names, noise, and rows in blocks.

A dataset is a reader: a subclass in one file with `read`, which finds and checks the raw files and
returns clean rows, and a card in `cards/`. Noise is applied here, to the train split only.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets
import pyarrow as pa
from datasets.builder import Key
from datasets.fingerprint import Hasher

from ...noise import NoiseType, parse_noise
from ...noise.noise_types import listed_configs, types_for
from ..caption_nouns import caption_nouns
from ..card import read_card
from ..clean_split import CleanSplit, block_table
from ..columns import DatasetError
from ..corruption import DERIVED_SETS, apply_noise, check_seed, missing, read_noise
from ..protocol import (
    CLEAN,
    INDEX,
    NATURAL,
    NOISE_VERSION,
    TRAIN,
    describe_natural_noise,
    with_protocol,
)
from .raw_files import file_state


@dataclass
class NoisyPairsConfig(datasets.BuilderConfig):
    """One noise setting of a dataset; the config name is the name of the noise.

    Attributes:
        seed: Seed of the noise.
        noise_index: A noise-index file to read the noise from instead of drawing it.
        objects_from: Derive the object sets of partial noise from "tags" or "captions" (their
            nouns), if the dataset has no object sets.
        on_bad_image: "error", or "skip" to leave out pictures that do not decode.
    """

    seed: int = 0
    noise_index: str | None = None
    objects_from: str | None = None
    on_bad_image: str = "error"


class NoisyPairsBuilder(datasets.ArrowBasedBuilder):
    """Base of the datasets. A subclass has `CARD` and `read`; all else has defaults.

    Attributes:
        CARD: The name of the card file in `cards/`, or the path of another.
        FACTS: What rows can have and noise can need: of "captions", "objects" and "labels". It
            decides which noise types the dataset offers.
        NATURALLY_NOISY: The data was collected with noise: its one config is `natural`, and rows
            have no `is_noisy`, because it is unknown.
        DEFAULT_CONFIGS: The configs to write by default.
    """

    BUILDER_CONFIG_CLASS: type[NoisyPairsConfig] = NoisyPairsConfig
    VERSION = datasets.Version("1.0.0")
    CARD: ClassVar[str | Path]
    FACTS: ClassVar[tuple[str, ...]] = ("captions", "objects")
    NATURALLY_NOISY: ClassVar[bool] = False
    DEFAULT_CONFIGS: ClassVar[tuple[str, ...]] = (CLEAN, "cmp_20", "cmp_40", "cmp_60")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        names = self.config_names()
        name = kwargs["config_name"] = kwargs.get("config_name") or names[0]
        if name not in names:
            raise DatasetError(
                f"{type(self).__name__} has no config '{name}'. Known configs: "
                f"{offered_configs(type(self))}."
            )
        if "hash" not in kwargs:  # part of the cache key, with the config and its options
            index = kwargs.get("noise_index")
            state = file_state(Path(index).parent, Path(index).name) if index else None
            kwargs["hash"] = Hasher.hash([NOISE_VERSION, self.source_version(kwargs), state])
        self._splits: dict[str, CleanSplit] | None = None
        self._protocol: dict[str, Any] | None = None
        self._noisy_columns: dict[str, Any] = {}
        super().__init__(*args, **kwargs)
        self._check_options()

    @abstractmethod
    def read(self) -> dict[str, CleanSplit]:
        """Returns the clean splits by name; checks the raw files before any long work."""

    def card_values(self) -> dict[str, Any]:
        """Returns the values of the card's own placeholders."""
        return {}

    def has_objects(self) -> bool:
        """Whether the raw data has object sets; a guess that reads no rows."""
        return True

    @classmethod
    def source_version(cls, options: Mapping[str, Any]) -> str | None:
        """Names the state of the raw data; when it changes, the cache is rebuilt.

        Args:
            options: The arguments of the builder.
        """
        return file_state(options.get("data_dir"))

    @classmethod
    def noise_types(cls) -> list[type[NoiseType]]:
        """The noise types that the dataset offers, which need only what it has."""
        return [] if cls.NATURALLY_NOISY else types_for(cls.FACTS)

    @classmethod
    def config_names(cls) -> list[str]:
        """The names of all configs, the default one first."""
        first = NATURAL if cls.NATURALLY_NOISY else CLEAN
        return [first, *(name for t in cls.noise_types() for name in t.config_names())]

    @property
    def data_folder(self) -> Path:
        """The folder of the raw files.

        Raises:
            DatasetError: There is no `data_dir`, or it is not a folder.
        """
        if self.config.data_dir is None:
            raise DatasetError(f"{type(self).__name__} reads files: give data_dir=FOLDER.")
        folder = Path(self.config.data_dir)
        if not folder.is_dir():
            raise DatasetError(f"There is no folder {folder}: give the folder of the files.")
        return folder

    @property
    def splits(self) -> dict[str, CleanSplit]:
        """The clean splits, read at first use; builders of a dataset can share them."""
        if self._splits is None:
            self._splits = self.read()
        return self._splits

    @splits.setter
    def splits(self, splits: dict[str, CleanSplit]) -> None:
        self._splits = splits

    def check_noise(self) -> None:
        """Checks the noise as far as possible before any row is read.

        Raises:
            DatasetError: There is no such noise-index file, or the noise needs object sets and
                there are none.
            ImportError: Object sets are derived from captions, and the package for it is missing.
        """
        config = self.config
        if config.noise_index is not None and not Path(config.noise_index).is_file():
            raise DatasetError(f"There is no noise-index file {config.noise_index}.")
        noise = None if config.name in (INDEX, NATURAL) else parse_noise(config.name)
        if noise is not None and "objects" in noise.needs:
            if config.objects_from is None and not self.has_objects():
                raise missing(noise, "objects")
            if config.objects_from == "captions":
                caption_nouns([])

    def describe(self) -> dict[str, Any]:
        """Applies the noise, and fills `info` with the column types and the noise protocol.

        Returns:
            The protocol; empty without a train split.

        Raises:
            DatasetError: The rows lack what the noise needs, or the noise-index file does not fit.
            ValueError: The noise cannot be applied to these rows.
        """
        if self._protocol is None:
            self.check_noise()
            self._noisy_columns, self._protocol = {}, {}
            if TRAIN in self.splits:
                self._noisy_columns, self._protocol = self._apply_noise(self.splits[TRAIN])
            any_split = next(iter(self.splits.values()))
            self.info.features = any_split.features(has_oracle=not self.NATURALLY_NOISY)
            if self._protocol:
                self.info.description = with_protocol(self.info.description, self._protocol)
        return self._protocol

    def noisy_columns(self, split: str) -> dict[str, Any]:
        """Returns the columns of a split that noise can change, with one entry per row."""
        self.describe()
        if split == TRAIN or self.NATURALLY_NOISY:
            return self._noisy_columns
        return apply_noise(self.splits[split], None, self.config.seed)[0]

    def _apply_noise(self, train: CleanSplit) -> tuple[dict[str, Any], dict[str, Any]]:
        config = self.config
        if self.NATURALLY_NOISY:
            protocol = describe_natural_noise(train.n_captions, config=config.name, seed=None)
            return {}, protocol
        noise = read_noise(config.name, train, config.noise_index)
        options = {"objects_from": config.objects_from, "noise_index": config.noise_index}
        return apply_noise(train, noise, config.seed, config=config.name, **options)

    def _check_options(self) -> None:
        check_seed(self.config.seed)
        for name, allowed in (
            ("objects_from", (None, *DERIVED_SETS)),
            ("on_bad_image", ("error", "skip")),
        ):
            value = getattr(self.config, name)
            if value not in allowed:
                choices = " or ".join(repr(choice) for choice in allowed if choice is not None)
                raise DatasetError(f"{name} is {value!r}: choose {choices}.")

    def _info(self) -> datasets.DatasetInfo:
        facts = read_card(self.CARD).data
        return datasets.DatasetInfo(
            description=facts["summary"],
            homepage=facts.get("homepage", ""),
            license=facts.get("terms", ""),
            citation=facts.get("citation", ""),
        )

    def _split_generators(
        self, dl_manager: datasets.DownloadManager
    ) -> list[datasets.SplitGenerator]:
        self.describe()
        return [datasets.SplitGenerator(name, gen_kwargs={"split": name}) for name in self.splits]

    def _generate_tables(self, split: str) -> Iterator[tuple[Key, pa.Table]]:
        clean, noisy = self.splits[split], self.noisy_columns(split)
        schema = self.info.features.arrow_schema
        for block, (first, last) in enumerate(clean.blocks(f"Reading {split}")):
            yield Key(0, block), block_table(clean.read(first, last), noisy, first, last, schema)


def offered_configs(builder_class: type[NoisyPairsBuilder]) -> str:
    """Lists the configs of a dataset: "clean; cmp_N cmp_image_N with N of 10 20 ...; ..."."""
    return listed_configs(builder_class.config_names()[0], builder_class.noise_types())
