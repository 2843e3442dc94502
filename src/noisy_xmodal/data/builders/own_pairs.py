"""Builder for any pairs that `load_pairs` opens, with noisy configs.

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
from ..any_dataset.shards import is_shard_pattern
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
    """One noise setting of the user's pairs.

    Attributes:
        source: A Hub dataset, a folder or a file for `load_pairs`.
        source_config: Its configuration, if it has several.
        image_column: The column of the image; detected by type and name if None.
        caption_column: The column of the captions; likewise.
        id_column: The column with the name of the image; likewise.
    """

    source: str | None = None
    source_config: str | None = None
    image_column: str | None = None
    caption_column: str | None = None
    id_column: str | None = None


class OwnSplit(CleanSplit):
    """A split that follows the column contract.

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
        """The types of the columns in `columns`."""
        return self._rows.features

    def raw_paths(self) -> Iterable[str]:
        """Returns the paths of picture files that are not stored in the rows."""
        if not isinstance(self.features.get(IMAGE), datasets.Image):
            return ()
        pictures = self._rows.select_columns([IMAGE])[:].column(IMAGE)
        is_file = pc.struct_field(pictures, "bytes").is_null()
        return pc.struct_field(pictures, "path").filter(is_file).drop_null().to_pylist()

    def columns(self, first: int, last: int) -> dict[str, Any]:
        """Reads all columns except captions and oracle; pictures with their bytes."""
        table = embed_table_storage(self._rows[first:last]).combine_chunks()
        return {name: table.column(name).combine_chunks() for name in table.column_names}


class OwnPairs(NoisyPairsBuilder):
    """Builder for any pairs of images and captions; requires `source`."""

    BUILDER_CONFIG_CLASS = OwnPairsConfig
    SUMMARY = "Image-caption pairs."

    @classmethod
    def source_version(cls, options: Mapping[str, Any]) -> str | None:
        """Returns the state of the file or folder, or the hash of the dataset on the Hub."""
        source = options.get("source")
        if source is None:
            return None
        path = Path(source).expanduser().absolute()
        if path.exists() or is_shard_pattern(str(path)):
            # The folder of a table contains its pictures.
            return file_state(next(folder for folder in (path, *path.parents) if folder.is_dir()))
        builder = datasets.load_dataset_builder(str(source), options.get("source_config"))
        return str(builder.hash)

    def open_splits(self) -> dict[str, CleanSplit]:
        """Loads the splits, and checks columns, captions and pictures.

        Raises:
            DatasetError: `source` is not set, rows violate the contract, pairs already have noise,
                or pictures do not decode.
        """
        config = self.config
        if config.source is None:
            raise DatasetError("OwnPairs needs your data: give source=NAME_OR_PATH.")
        left_out: dict[str, list[str]] = {}
        pairs = load_pairs(
            config.source,
            config.source_config,
            image_column=config.image_column,
            caption_column=config.caption_column,
            id_column=config.id_column,
            left_out=left_out if config.on_bad_image == "skip" else None,
        )
        rows, notes = {}, {}
        for name, dataset in pairs.items():
            validate_pairs(dataset, name)
            check_clean(dataset)
            good, notes[name] = keep_good_pictures(dataset, name, config.on_bad_image)
            if left_out.get(name):
                notes[name].append(f"left out: {first_few(left_out[name])}")
            rows[name], dropped = drop_side_columns(good)
            if dropped:
                notes[name].append(f"left out, as about single captions or files: {dropped}")
        shared = _select_shared_columns(rows)
        for name, dataset in shared.items():
            others = [k for k in rows[name].column_names if k not in dataset.column_names]
            if others:
                notes[name].append(f"left out, as not all splits have them: {others}")
        return {name: OwnSplit(dataset, notes[name]) for name, dataset in shared.items()}

    def row_features(self, splits: dict[str, CleanSplit]) -> dict[str, Any]:
        """Returns the types of the columns in the source."""
        return dict(cast(OwnSplit, next(iter(splits.values()))).features)

    def card_text(self, splits: dict[str, CleanSplit]) -> CardText:
        """Returns the text of the card."""
        return CardText(
            title="Image-caption pairs",
            body=f"Converted from `{Path(str(self.config.source)).name}` by "
            "`dataset_scripts/pairs.py`. `is_noisy` marks the captions that were moved; it is not "
            "known whether the other captions are correct.\n\n" + split_lines(splits),
            credit="The terms of the pictures and captions apply; state them here before sharing.",
        )


def _select_shared_columns(splits: dict[str, datasets.Dataset]) -> dict[str, datasets.Dataset]:
    """Selects the columns that have the same type in all splits.

    Raises:
        DatasetError: Splits differ in a column of the contract.
    """
    first, *others = splits.values()
    shared = [
        name
        for name, feature in first.features.items()
        if all(rows.features.get(name) == feature for rows in others)
    ]
    for name in (IMAGE, REGIONS, CAPTIONS, IMAGE_ID):
        types = {
            split: str(rows.features[name])
            for split, rows in splits.items()
            if name in rows.features
        }
        if types and name not in shared:
            raise DatasetError(
                f"Splits differ in column '{name}': {types}. Use the same type in all, or write "
                "them one by one."
            )
    return {split: rows.select_columns(shared) for split, rows in splits.items()}
