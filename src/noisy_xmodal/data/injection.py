"""Noise for data in memory: the noise of the builders, for any dataset of a person's own.

    noisy = inject_noise(load_pairs("photos/captions.csv"), "cmp_40", seed=0)

A dataset that was written with `cmp_40` and the same seed holds the same captions in the same
places. Only the columns that noise touches are new, so six noisy variants of one dataset cost six
times its captions. (Of a selection of rows, as `select` and `shuffle` make, `datasets` first writes
a copy to its cache, once.)
"""

import logging
import os
from typing import Any, TypeVar

import datasets
import pyarrow.compute as pc

from ..noise import NoiseType, SymmetricLabelNoise, parse_noise, read_noise_index
from .any_dataset import as_pairs
from .caption_nouns import caption_nouns
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
)
from .corruption import (
    ANNOTATIONS,
    CleanRows,
    Corrupted,
    ObjectSource,
    check_seed,
    corrupt,
)
from .labels import number_classes
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
    """Makes pairs or labels of a clean dataset wrong, by an exact count and a seed.

    Args:
        dataset: Clean rows: images with captions under any column names (see `as_pairs`), or, for
            noise on labels, rows with a class. Of a `DatasetDict` only "train" is corrupted.
        noise: A name such as "cmp_40", "cmp_image_40", "part_40", "sym_60" or "noise_index", or an
            injector of `noisy_xmodal.noise`.
        seed: Seed of the draw.
        image_column: The column of the image; found by type and name where it is left out.
        caption_column: The column of the captions, likewise.
        id_column: The column that names the image, likewise.
        label_column: The column of the class, for noise on labels; `image_label` by default.
        object_column: The column of the object sets, for partial noise.
        objects_from: Make object sets from "tags" or "captions" (their nouns) instead.
        noise_index: A published noise-index file, with the noise "noise_index".

    Returns:
        The dataset with `captions` and `is_noisy`, or `image_label`, `text_label` and `true_label`,
        and with the noise protocol in its info (see `noise_protocol`). A caption that stays is
        flagged False: the flags say what this call moved.

    Raises:
        DatasetError: The dataset lacks what the noise is about, is noisy already, or is streamed.
        ValueError: The noise cannot be applied to these rows.
    """
    if isinstance(dataset, datasets.IterableDataset | datasets.IterableDatasetDict):
        raise DatasetError(
            "Noise moves captions between rows, so that all rows are needed: load the dataset "
            "without streaming."
        )
    if not isinstance(dataset, datasets.Dataset | datasets.DatasetDict):
        raise DatasetError(f"Give a Dataset or a DatasetDict, not a {type(dataset).__name__}.")
    check_seed(seed)
    if (noise == INDEX) != (noise_index is not None):
        raise DatasetError(f"The noise '{INDEX}' and a file noise_index=PATH go together.")
    injector = _injector(noise)
    splits = dict(dataset) if isinstance(dataset, datasets.DatasetDict) else {TRAIN: dataset}
    if TRAIN not in splits:
        raise DatasetError(
            f"Noise is for the split '{TRAIN}'; there are {', '.join(splits)}. Give the split "
            "itself: inject_noise(dataset['...'], ...)."
        )
    for rows in splits.values():
        check_clean(rows)
    if isinstance(injector, SymmetricLabelNoise) or _has_vectors_only(splits[TRAIN]):
        done = _inject_labels(splits, injector, seed, label_column or IMAGE_LABEL)
    else:
        pairs = {}
        for name, rows in splits.items():
            found = as_pairs(
                rows,
                image_column=image_column,
                caption_column=caption_column,
                id_column=id_column,
                split=name,
            )
            pairs[name], dropped = drop_side_columns(found, keep=(object_column,))
            if dropped:
                _LOGGER.warning(
                    "Left out of split '%s', as they tell of single captions or files: %s",
                    name,
                    dropped,
                )
        objects = {
            "object_sources": _object_sources(pairs[TRAIN], object_column),
            "objects_from": objects_from or ANNOTATIONS,
        }
        done = {name: _inject_captions(rows, None, seed) for name, rows in pairs.items()}
        done[TRAIN] = _inject_captions(pairs[TRAIN], injector, seed, noise_index, **objects)
    return datasets.DatasetDict(done) if isinstance(dataset, datasets.DatasetDict) else done[TRAIN]


