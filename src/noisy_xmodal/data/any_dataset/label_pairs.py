"""Conversion of any dataset of images and texts with classes to the column contract.

A row is an image and a text with a class each. Each side is a vector (`image_features`,
`text_features`), or a picture (`image`) or texts (`captions`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import datasets

from ..columns import (
    CAPTIONS,
    IMAGE,
    IMAGE_FEATURES,
    LABEL_COLUMNS,
    TEXT_FEATURES,
    DatasetError,
    check_is_split,
    validate_label_columns,
    with_columns,
)
from ..feature_types import is_string_list, is_vector
from ..labels import number_label_columns
from ..messages import spell_options
from ..plain_vectors import with_region_means
from ..protocol import TRAIN
from .captions import read_captions
from .columns import ColumnOptions, find_labels, find_sides
from .opening import open_splits
from .pairs import replace_columns
from .tables import reject_faults

_OPTIONS = {"caption_column": "text_column", "id_column": None, "left_out": None}

AnyDataset = TypeVar("AnyDataset", datasets.Dataset, datasets.DatasetDict)


def as_label_pairs(
    dataset: AnyDataset,
    *,
    image_column: str | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    image_label_column: str | None = None,
    text_label_column: str | None = None,
) -> AnyDataset:
    """Converts rows with classes to the column contract.

    All splits share the class numbers. Rows are neither merged nor dropped, and the noise protocol
    is kept. An unrelated column with a name of the contract is dropped.

    Args:
        dataset: One split or several.
        image_column: Vectors, pictures, paths or bytes. By default `image_features`, else the means
            of `regions`, else a column of pictures, detected by name and type.
        text_column: Vectors, or texts in any form that `as_pairs` accepts. By default
            `text_features`, else a column of texts, detected by name and type.
        label_column: The class of both sides. By default `label`, if the dataset has neither
            `image_label` nor `text_label`.
        image_label_column: The class of the image, if the sides have different columns.
        text_label_column: The class of the text, if the sides have different columns.

    Returns:
        The dataset in the columns of the contract.

    Raises:
        DatasetError: A column is missing or unusable, only one side has classes, or a row has no
            class.
    """
    if not isinstance(dataset, datasets.DatasetDict):
        check_is_split(dataset, "as_label_pairs")
    has_splits = isinstance(dataset, datasets.DatasetDict)
    splits = dict(dataset) if has_splits else {str(dataset.split or TRAIN): dataset}
    if image_column is None:
        splits = {split: with_region_means(rows) for split, rows in splits.items()}
    sources = {
        split: find_labels(rows, label_column, image_label_column, text_label_column, split)
        for split, rows in splits.items()
    }
    labels = number_label_columns(splits, sources)
    results = {}
    for split, rows in splits.items():
        used = set(sources[split].values()).difference(LABEL_COLUMNS)
        sides = rows.remove_columns(sorted(used))
        sides = _convert_sides(sides, ColumnOptions(image_column, text_column), split)
        sides = sides.remove_columns([name for name in labels[split] if name in sides.features])
        results[split] = with_columns(sides, labels[split])
        results[split].info.description = rows.info.description
        validate_label_columns(results[split], split)
    return datasets.DatasetDict(results) if has_splits else next(iter(results.values()))


def load_label_pairs(
    name_or_path: str | Path,
    config_name: str | None = None,
    *,
    image_column: str | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    image_label_column: str | None = None,
    text_label_column: str | None = None,
) -> datasets.DatasetDict:
    """Loads pairs with classes from a folder, a file or the Hub, by the column contract.

    Args:
        name_or_path: A folder of this library, a Hub dataset, or any folder or file that
            `load_pairs` accepts.
        config_name: Configuration, if the dataset has several.
        image_column: See `as_label_pairs`, also for the other columns.
        text_column: Vectors or texts.
        label_column: The class of both sides.
        image_label_column: The class of the image.
        text_label_column: The class of the text.

    Returns:
        The splits.

    Raises:
        DatasetError: The dataset, configuration or a picture file does not exist, or a split
            cannot be converted (see `as_label_pairs`).
    """
    options = ColumnOptions(image_column, text_column)
    with _label_options():
        splits = open_splits(name_or_path, config_name, options)
        reject_faults(name_or_path, splits)
    return as_label_pairs(
        datasets.DatasetDict({split: raw.view() for split, raw in splits.items()}),
        image_column=image_column,
        text_column=text_column,
        label_column=label_column,
        image_label_column=image_label_column,
        text_label_column=text_label_column,
    )


@contextmanager
def _label_options() -> Iterator[None]:
    """Replaces the options of `load_pairs` in messages by those of `load_label_pairs`."""
    try:
        yield
    except DatasetError as error:
        raise DatasetError(spell_options(str(error), _OPTIONS)) from error


def _convert_sides(rows: datasets.Dataset, options: ColumnOptions, split: str) -> datasets.Dataset:
    """Converts the columns of image and text to the names and types of the contract."""
    with _label_options():
        image, texts = find_sides(rows, options, split)
    features = rows.features
    new_names = {image: IMAGE_FEATURES if is_vector(features[image]) else IMAGE}
    captions = {}
    if is_vector(features[texts[0]]):
        new_names[texts[0]] = TEXT_FEATURES
    elif len(texts) == 1 and is_string_list(features[texts[0]]):
        new_names[texts[0]] = CAPTIONS
    else:
        captions = {CAPTIONS: read_captions(rows, texts, split)}
    return replace_columns(rows, new_names, captions, texts)
