"""What all dataset builders share: config names, noise, and rows in blocks.

A dataset subclass opens its clean splits (`open_splits`) and says what it is (`card_text`);
everything about noise is here, and applies to the train split alone.
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

from ...noise import (
    NoiseIndex,
    NoiseType,
    PartialMismatch,
    parse_noise,
    read_noise_index,
)
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
    no_object_sets,
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

PERCENTAGES = {
    "cmp": tuple(range(10, 90, 10)),
    "cmp_image": tuple(range(10, 90, 10)),
    "part": tuple(range(10, 90, 10)),
    "part_image": tuple(range(10, 90, 10)),
    "sym": (20, 40, 60, 80),
    "sym_shared": (20, 40, 60, 80),
}
CAPTION_NOISE = ("cmp", "cmp_image", "part", "part_image")
LABEL_NOISE = ("sym", "sym_shared")

# A published index shuffles the captions that it selects, so a few come back to their image.
_RATIO_TOLERANCE = 0.05


@dataclass
class NoisyPairsConfig(datasets.BuilderConfig):
    """One noise setting of a dataset.

    Attributes:
        noise: "clean", or a noise name such as "cmp_40", "part_20" or "sym_60".
        seed: Seed of the noise.
        noise_index: A noise-index file that gives the noise instead of drawing it.
        objects_from: Make the object sets of partial noise from "tags" or "captions" (their
            nouns), where the dataset has none of its own.
        on_bad_image: "error", or "skip" to leave out pictures that do not decode.
    """

    noise: str = CLEAN
    seed: int = 0
    noise_index: str | None = None
    objects_from: str | None = None
    on_bad_image: str = "error"


class NoisyPairsBuilder(datasets.ArrowBasedBuilder):
    """Base of the dataset builders.

    Attributes:
        NOISE: Prefixes of the config names that the dataset offers beside `clean`.
        NATURALLY_NOISY: The data is noisy as it comes: its one config is `natural`, and rows have
            no `is_noisy`, as nobody knows.
        DEFAULT_CONFIGS: What is written when no configs are named.
    """

    BUILDER_CONFIG_CLASS: type[NoisyPairsConfig] = NoisyPairsConfig
    VERSION = datasets.Version("1.0.0")
    NOISE: ClassVar[tuple[str, ...]] = ("cmp", "cmp_image")
    NATURALLY_NOISY: ClassVar[bool] = False
    DEFAULT_CONFIGS: ClassVar[tuple[str, ...]] = (CLEAN, "cmp_20", "cmp_40", "cmp_60")
    SUMMARY: ClassVar[str] = ""
    HOMEPAGE: ClassVar[str] = ""
    LICENSE: ClassVar[str] = ""
    CITATION: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        names = [CLEAN, *(f"{p}_{percent}" for p in cls.NOISE for percent in PERCENTAGES[p])]
        if set(CAPTION_NOISE) & set(cls.NOISE):
            names.append(INDEX)
        if cls.NATURALLY_NOISY:
            names = [NATURAL]
            cls.DEFAULT_CONFIGS = (NATURAL,)
        cls.DEFAULT_CONFIG_NAME = names[0]
        cls.BUILDER_CONFIGS = [
            cls.BUILDER_CONFIG_CLASS(name=name, version=cls.VERSION, noise=name) for name in names
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        known = [config.name for config in self.BUILDER_CONFIGS]
        name = kwargs.get("config_name")
        if name is not None and name not in known:
            raise DatasetError(
                f"{type(self).__name__} has no config '{name}'. Known configs: "
                f"{offered_configs(type(self))}."
            )
        if "hash" not in kwargs:  # what the cache goes by, beside the config and its options
            index = kwargs.get("noise_index")
            state = file_state(Path(index).parent, Path(index).name) if index else None
            kwargs["hash"] = Hasher.hash([NOISE_VERSION, self.source_version(kwargs), state])
        self._clean_splits: dict[str, CleanSplit] | None = None
        self._corrupted: Corrupted | None = None
        super().__init__(*args, **kwargs)
        self._check_options()

    @classmethod
    def source_version(cls, options: Mapping[str, Any]) -> str | None:
        """Names the state of the raw data; a change of it makes the cache build anew.

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
            found = getattr(self.config, name)
            if found not in allowed:
                choices = " or ".join(repr(value) for value in allowed if value is not None)
                raise DatasetError(f"{name} is {found!r}: choose {choices}.")

    @abstractmethod
    def open_splits(self) -> dict[str, CleanSplit]:
        """Opens the clean splits by name, and checks them before any long work."""

    @abstractmethod
    def row_features(self, splits: dict[str, CleanSplit]) -> dict[str, Any]:
        """Returns the types of the columns that `CleanSplit.columns` gives."""

    @abstractmethod
    def card_text(self, splits: dict[str, CleanSplit]) -> CardText:
        """Returns what the card of a written folder says."""

    def has_objects(self) -> bool:
        """Whether the raw data says what pictures show; a guess that reads no rows."""
        return True

    def check_noise(self) -> None:
        """Refuses what can be refused before any row is read.

        Raises:
            DatasetError: A noise-index file that is not there, or partial noise without objects.
            ImportError: Nouns of captions are wanted and the package that finds them is missing.
        """
        config = self.config
        if config.noise_index is not None and not Path(config.noise_index).is_file():
            raise DatasetError(f"There is no noise-index file {config.noise_index}.")
        if isinstance(self.noise, PartialMismatch):
            if config.objects_from is None and not self.has_objects():
                raise no_object_sets(config.noise, ANNOTATIONS)
            if config.objects_from == "captions":
                caption_nouns([])

    @property
    def noise(self) -> NoiseType | None:
        """What this config draws; None where it draws nothing."""
        name = self.config.noise
        return None if name in (INDEX, NATURAL) else parse_noise(name)

    @property
    def data_folder(self) -> Path:
        """The folder of the raw files.

        Raises:
            DatasetError: No `data_dir` was given, or it is no folder.
        """
        if self.config.data_dir is None:
            raise DatasetError(f"{type(self).__name__} reads files: give data_dir=FOLDER.")
        folder = Path(self.config.data_dir)
        if not folder.is_dir():
            raise DatasetError(f"There is no folder {folder}: give the one that holds the files.")
        return folder

    @property
    def clean_splits(self) -> dict[str, CleanSplit]:
        """The clean splits, opened at first use; builders of one dataset may share them."""
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
            DatasetError: The rows lack what the noise is about, or the noise-index file is not
                what the config name says.
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
        if config.noise_index is not None:
            index = _read_index(config, self.noise, rows)
            return corrupt(
                index,
                rows,
                config.seed,
                config=config.name,
                noise_index=Path(config.noise_index).name,
            )
        if config.noise == INDEX:
            raise DatasetError(f"Config '{INDEX}' needs a file: give noise_index=PATH.")
        return corrupt(self.noise, rows, config.seed, config=config.name)

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
        """Fills in what `info` says of this config: types of columns, noise protocol."""
        self.check_noise()
        self.info.features = self.features_of(self.clean_splits)
        protocol = self.corrupted().protocol
        self.info.description = with_protocol(self.SUMMARY, protocol) if protocol else self.SUMMARY

    def fact_columns(self, split: str) -> dict[str, Any]:
        """Returns the columns that come from facts, after noise, for all rows of a split.

        Returns:
            For each column a list or an array with one entry a row.
        """
        facts = self.clean_splits[split].facts
        corrupted = self.corrupted() if split == TRAIN else Corrupted(None, None, {})
        columns: dict[str, Any] = {}
        if facts.captions is not None:
            columns[CAPTIONS] = facts.captions
            if not self.NATURALLY_NOISY:
                columns[IS_NOISY] = [[False] * len(texts) for texts in facts.captions]
        if corrupted.pairs is not None:
            flat = [text for texts in facts.captions or () for text in texts]
            rows, wrong = corrupted.pairs.rows(), corrupted.pairs.is_noisy
            columns[CAPTIONS] = [[flat[i] for i in ids] for ids in rows]
            columns[IS_NOISY] = [wrong[ids].tolist() for ids in rows]
        if facts.objects is not None:
            columns[OBJECTS] = facts.objects
        if facts.labels is not None:
            given = corrupted.labels
            columns[IMAGE_LABEL] = facts.labels if given is None else given.image
            columns[TEXT_LABEL] = facts.labels if given is None else given.text
            columns[TRUE_LABEL] = facts.labels
        return columns

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
    """Lists the configs of a dataset: "clean; cmp_N and cmp_image_N with N of 10 20 ...; ..."."""
    parts = [config.name for config in builder_class.BUILDER_CONFIGS[:1]]
    offered = () if builder_class.NATURALLY_NOISY else builder_class.NOISE
    for percentages in dict.fromkeys(PERCENTAGES[prefix] for prefix in offered):
        names = " ".join(f"{p}_N" for p in offered if PERCENTAGES[p] == percentages)
        parts.append(f"{names} with N of {' '.join(map(str, percentages))}")
    if builder_class.BUILDER_CONFIGS[-1].name == INDEX:
        parts.append(INDEX)
    return "; ".join(parts)


def _read_index(config: NoisyPairsConfig, noise: NoiseType | None, rows: CleanRows) -> NoiseIndex:
    """Reads the index file, and refuses it under a name that promises another noise."""
    counts = rows.captions_per_image
    if counts is None or config.noise_index is None:
        raise DatasetError("A noise index gives captions to images, but these rows have none.")
    index = read_noise_index(config.noise_index, counts, len(counts))
    if config.noise == INDEX:
        return index
    share = float(index.pairs.is_noisy.mean())
    level, ratio = "none", 0.0
    if noise is not None:
        asked = noise.protocol()
        level, ratio = str(asked["level"]), float(asked["ratio"])
    if index.level != level or abs(share - ratio) > _RATIO_TOLERANCE:
        raise DatasetError(
            f"Config '{config.name}' says {ratio:.0%} noise at level '{level}', but "
            f"{config.noise_index} holds {share:.1%} at level '{index.level}'. Name the config "
            f"that fits, or use '{INDEX}'."
        )
    return index
