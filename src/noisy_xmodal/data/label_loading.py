"""Loading of pairs with classes from any dataset, by the column contract of `columns`.

A row is an image and a text with a class each. Each side is a vector (`image_features`,
`text_features`), or a picture (`image`) or texts (`captions`).
"""

from pathlib import Path
from typing import TypeVar

import datasets

from .any_dataset.captions import can_hold_captions, read_captions
from .any_dataset.columns import ColumnOptions, find_columns
from .any_dataset.opening import open_splits
from .any_dataset.tables import reject_faults
from .columns import (
    CAPTIONS,
    IMAGE,
    IMAGE_FEATURES,
    IMAGE_LABEL,
    LABEL_COLUMNS,
    TEXT_FEATURES,
    TEXT_LABEL,
    TRUE_LABEL,
    DatasetError,
    check_is_split,
    column_type_error,
    missing_column_error,
    no_label_error,
    validate_label_columns,
    with_columns,
)
from .feature_types import is_picture, is_string_list, is_vector
from .labels import number_label_columns
from .messages import spell_options
from .plain_vectors import with_region_means
from .protocol import TRAIN

_OPTIONS = {"caption_column": "text_column", "id_column": None, "left_out": None}
LABEL = "label"  # one class for both sides; the usual name in image datasets

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
    options = (label_column, image_label_column, text_label_column)
    sources = {split: _label_sources(rows, *options, split) for split, rows in splits.items()}
    labels = number_label_columns(splits, sources)
    results = {}
    for split, rows in splits.items():
        used = {*sources[split].values()} - {*LABEL_COLUMNS}
        sides = _rename_sides(rows.remove_columns(sorted(used)), image_column, text_column, split)
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
    try:
        splits = open_splits(name_or_path, config_name, options)
        reject_faults(name_or_path, splits)
    except DatasetError as error:
        raise _translate_options(error) from error
    return as_label_pairs(
        datasets.DatasetDict({split: raw.view() for split, raw in splits.items()}),
        image_column=image_column,
        text_column=text_column,
        label_column=label_column,
        image_label_column=image_label_column,
        text_label_column=text_label_column,
    )


def _translate_options(error: DatasetError) -> DatasetError:
    """Replaces the options of `load_pairs` in a message by those of `load_label_pairs`."""
    return DatasetError(spell_options(str(error), _OPTIONS))


def _label_sources(
    rows: datasets.Dataset, both: str | None, image: str | None, text: str | None, split: str
) -> dict[str, str]:
    """The source column of each label column."""
    if both is not None and (image is not None or text is not None):
        raise DatasetError(
            "label_column is the class of both sides: give it, or image_label_column and "
            "text_label_column, but not both."
        )
    names = rows.column_names
    if not {IMAGE_LABEL, TEXT_LABEL} & {*names} and image is None and text is None:
        both = both or (LABEL if LABEL in names else None)
    sources = {IMAGE_LABEL: both or image or IMAGE_LABEL, TEXT_LABEL: both or text or TEXT_LABEL}
    for name in (both, image, text):
        if name is not None and name not in names:
            raise missing_column_error(rows, name, split, "Name one of them.")
    missing = [name for name, source in sources.items() if source not in names]
    if missing:
        raise no_label_error(rows, missing, split)
    return sources | ({TRUE_LABEL: TRUE_LABEL} if TRUE_LABEL in names else {})


def _rename_sides(
    rows: datasets.Dataset, image: str | None, text: str | None, split: str
) -> datasets.Dataset:
    """Converts the columns of image and text to the names and types of the contract."""
    image, texts = _side_columns(rows, image, text, split)
    features = rows.features
    renamed = {image: IMAGE_FEATURES if is_vector(features[image]) else IMAGE}
    captions = None
    if is_vector(features[texts[0]]):
        renamed[texts[0]] = TEXT_FEATURES
    elif len(texts) == 1 and is_string_list(features[texts[0]]):
        renamed[texts[0]] = CAPTIONS
    else:
        captions = read_captions(rows, texts, split)
    replaced = {*renamed.values(), *(() if captions is None else (CAPTIONS, *texts))}
    replaced -= renamed.keys()
    result = rows.remove_columns([name for name in rows.column_names if name in replaced])
    result = result.rename_columns({old: new for old, new in renamed.items() if old != new})
    if captions is not None:
        feature = datasets.List(datasets.Value("string"))
        result = result.add_column(CAPTIONS, captions, feature=feature)
    if renamed[image] == IMAGE and not isinstance(result.features[IMAGE], datasets.Image):
        result = result.cast_column(IMAGE, datasets.Image())
    return result


def _side_columns(
    rows: datasets.Dataset, image: str | None, text: str | None, split: str
) -> tuple[str, tuple[str, ...]]:
    """Finds the column of the image, and the column or columns of the text."""
    features = dict(rows.features)
    image = image or (IMAGE_FEATURES if IMAGE_FEATURES in features else None)
    text = text or (TEXT_FEATURES if TEXT_FEATURES in features else None)
    if not any(is_vector(features.get(name)) for name in (image, text)):
        view = rows.remove_columns([name for name in LABEL_COLUMNS if name in features])
        try:
            columns = find_columns(view, ColumnOptions(image, text), split)
        except DatasetError as error:
            raise _translate_options(error) from error
        image, texts = columns.visual, columns.captions
    else:
        image, texts = image or IMAGE, (text or CAPTIONS,)
    _check_side(rows, image, is_picture(features.get(image)), "picture", split)
    for name in texts:
        readable = can_hold_captions(features.get(name))
        _check_side(rows, name, readable, "text", split)
    return image, texts


def _check_side(rows: datasets.Dataset, name: str, readable: bool, kind: str, split: str) -> None:
    hint = f"Name another with {'image' if kind == 'picture' else kind}_column=."
    if name not in rows.column_names:
        raise missing_column_error(rows, name, split, hint)
    if not is_vector(rows.features[name]) and not readable:
        raise column_type_error(rows, name, split, f"one vector or one {kind} per row", hint)
