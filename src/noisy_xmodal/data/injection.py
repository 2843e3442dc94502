"""Noise for datasets in memory: the same noise as that of the dataset builders.

    noisy = inject_noise(load_pairs("photos/captions.csv"), "cmp_40", seed=0)

A dataset that was written with `cmp_40` and the same seed has the same captions in the same places.
Only the columns that noise changes are new, so six noisy variants of a dataset need six times the
memory of its captions. (After `select` or `shuffle`, `datasets` first writes a copy of the rows to
its cache, once.)
"""

import logging
import os
from typing import Any, TypeVar

import datasets
import pyarrow.compute as pc

from ..noise import LabelNoise, NoiseType, parse_noise
from .any_dataset import as_pairs
from .clean_split import CleanSplit, DatasetColumn
from .columns import (
    CAPTIONS,
    IMAGE,
    IMAGE_ID,
    IMAGE_LABEL,
    IS_NOISY,
    OBJECTS,
    REGIONS,
    TAGS,
    TEXT_FEATURES,
    TEXT_LABEL,
    TRUE_LABEL,
    DatasetError,
    column_values,
    read_labels,
    with_columns,
)
from .corruption import apply_noise, check_seed, read_noise
from .feature_types import is_class, is_integer
from .labels import number_classes, read_classes
from .protocol import INDEX, NATURAL, TRAIN, noise_protocol, with_protocol

_LOGGER = logging.getLogger(__name__)

AnyDataset = TypeVar("AnyDataset", datasets.Dataset, datasets.DatasetDict)


def inject_noise(
    dataset: AnyDataset,
    noise: str | NoiseType,
    seed: int = 0,
    *,
    image_column: str | None = None,
    caption_column: str | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    object_column: str = OBJECTS,
    objects_from: str | None = None,
    noise_index: str | os.PathLike[str] | None = None,
) -> AnyDataset:
    """Makes an exact number of pairs or labels of a clean dataset wrong.

    Args:
        dataset: Clean rows: images with captions under any column names (see `as_pairs`), or, for
            noise on labels, rows with a class. Of a `DatasetDict` only "train" gets noise.
        noise: A name such as "cmp_40", "cmp_image_40", "part_40", "sym_60" or "noise_index", or a
            noise of `noisy_xmodal.noise`.
        seed: Seed of the draw.
        image_column: The column of the image; by default chosen by type and name.
        caption_column: The column of the captions, likewise.
        id_column: The column of the image's name, likewise.
        label_column: The column of the class, for noise on labels; `image_label` by default.
        object_column: The column of the object sets, for partial noise.
        objects_from: Derive object sets from "tags" or "captions" (their nouns) instead.
        noise_index: A published noise-index file, for the noise "noise_index".

    Returns:
        The dataset with `captions` and `is_noisy`, or `image_label`, `text_label` and `true_label`,
        and with the noise protocol in its info (see `noise_protocol`). `is_noisy` is True for the
        captions that this call moved.

    Raises:
        DatasetError: The dataset lacks what the noise needs, is noisy already, or is streamed.
        ValueError: The noise cannot be applied to these rows.
    """
    if isinstance(dataset, datasets.IterableDataset | datasets.IterableDatasetDict):
        raise DatasetError(
            "Noise moves captions between rows, so it needs all rows: load the dataset without "
            "streaming."
        )
    if not isinstance(dataset, datasets.Dataset | datasets.DatasetDict):
        raise DatasetError(f"Give a Dataset or a DatasetDict, not a {type(dataset).__name__}.")
    check_seed(seed)
    if (noise == INDEX) != (noise_index is not None):
        raise DatasetError(f"The noise '{INDEX}' and a file noise_index=PATH go together.")
    injector = None if noise == INDEX else parse_noise(noise) if isinstance(noise, str) else noise
    splits = dict(dataset) if isinstance(dataset, datasets.DatasetDict) else {TRAIN: dataset}
    if TRAIN not in splits:
        raise DatasetError(
            f"Noise is for the split '{TRAIN}'; there are {', '.join(splits)}. Give the split "
            "itself: inject_noise(dataset['...'], ...)."
        )
    for rows in splits.values():
        check_clean(rows)
    options: dict[str, Any] = {}
    if isinstance(injector, LabelNoise) or (noise != INDEX and _has_vectors_only(splits[TRAIN])):
        clean = _clean_labels(splits, label_column or IMAGE_LABEL)
    else:
        names = {
            "image_column": image_column,
            "caption_column": caption_column,
            "id_column": id_column,
        }
        splits = {
            name: _without_side_columns(as_pairs(rows, split=name, **names), name, object_column)
            for name, rows in splits.items()
        }
        for rows in splits.values():
            check_clean(rows)  # again, as flags of any form are lists now
        clean = {name: _clean_pairs(rows, object_column) for name, rows in splits.items()}
        path = None if noise_index is None else os.fspath(noise_index)
        if path is not None:
            injector = read_noise(INDEX, clean[TRAIN], path)
        options = {"objects_from": objects_from, "noise_index": path}
    results = {name: _inject(rows, clean[name], None, seed) for name, rows in splits.items()}
    results[TRAIN] = _inject(splits[TRAIN], clean[TRAIN], injector, seed, **options)
    if isinstance(dataset, datasets.DatasetDict):
        return datasets.DatasetDict(results)
    return results[TRAIN]


