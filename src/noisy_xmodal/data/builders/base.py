"""The base of all dataset builders: config names, noise, and rows in blocks.

A subclass opens its clean splits (`open_splits`) and describes itself (`card_text`). Noise is
applied here, to the train split only.
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

from ...noise import NoiseIndex, NoiseType, parse_noise, read_noise_index
from ...noise.noise_types import listed_configs, types_for
from ..caption_nouns import caption_nouns
from ..card import CardText
from ..columns import (
    CAPTIONS,
    IMAGE_LABEL,
    IS_NOISY,
    OBJECTS,
    TEXT_LABEL,
    TRUE_LABEL,
    DatasetError,
)
from ..corruption import (
    ANNOTATIONS,
    DERIVED_SETS,
    CleanRows,
    Corrupted,
    check_seed,
    corrupt,
    missing,
)
from ..protocol import (
    CLEAN,
    INDEX,
    NATURAL,
    NOISE_VERSION,
    TRAIN,
    describe_natural_noise,
    with_protocol,
)
from .clean_split import CleanSplit, block_table, row_blocks
from .raw_files import file_state

# A published index shuffles the captions that it selects, so a few return to their image.
_RATIO_TOLERANCE = 0.05


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
    """Base of the dataset builders.

    Attributes:
        FACTS: The attributes of `Facts` that rows can have and noise can need: of "captions",
            "objects" and "labels". They decide which noise types the dataset offers.
        NATURALLY_NOISY: The data was collected with noise: its one config is `natural`, and rows
            have no `is_noisy`, because it is unknown.
        DEFAULT_CONFIGS: The configs to write by default.
    """

    BUILDER_CONFIG_CLASS: type[NoisyPairsConfig] = NoisyPairsConfig
    VERSION = datasets.Version("1.0.0")
    FACTS: ClassVar[tuple[str, ...]] = ("captions", "objects")
    NATURALLY_NOISY: ClassVar[bool] = False
    DEFAULT_CONFIGS: ClassVar[tuple[str, ...]] = (CLEAN, "cmp_20", "cmp_40", "cmp_60")
    SUMMARY: ClassVar[str] = ""
    HOMEPAGE: ClassVar[str] = ""
    LICENSE: ClassVar[str] = ""
    CITATION: ClassVar[str] = ""

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
        self._clean_splits: dict[str, CleanSplit] | None = None
        self._corrupted: Corrupted | None = None
        super().__init__(*args, **kwargs)
        self._check_options()

    @classmethod
    def noise_types(cls) -> list[type[NoiseType]]:
        """The noise types that the dataset offers, which need only what it has."""
        return [] if cls.NATURALLY_NOISY else types_for(cls.FACTS)

    @classmethod
    def config_names(cls) -> list[str]:
        """The names of all configs, the default one first."""
        first = NATURAL if cls.NATURALLY_NOISY else CLEAN
        return [first, *(name for t in cls.noise_types() for name in t.config_names())]

    @classmethod
    def source_version(cls, options: Mapping[str, Any]) -> str | None:
        """Names the state of the raw data; when it changes, the cache is rebuilt.

        Args:
            options: The arguments of the builder.
        """
        return file_state(options.get("data_dir"))

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

    @abstractmethod
    def open_splits(self) -> dict[str, CleanSplit]:
        """Opens the clean splits by name, and checks them before any long work."""

    @abstractmethod
    def row_features(self, splits: dict[str, CleanSplit]) -> dict[str, Any]:
        """Returns the types of the columns that `CleanSplit.columns` gives."""

    @abstractmethod
    def card_text(self, splits: dict[str, CleanSplit]) -> CardText:
        """Returns the text of the card of a written folder."""

    def has_objects(self) -> bool:
        """Whether the raw data has object sets; a guess that reads no rows."""
        return True

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
        noise = self.noise
        if noise is not None and "objects" in noise.needs:
            if config.objects_from is None and not self.has_objects():
                raise missing(noise, "objects")
            if config.objects_from == "captions":
                caption_nouns([])

    @property
    def noise(self) -> NoiseType | None:
        """The noise that this config draws; None if it draws none."""
        name = self.config.name
        return None if name in (INDEX, NATURAL) else parse_noise(name)

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
    def clean_splits(self) -> dict[str, CleanSplit]:
        """The clean splits, opened at first use; builders of a dataset can share them."""
        if self._clean_splits is None:
            self._clean_splits = self.open_splits()
        return self._clean_splits

    @clean_splits.setter
    def clean_splits(self, splits: dict[str, CleanSplit]) -> None:
        self._clean_splits = splits

    def corrupted(self) -> Corrupted:
        """Applies the noise of this config to the train split, once.

        Returns:
            Pairs and labels after noise with the protocol; all empty without a train split.

        Raises:
            DatasetError: The rows lack what the noise needs, or the noise-index file does not fit
                the config name.
            ValueError: The noise or the index does not fit the data.
        """
        if self._corrupted is None:
            split = self.clean_splits.get(TRAIN)
            self._corrupted = Corrupted(None, None, {}) if split is None else self._corrupt(split)
        return self._corrupted

    def _corrupt(self, split: CleanSplit) -> Corrupted:
        config, facts = self.config, split.facts
        if self.NATURALLY_NOISY:
            return Corrupted(
                None, None, describe_natural_noise(split.n_captions, config=config.name, seed=None)
            )
        rows = CleanRows.of_captions(
            facts.captions,
            labels=facts.labels,
            n_classes=len(facts.class_names),
            object_sources=facts.object_sources(),
            objects_from=config.objects_from or ANNOTATIONS,
        )
        details = {"config": config.name}
        noise = self.noise
        if config.noise_index is not None:
            noise = _read_index(config, noise, rows)
            details["noise_index"] = Path(config.noise_index).name
        elif config.name == INDEX:
            raise DatasetError(f"Config '{INDEX}' needs a file: give noise_index=PATH.")
        return corrupt(noise, rows, config.seed, **details)

    def features_of(self, splits: dict[str, CleanSplit]) -> datasets.Features:
        """Returns the types of all columns of the dataset."""
        facts = next(iter(splits.values())).facts
        columns = self.row_features(splits)
        if facts.captions is not None:
            columns[CAPTIONS] = datasets.List(datasets.Value("string"))
            if not self.NATURALLY_NOISY:
                columns[IS_NOISY] = datasets.List(datasets.Value("bool"))
        if facts.objects is not None:
            names = list(facts.object_names)
            thing = datasets.ClassLabel(names=names) if names else datasets.Value("int64")
            columns.setdefault(OBJECTS, datasets.List(thing))
        if facts.labels is not None:
            label = datasets.ClassLabel(names=list(facts.class_names))
            columns |= {IMAGE_LABEL: label, TEXT_LABEL: label, TRUE_LABEL: label}
        return datasets.Features(columns)

    def describe(self) -> None:
        """Fills `info` with the column types and the noise protocol of this config."""
        self.check_noise()
        self.info.features = self.features_of(self.clean_splits)
        protocol = self.corrupted().protocol
        self.info.description = with_protocol(self.SUMMARY, protocol) if protocol else self.SUMMARY

    def fact_columns(self, split: str) -> dict[str, Any]:
        """Returns the columns of the facts of a split, after noise.

        Returns:
            For each column a list or an array with one entry per row.
        """
        facts = self.clean_splits[split].facts
        corrupted = self.corrupted() if split == TRAIN else Corrupted(None, None, {})
        columns: dict[str, Any] = {}
        if facts.captions is not None:
            columns[CAPTIONS] = facts.captions
            if not self.NATURALLY_NOISY:
                columns[IS_NOISY] = [[False] * len(texts) for texts in facts.captions]
        if facts.objects is not None:
            columns[OBJECTS] = facts.objects
        if facts.labels is not None:
            columns |= dict.fromkeys((IMAGE_LABEL, TEXT_LABEL, TRUE_LABEL), facts.labels)
        return columns | corrupted.columns(facts.captions)

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
        self.describe()
        return [
            datasets.SplitGenerator(name, gen_kwargs={"split": name}) for name in self.clean_splits
        ]

    def _generate_tables(self, split: str) -> Iterator[tuple[Key, pa.Table]]:
        clean, noisy = self.clean_splits[split], self.fact_columns(split)
        schema = self.info.features.arrow_schema
        for block, (first, last) in enumerate(row_blocks(clean, f"Reading {split}")):
            yield Key(0, block), block_table(clean.columns(first, last), noisy, first, last, schema)


def offered_configs(builder_class: type[NoisyPairsBuilder]) -> str:
    """Lists the configs of a dataset: "clean; cmp_N cmp_image_N with N of 10 20 ...; ..."."""
    return listed_configs(builder_class.config_names()[0], builder_class.noise_types())


def _read_index(config: NoisyPairsConfig, noise: NoiseType | None, rows: CleanRows) -> NoiseIndex:
    """Reads the index file, and checks that it has the noise of the config name."""
    counts = rows.captions_per_image
    if counts is None or config.noise_index is None:
        raise DatasetError("A noise index moves captions between images, but there are none here.")
    index = read_noise_index(config.noise_index, counts, len(counts))
    if config.name == INDEX:
        return index
    level, ratio = ("none", 0.0) if noise is None else (noise.level, noise.ratio)
    if index.level != level or abs(index.ratio - ratio) > _RATIO_TOLERANCE:
        raise DatasetError(
            f"Config '{config.name}' says {ratio:.0%} noise at level '{level}', but "
            f"{config.noise_index} has {index.ratio:.1%} at level '{index.level}'. Name the config "
            f"that fits, or use '{INDEX}'."
        )
    return index
