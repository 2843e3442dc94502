"""Anybody's pairs: whatever `load_pairs` opens, written with noisy configs.

write_dataset(OwnPairs, "out", ["clean", "cmp_40"], source="captions.csv")
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import datasets
import pyarrow.compute as pc
from datasets.table import embed_table_storage

from ..any_dataset import load_pairs
from ..any_dataset.shard_files import is_shard_pattern
from ..card import CardText
from ..columns import (
    CAPTIONS,
    IMAGE,
    IMAGE_ID,
    IS_NOISY,
    OBJECTS,
    REGIONS,
    TAGS,
    DatasetError,
    column_values,
    validate_pairs,
)
from ..injection import check_clean, drop_side_columns
from ..pictures import first_few, keep_good_pictures
from .base import NoisyPairsBuilder, NoisyPairsConfig
from .clean_split import CleanSplit, Facts, rows_per_block, split_lines
from .raw_files import file_state


@dataclass
class OwnPairsConfig(NoisyPairsConfig):
    """One noise setting of a person's own pairs.

    Attributes:
        source: What `load_pairs` opens: a Hub dataset, a folder or a file.
        source_config: Its configuration, where it has several.
        image_column: The column of the image; found by type and name where it is left out.
        caption_column: The column of the captions, likewise.
        id_column: The column that names the image, likewise.
    """

    source: str | None = None
    source_config: str | None = None
    image_column: str | None = None
    caption_column: str | None = None
    id_column: str | None = None


class OwnSplit(CleanSplit):
    """A split that keeps the column contract.

    Args:
        rows: The rows.
        notes: Lines for the card.
    """

    def __init__(self, rows: datasets.Dataset, notes: list[str]) -> None:
        names = rows.column_names
        self.facts = Facts(
            captions=column_values(rows, CAPTIONS),
            objects=column_values(rows, OBJECTS) if OBJECTS in names else None,
            tags=column_values(rows, TAGS) if TAGS in names else None,
            notes=notes,
        )
        dropped = [name for name in (CAPTIONS, IS_NOISY) if name in names]
        self._rows = rows.remove_columns(dropped).with_format("arrow")
        first = embed_table_storage(self._rows[:100])
        self.block_rows = rows_per_block(first.nbytes / max(1, len(first)))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def features(self) -> datasets.Features:
        """The types of the columns that `columns` gives."""
        return self._rows.features

    def raw_paths(self) -> Iterable[str]:
        """Names the picture files of rows that do not hold their pictures."""
        if not isinstance(self.features.get(IMAGE), datasets.Image):
            return ()
        paths = self._rows.select_columns([IMAGE])[:].column(IMAGE)
        pictures = pc.struct_field(paths, "bytes").is_null()
        return pc.struct_field(paths, "path").filter(pictures).drop_null().to_pylist()

    def columns(self, first: int, last: int) -> dict[str, Any]:
        """Returns all columns but captions and oracle; pictures with their bytes."""
        table = embed_table_storage(self._rows[first:last]).combine_chunks()
        return {name: table.column(name).combine_chunks() for name in table.column_names}


class OwnPairs(NoisyPairsBuilder):
    """Builder over any pairs of images and captions; `source` is needed."""

    BUILDER_CONFIG_CLASS = OwnPairsConfig
    SUMMARY = "Image-caption pairs."

    @classmethod
    def source_version(cls, options: Mapping[str, Any]) -> str | None:
        """Names the state of the file or folder, or of the dataset on the Hub."""
        source = options.get("source")
        if source is None:
            return None
        path = Path(source).expanduser().absolute()
        if path.exists() or is_shard_pattern(str(path)):
            # Pictures lie in the folder of a table or below it.
            return file_state(next(place for place in (path, *path.parents) if place.is_dir()))
        builder = datasets.load_dataset_builder(str(source), options.get("source_config"))
        return str(builder.hash)

    def open_splits(self) -> dict[str, CleanSplit]:
        """Loads the splits, and checks columns, captions and pictures.

        Raises:
            DatasetError: No `source`, rows that break the contract, pairs that are noisy
                already, or pictures that do not decode.
        """
        config = self.config
        if config.source is None:
            raise DatasetError("OwnPairs needs to know your data: give source=NAME_OR_PATH.")
        left_out: dict[str, list[str]] = {}
        found = load_pairs(
            config.source,
            config.source_config,
            image_column=config.image_column,
            caption_column=config.caption_column,
            id_column=config.id_column,
            left_out=left_out if config.on_bad_image == "skip" else None,
        )
        rows, notes = {}, {}
        for name, dataset in found.items():
            validate_pairs(dataset, name)
            check_clean(dataset)
            good, notes[name] = keep_good_pictures(dataset, name, config.on_bad_image)
            if left_out.get(name):
                notes[name].append(f"left out: {first_few(left_out[name])}")
            rows[name], dropped = drop_side_columns(good)
            if dropped:
                notes[name].append(f"left out, as about single captions or files: {dropped}")
        shared = _same_columns(rows)
        for name, kept in shared.items():
            own = [column for column in rows[name].column_names if column not in kept.column_names]
            if own:
                notes[name].append(f"left out, as not all splits have them: {own}")
        return {name: OwnSplit(kept, notes[name]) for name, kept in shared.items()}

    def row_features(self, splits: dict[str, CleanSplit]) -> dict[str, Any]:
        """Returns the types of the columns as they were found."""
        return dict(cast(OwnSplit, next(iter(splits.values()))).features)

    def card_text(self, splits: dict[str, CleanSplit]) -> CardText:
        """Returns what the card says."""
        return CardText(
            title="Image-caption pairs",
            body=f"Made from `{Path(str(self.config.source)).name}` by "
            "`dataset_scripts/pairs.py`. `is_noisy` marks the captions that were moved; whether "
            "the others were right before is not known.\n\n" + split_lines(splits),
            credit="The terms of the pictures and captions apply; name them here before sharing.",
        )


def _same_columns(splits: dict[str, datasets.Dataset]) -> dict[str, datasets.Dataset]:
    """Keeps the columns that all splits have, with one type.

    Raises:
        DatasetError: Splits differ in a column of the contract.
    """
    first, *others = splits.values()
    kept = [
        name
        for name, feature in first.features.items()
        if all(rows.features.get(name) == feature for rows in others)
    ]
    for name in (IMAGE, REGIONS, CAPTIONS, IMAGE_ID):
        found = {
            split: str(rows.features[name])
            for split, rows in splits.items()
            if name in rows.features
        }
        if found and name not in kept:
            raise DatasetError(
                f"Splits differ in column '{name}': {found}. Give all the same type, or write them "
                "one by one."
            )
    return {split: rows.select_columns(kept) for split, rows in splits.items()}
