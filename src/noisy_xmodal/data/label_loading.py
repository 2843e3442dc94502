"""Rows with classes: any dataset brought to the column contract.

A row is an image and a text, each with the class that it is given. Either side is one vector
(`image_features`, `text_features`), or as it was: a picture (`image`), texts (`captions`). See
`columns` for the contract.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import datasets
import numpy as np
from numpy.typing import NDArray

from .any_dataset.captions import caption_reader, is_string, is_string_list, read_captions
from .any_dataset.columns import GivenColumns, find_columns, is_picture
from .any_dataset.opening import open_splits
from .any_dataset.picture_files import PictureFiles
from .any_dataset.tables import Opened, refuse_faults, resolve_pictures
from .columns import (
    CAPTIONS,
    IMAGE,
    IMAGE_FEATURES,
    IMAGE_LABEL,
    TEXT_FEATURES,
    TEXT_LABEL,
    TRUE_LABEL,
    DatasetError,
    check_is_split,
    column_values,
)
from .label_contract import (
    LABEL_COLUMNS,
    is_vector,
    no_label_error,
    read_labels,
    validate_label_columns,
)
from .labels import number_classes
from .messages import spell_options
from .plain_vectors import with_region_means
from .protocol import TRAIN

_OPTIONS = {"caption_column": "text_column", "id_column": None, "left_out": None}
LABEL = "label"  # one class for both sides, as most datasets of pictures name it


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
    """Brings rows with classes to the column contract.

    Classes are numbered alike in all splits. Rows are neither merged nor dropped, and the noise
    protocol stays. A column that has a name of the contract and another use is dropped.

    Args:
        dataset: One split or several.
        image_column: Vectors, pictures, paths or bytes; by default `image_features`, else the means
            of `regions`, else pictures, found by name and type.
        text_column: Vectors, or texts in any form that `as_pairs` reads; by default
            `text_features`, else texts, likewise.
        label_column: Class of a row, for both sides; by default `label`, where the dataset has
            neither `image_label` nor `text_label`.
        image_label_column: Class of the image, where the sides have classes of their own.
        text_label_column: Class of the text, likewise.

    Returns:
        The dataset by the contract.

    Raises:
        DatasetError: A column is not found or cannot be used, only one side has classes, or a row
            has none.
    """
    if not isinstance(dataset, datasets.DatasetDict):
        check_is_split(dataset, "as_label_pairs")
    several = isinstance(dataset, datasets.DatasetDict)
    splits = dict(dataset) if several else {str(dataset.split or TRAIN): dataset}
    if image_column is None:
        splits = {split: with_region_means(rows) for split, rows in splits.items()}
    named = (label_column, image_label_column, text_label_column)
    sources = {split: _label_sources(rows, *named, split) for split, rows in splits.items()}
    labels, names = _numbered(splits, sources)
    done = {}
    for split, rows in splits.items():
        used = {source for source in sources[split].values() if source not in LABEL_COLUMNS}
        sides = _with_sides(rows.remove_columns(sorted(used)), image_column, text_column, split)
        done[split] = _with_labels(sides, labels[split], names)
        done[split].info.description = rows.info.description
        validate_label_columns(done[split], split)
    return datasets.DatasetDict(done) if several else next(iter(done.values()))


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
    """Loads rows with classes from anywhere, by the column contract.

    Args:
        name_or_path: A folder that this library wrote, a Hub dataset, a folder or a file: all that
            `load_pairs` opens.
        config_name: Configuration of a dataset that has several.
        image_column: See `as_label_pairs`, also for the others.
        text_column: Vectors or texts.
        label_column: Class of a row, for both sides.
        image_label_column: Class of the image.
        text_label_column: Class of the text.

    Returns:
        The splits.

    Raises:
        DatasetError: The dataset, configuration or a picture file does not exist, or a split
            cannot be brought to the contract (see `as_label_pairs`).
    """
    given = GivenColumns(image_column, text_column)
    parts = open_splits(name_or_path, config_name, given, _with_whole_paths)
    try:
        refuse_faults(name_or_path, parts)
    except DatasetError as error:
        raise _renamed_option(error) from error
    splits = {
        split: opened.dataset if rows is None else opened.dataset.select(rows)
        for split, (opened, rows) in parts.items()
    }
    return as_label_pairs(
        datasets.DatasetDict(splits),
        image_column=image_column,
        text_column=text_column,
        label_column=label_column,
        image_label_column=image_label_column,
        text_label_column=text_label_column,
    )


def _with_whole_paths(opened: Opened, file: Path, split: str, files: PictureFiles) -> Opened:
    """Makes paths of pictures full ones, where there are any to be found."""
    if is_vector(opened.dataset.features.get(opened.given.image or IMAGE_FEATURES)):
        return opened
    try:
        return resolve_pictures(opened, file, split, files)
    except DatasetError as error:
        raise _renamed_option(error) from error


def _renamed_option(error: DatasetError) -> DatasetError:
    """The same message, with the option as it is called here."""
    return DatasetError(spell_options(str(error), _OPTIONS))


def _label_sources(
    rows: datasets.Dataset, both: str | None, image: str | None, text: str | None, split: str
) -> dict[str, str]:
    """Which column each column of classes is made from."""
    if both is not None and (image is not None or text is not None):
        raise DatasetError(
            "label_column is the class of both sides: give it, or image_label_column and "
            "text_label_column."
        )
    names = rows.column_names
    if not {IMAGE_LABEL, TEXT_LABEL} & {*names} and image is None and text is None:
        both = both or (LABEL if LABEL in names else None)
    sources = {IMAGE_LABEL: both or image or IMAGE_LABEL, TEXT_LABEL: both or text or TEXT_LABEL}
    for given in (both, image, text):
        if given is not None and given not in names:
            raise DatasetError(f"Split '{split}' has no column '{given}'; its columns are {names}.")
    missing = [name for name, source in sources.items() if source not in names]
    if missing:
        raise no_label_error(rows, missing, split)
    return sources | ({TRUE_LABEL: TRUE_LABEL} if TRUE_LABEL in names else {})


def _numbered(
    splits: dict[str, datasets.Dataset], sources: dict[str, dict[str, str]]
) -> tuple[dict[str, dict[str, NDArray[np.int64]]], list[str]]:
    """Numbers the classes of all columns of all splits; of none where they are numbered alike."""
    kinds = [splits[k].features[source] for k in splits for source in sources[k].values()]
    alike = all(isinstance(k, datasets.ClassLabel) and k.names == kinds[0].names for k in kinds)
    if alike and all(k == source for found in sources.values() for k, source in found.items()):
        return {split: {} for split in splits}, list(kinds[0].names)
    values = {
        split: {k: _class_values(splits[split], source, split) for k, source in found.items()}
        for split, found in sources.items()
    }
    names = _all_classes(values, kinds)
    labels: dict[str, dict[str, NDArray[np.int64]]] = {split: {} for split in splits}
    for name in LABEL_COLUMNS:
        columns = {split: found[name] for split, found in values.items() if name in found}
        where = next((found[name] for found in sources.values() if name in found), name)
        for split, numbers in number_classes(columns, f"column '{where}'", names)[0].items():
            labels[split][name] = numbers
    return labels, [str(name) for name in names]


def _all_classes(values: dict[str, dict[str, list[Any]]], kinds: Sequence[Any]) -> list[Any]:
    """The classes in the order of their numbers: as they are named, else those of train, sorted."""
    named = [name for k in kinds if isinstance(k, datasets.ClassLabel) for name in k.names]
    if named:
        return list(dict.fromkeys(named))
    known = [TRAIN] if TRAIN in values else list(values)
    found = {value for split in known for column in values[split].values() for value in column}
    if len({type(value) for value in found}) > 1:
        raise DatasetError(
            "One column of classes holds names and another numbers. Give both sides the same."
        )
    return sorted(found)


def _class_values(rows: datasets.Dataset, column: str, split: str) -> list[Any]:
    """Reads the classes of a column: names where they have some."""
    kind = rows.features[column]
    whole = isinstance(kind, datasets.Value) and kind.dtype.startswith(("int", "uint"))
    if not whole and not is_string(kind) and not isinstance(kind, datasets.ClassLabel):
        raise DatasetError(
            f"Column '{column}' of split '{split}' is {kind}: one class a row, as a name or a "
            "whole number, is needed. Name another with label_column=."
        )
    if is_string(kind):
        values = column_values(rows, column)
        empty = [row for row, value in enumerate(values) if not value or not value.strip()]
        if empty:
            raise DatasetError(
                f"Row {empty[0]} of split '{split}' has no class in column '{column}' "
                f"({values[empty[0]]!r}), as {len(empty)} rows have. Label them, or leave them out."
            )
        return values
    numbers = read_labels(rows, column, split).tolist()
    return numbers if whole else [kind.names[number] for number in numbers]


def _with_labels(
    rows: datasets.Dataset, labels: dict[str, NDArray[np.int64]], names: list[str]
) -> datasets.Dataset:
    result = rows.remove_columns([name for name in labels if name in rows.column_names])
    for name, numbers in labels.items():
        result = result.add_column(name, numbers, feature=datasets.ClassLabel(names=names))
    return result


def _with_sides(
    rows: datasets.Dataset, image: str | None, text: str | None, split: str
) -> datasets.Dataset:
    """Gives the columns of image and text the contract's names and types."""
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
    in_the_way = {*renamed.values(), *(() if captions is None else (CAPTIONS, *texts))}
    in_the_way -= renamed.keys()
    result = rows.remove_columns([name for name in rows.column_names if name in in_the_way])
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
            columns = find_columns(view, GivenColumns(image, text), split)
        except DatasetError as error:
            raise _renamed_option(error) from error
        image, texts = columns.visual, columns.captions
    else:
        image, texts = image or IMAGE, (text or CAPTIONS,)
    _check_side(features, image, is_picture(features.get(image)), "image_column", split)
    for name in texts:
        readable = caption_reader(features.get(name)) is not None
        _check_side(features, name, readable, "text_column", split)
    return image, texts


def _check_side(
    features: dict[str, Any], name: str, readable: bool, option: str, split: str
) -> None:
    if name not in features:
        raise DatasetError(
            f"Split '{split}' has no column '{name}'; its columns are {list(features)}. Name the "
            f"right one with {option}=."
        )
    if not is_vector(features[name]) and not readable:
        what = "picture" if option == "image_column" else "text"
        raise DatasetError(
            f"Column '{name}' of split '{split}' is {features[name]}: one vector or one {what} a "
            f"row is needed. Name another with {option}=."
        )