def _without_side_columns(
    pairs: datasets.Dataset, split: str, object_column: str
) -> datasets.Dataset:
    kept, dropped = drop_side_columns(pairs, keep=(object_column,))
    if dropped:
        _LOGGER.warning(
            "Left out of split '%s', because they describe single captions or files: %s",
            split,
            dropped,
        )
    return kept


def _inject(
    rows: datasets.Dataset, split: CleanSplit, noise: NoiseType | None, seed: int, **options: Any
) -> datasets.Dataset:
    """Adds the columns with noise to rows, without reading the others."""
    new, protocol = apply_noise(split, noise, seed, **options)
    types = split.features()
    result = with_columns(rows, {name: (values, types[name]) for name, values in new.items()})
    result.info.description = with_protocol(rows.info.description or "", protocol)
    return result


def _clean_pairs(pairs: datasets.Dataset, object_column: str) -> CleanSplit:
    """The columns that noise on captions uses."""
    columns: dict[str, Any] = {CAPTIONS: column_values(pairs, CAPTIONS)}
    for name, source in ((OBJECTS, object_column), (TAGS, TAGS)):
        if source in pairs.column_names:
            columns[name] = DatasetColumn(pairs, source)
    return CleanSplit(columns)


def _clean_labels(splits: dict[str, datasets.Dataset], column: str) -> dict[str, CleanSplit]:
    """The classes of each split, numbered."""
    values, names = {}, None
    for split, rows in splits.items():
        values[split] = read_classes(rows, column, split)
        if column != TRUE_LABEL:
            _check_labels_agree(rows, column, split)
        names = getattr(rows.features[column], "names", names)
    labels, names = number_classes(values, f"column '{column}'", names)
    return {split: CleanSplit({}, labels=labels[split], class_names=names) for split in splits}


def _check_labels_agree(rows: datasets.Dataset, column: str, split: str) -> None:
    """Checks that the label columns that noise replaces have the classes of `column`."""
    for name in (TEXT_LABEL, TRUE_LABEL):
        if name not in rows.column_names:
            continue
        types = [rows.features[column], rows.features[name]]
        by_number = all(map(is_class, types)) and any(map(is_integer, types))
        read = read_labels if by_number else read_classes
        pairs = zip(read(rows, column, split), read(rows, name, split), strict=True)
        n_different = sum(own != other for own, other in pairs)
        if n_different:
            hint = f", name them with label_column='{TRUE_LABEL}'" if name == TRUE_LABEL else ""
            raise DatasetError(
                f"Column '{name}' differs from '{column}' in {n_different} rows of split "
                f"'{split}': these labels are noisy already, and noise on top of them could not be "
                f"counted. Give clean labels{hint}, or drop the column '{name}'."
            )


def check_clean(dataset: datasets.Dataset) -> None:
    """Checks that a dataset has no noise as far as its protocol and `is_noisy` say.

    Raises:
        DatasetError: It has noise.
    """
    protocol = noise_protocol(dataset)
    if protocol is not None and protocol["type"] == NATURAL:
        raise DatasetError(
            "This dataset was collected with noise, and nobody knows where: noise on top of it "
            "could not be counted. Start from a clean dataset."
        )
    if protocol is not None and protocol["type"] != "clean":
        raise DatasetError(
            f"This dataset has noise already ({protocol['type']}, wrong share "
            f"{protocol['share_wrong']}): load its config 'clean'."
        )
    if IS_NOISY in dataset.column_names and isinstance(dataset.features[IS_NOISY], datasets.List):
        n_wrong = sum(sum(map(bool, flags or ())) for flags in column_values(dataset, IS_NOISY))
        if n_wrong:
            raise DatasetError(
                f"Column '{IS_NOISY}' marks {n_wrong} captions as wrong already. Noise on top of "
                "them could not be counted: give clean pairs."
            )


def _has_vectors_only(rows: datasets.Dataset) -> bool:
    """Whether only labels can get noise, because the text is a vector."""
    return IMAGE_LABEL in rows.column_names and TEXT_FEATURES in rows.column_names


def drop_side_columns(
    pairs: datasets.Dataset, keep: tuple[str, ...] = ()
) -> tuple[datasets.Dataset, list[str]]:
    """Drops columns about single captions, which would not move with the captions.

    Those are lists with one entry per caption (sentence ids, raters), structures (the JSON of a
    WebDataset), and WebDataset's own fields (the source file of a row).

    Args:
        pairs: Rows by the column contract.
        keep: More columns to keep.

    Returns:
        The rows without them, and their names.
    """
    kept = (IMAGE, REGIONS, CAPTIONS, IMAGE_ID, IS_NOISY, OBJECTS, TAGS, *keep)
    n_captions = _list_lengths(pairs, CAPTIONS)
    several = max(n_captions, default=0) > 1
    dropped = []
    for name in [name for name in pairs.column_names if name not in kept]:
        feature = pairs.features[name]
        lists = isinstance(feature, datasets.List) and feature.length == -1
        per_caption = several and lists and _list_lengths(pairs, name) == n_captions
        if name.startswith("__") or isinstance(feature, dict) or per_caption:
            dropped.append(name)
    return pairs.remove_columns(dropped), dropped


def _list_lengths(dataset: datasets.Dataset, name: str) -> list[int]:
    column = dataset.select_columns([name]).with_format("arrow")[:].column(name)
    return list(pc.list_value_length(column).to_pylist())