def _injector(noise: str | NoiseType) -> NoiseType | None:
    if noise == INDEX:
        return None
    return parse_noise(noise) if isinstance(noise, str) else noise


def _inject_captions(
    pairs: datasets.Dataset,
    noise: NoiseType | None,
    seed: int,
    noise_index: str | os.PathLike[str] | None = None,
    **objects: Any,
) -> datasets.Dataset:
    captions = column_values(pairs, CAPTIONS)
    rows = CleanRows.of_captions(captions, **objects)
    if noise_index is None:
        done = corrupt(noise, rows, seed)
    else:
        index = read_noise_index(noise_index, [len(texts) for texts in captions], len(captions))
        done = corrupt(index, rows, seed, noise_index=os.path.basename(noise_index))
    return _with_captions(pairs, captions, done)


def _with_captions(
    pairs: datasets.Dataset, captions: list[list[str]], done: Corrupted
) -> datasets.Dataset:
    assert done.pairs is not None  # rows with captions
    flat = [text for texts in captions for text in texts]
    caption_ids, wrong = done.pairs.rows(), done.pairs.is_noisy
    new = {
        CAPTIONS: [[flat[i] for i in ids] for ids in caption_ids],
        IS_NOISY: [wrong[ids].tolist() for ids in caption_ids],
    }
    kinds = {
        CAPTIONS: datasets.List(datasets.Value("string")),
        IS_NOISY: datasets.List(datasets.Value("bool")),
    }
    return _replace(pairs, new, kinds, done.protocol)


def _inject_labels(
    splits: dict[str, datasets.Dataset], noise: NoiseType | None, seed: int, column: str
) -> dict[str, datasets.Dataset]:
    values, names = {}, None
    for split, rows in splits.items():
        if column not in rows.column_names:
            raise DatasetError(
                f"Noise on labels needs a column of classes, but split '{split}' has no "
                f"'{column}'; its columns are {rows.column_names}. Give label_column=NAME."
            )
        if not isinstance(rows.features[column], datasets.ClassLabel | datasets.Value):
            raise DatasetError(
                f"Column '{column}' of split '{split}' is {rows.features[column]}: one class a row "
                "is needed. Give label_column=NAME."
            )
        values[split] = column_values(rows, column)
        hidden = [row for row, value in enumerate(values[split]) if value is None or value == -1]
        if hidden:
            raise DatasetError(
                f"Row {hidden[0]} of split '{split}' has no class in column '{column}' "
                f"({values[split][hidden[0]]}), as {len(hidden)} rows have: hidden labels are no "
                "labels. Leave the split or the rows out."
            )
        if isinstance(rows.features[column], datasets.ClassLabel):
            names = rows.features[column].names
            values[split] = [names[value] for value in values[split]]
    labels, names = number_classes(values, f"column '{column}'", names)
    kind = datasets.ClassLabel(names=list(names))
    kinds = dict.fromkeys((IMAGE_LABEL, TEXT_LABEL, TRUE_LABEL), kind)
    done = {}
    for split, rows in splits.items():
        clean = CleanRows(None, labels=labels[split], n_classes=len(names))
        found = corrupt(noise if split == TRAIN else None, clean, seed)
        assert found.labels is not None  # rows with labels
        given = found.labels
        new = {IMAGE_LABEL: given.image, TEXT_LABEL: given.text, TRUE_LABEL: given.true}
        done[split] = _replace(rows, new, kinds, found.protocol)
    return done


