"""Any pairs that `load_pairs` opens, with noisy configs.

write_dataset(OwnPairs, "out", ["clean", "cmp_40"], source="captions.csv")
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from ..any_dataset import load_pairs
from ..any_dataset.shards import is_shard_pattern
from ..clean_split import CleanSplit, DatasetColumn
from ..columns import (
    CAPTIONS,
    IMAGE,
    IMAGE_ID,
    IS_NOISY,
    REGIONS,
    DatasetError,
    column_values,
    validate_pairs,
)
from ..injection import check_clean, drop_side_columns
from ..pictures import first_few, keep_good_pictures
from .base import NoisyPairsBuilder, NoisyPairsConfig
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


class OwnPairs(NoisyPairsBuilder):
    """Any pairs of images and captions; requires `source`."""

    BUILDER_CONFIG_CLASS = OwnPairsConfig
    CARD = "own_pairs.md"

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

    def card_values(self) -> dict[str, Any]:
        """Returns the name of the source."""
        return {"source": Path(str(self.config.source)).name}

    def read(self) -> dict[str, CleanSplit]:
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
        shared = _shared_columns(rows)
        for name, dataset in rows.items():
            others = [column for column in dataset.column_names if column not in shared]
            if others:
                notes[name].append(f"left out, as not all splits have them: {others}")
        splits = {}
        for name, dataset in rows.items():
            kept = [column for column in shared if column not in (CAPTIONS, IS_NOISY)]
            columns: dict[str, Any] = {column: DatasetColumn(dataset, column) for column in kept}
            columns[CAPTIONS] = column_values(dataset, CAPTIONS)
            splits[name] = CleanSplit(columns, notes=notes[name])
        return splits


def _shared_columns(splits: dict[str, datasets.Dataset]) -> list[str]:
    """The columns that have the same type in all splits.

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
    return shared