def _replace(
    dataset: datasets.Dataset,
    new: dict[str, Any],
    kinds: dict[str, Any],
    protocol: dict[str, Any],
) -> datasets.Dataset:
    """Puts new columns in place of old ones, which keeps the rest unread."""
    names = [*dataset.column_names, *(name for name in new if name not in dataset.column_names)]
    result = dataset.remove_columns([name for name in new if name in dataset.column_names])
    for name, values in new.items():
        result = result.add_column(name, values, feature=kinds[name])
    result = result.select_columns(names)
    result.info.description = with_protocol(dataset.info.description or "", protocol)
    return result


def check_clean(dataset: datasets.Dataset) -> None:
    """Refuses a dataset that is known to hold noise.

    Raises:
        DatasetError: Its protocol or its column `is_noisy` says so.
    """
    protocol = noise_protocol(dataset)
    if protocol is not None and protocol["type"] == NATURAL:
        raise DatasetError(
            "This dataset is noisy as it comes, and nobody knows where: noise on top of it could "
            "not be counted. Start from a dataset that is known to be clean."
        )
    if protocol is not None and protocol["type"] != "clean":
        raise DatasetError(
            f"This dataset carries noise already ({protocol['type']}, of which "
            f"{protocol['share_wrong']} is wrong): load its config 'clean'."
        )
    if IS_NOISY in dataset.column_names and isinstance(dataset.features[IS_NOISY], datasets.List):
        n_wrong = sum(sum(map(bool, flags or ())) for flags in column_values(dataset, IS_NOISY))
        if n_wrong:
            raise DatasetError(
                f"Column '{IS_NOISY}' marks {n_wrong} captions as wrong already. Noise on top of "
                "it could not be counted: give clean pairs."
            )


def _has_vectors_only(rows: datasets.Dataset) -> bool:
    """Whether there is nothing but labels to corrupt, as the text is a vector."""
    return IMAGE_LABEL in rows.column_names and TEXT_FEATURES in rows.column_names


def drop_side_columns(
    pairs: datasets.Dataset, keep: tuple[str, ...] = ()
) -> tuple[datasets.Dataset, list[str]]:
    """Drops columns that tell of single captions, and would stay behind when captions move.

    Those are lists with one entry a caption (sentence ids, raters), structures (the JSON of a
    WebDataset), and WebDataset's own fields (which file a row came from).

    Args:
        pairs: Rows by the column contract.
        keep: Columns that are none of these.

    Returns:
        The rows without them, and their names.
    """
    known = (IMAGE, REGIONS, CAPTIONS, IMAGE_ID, IS_NOISY, OBJECTS, TAGS, *keep)
    n_captions = _list_lengths(pairs, CAPTIONS)
    several = max(n_captions, default=0) > 1
    dropped = []
    for name in [name for name in pairs.column_names if name not in known]:
        feature = pairs.features[name]
        lists = isinstance(feature, datasets.List) and feature.length == -1
        goes_along = several and lists and _list_lengths(pairs, name) == n_captions
        if name.startswith("__") or isinstance(feature, dict) or goes_along:
            dropped.append(name)
    return pairs.remove_columns(dropped), dropped


def _list_lengths(dataset: datasets.Dataset, name: str) -> list[int]:
    column = dataset.select_columns([name]).with_format("arrow")[:].column(name)
    return list(pc.list_value_length(column).to_pylist())


def _object_sources(pairs: datasets.Dataset, column: str) -> dict[str, ObjectSource]:
    """The ways to get object sets that the rows offer; nothing is read before it is needed."""
    sources: dict[str, ObjectSource] = {
        "captions": lambda: caption_nouns(column_values(pairs, CAPTIONS))
    }
    if column in pairs.column_names:
        sources[ANNOTATIONS] = lambda: column_values(pairs, column)
    if TAGS in pairs.column_names:
        sources["tags"] = lambda: column_values(pairs, TAGS)
    return sources
