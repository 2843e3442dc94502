"""Noise for data in memory: the noise of the builders, for any dataset of a person's own.

    noisy = inject_noise(load_dataset("nlphuji/flickr30k")["test"], "cmp_40", seed=0)

A dataset that was written with `cmp_40` and the same seed holds the same captions in the same
places. Pictures and features are not copied: only the columns that noise touches are new, so six
noisy variants of one dataset cost six times its captions.
"""

import os
from typing import Any, TypeVar

import datasets

from ..noise import NoiseType, SymmetricLabelNoise, parse_noise, read_noise_index
from .any_dataset import as_pairs
from .caption_nouns import caption_nouns
from .columns import (
    CAPTIONS,
    IMAGE_LABEL,
    IS_NOISY,
    OBJECTS,
    TAGS,
    TEXT_FEATURES,
    TEXT_LABEL,
    TRUE_LABEL,
    DatasetError,
)
from .corruption import DERIVED_SETS, CleanRows, Corrupted, corrupt
from .labels import number_classes
from .protocol import noise_protocol, with_protocol

INDEX = "noise_index"
TRAIN = "train"

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
        pairs = {
            name: as_pairs(
                rows,
                image_column=image_column,
                caption_column=caption_column,
                id_column=id_column,
                split=name,
            )
            for name, rows in splits.items()
        }
        sets = _object_sets(pairs[TRAIN], object_column, objects_from)
        done = {name: _inject_captions(rows, None, seed) for name, rows in pairs.items()}
        done[TRAIN] = _inject_captions(pairs[TRAIN], injector, seed, noise_index, **sets)
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
    **object_sets: Any,
) -> datasets.Dataset:
    captions = _column(pairs, CAPTIONS)
    counts = [len(texts) for texts in captions]
    rows = CleanRows(counts, **object_sets)
    if noise_index is None:
        done = corrupt(noise, rows, seed)
    else:
        index = read_noise_index(noise_index, counts, len(counts))
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
        values[split] = _column(rows, column)
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
    if protocol is not None and protocol["type"] != "clean":
        raise DatasetError(
            f"This dataset carries noise already ({protocol['type']}, of which "
            f"{protocol['share_wrong']} is wrong): load its config 'clean'."
        )
    if IS_NOISY in dataset.column_names and isinstance(dataset.features[IS_NOISY], datasets.List):
        n_wrong = sum(sum(map(bool, flags or ())) for flags in _column(dataset, IS_NOISY))
        if n_wrong:
            raise DatasetError(
                f"Column '{IS_NOISY}' marks {n_wrong} captions as wrong already. Noise on top of "
                "it could not be counted: give clean pairs."
            )


def _has_vectors_only(rows: datasets.Dataset) -> bool:
    """Whether there is nothing but labels to corrupt, as the text is a vector."""
    return IMAGE_LABEL in rows.column_names and TEXT_FEATURES in rows.column_names


def _object_sets(pairs: datasets.Dataset, column: str, source: str | None) -> dict[str, Any]:
    if source is None:
        return {"object_sets": _column(pairs, column) if column in pairs.column_names else None}
    if source == "captions":
        sets = caption_nouns(_column(pairs, CAPTIONS))
        return {"object_sets": sets, "objects_from": "caption nouns"}
    if source == "tags" and TAGS in pairs.column_names:
        return {"object_sets": _column(pairs, TAGS), "objects_from": "tags"}
    raise DatasetError(
        f"objects_from is {source!r}: choose {' or '.join(map(repr, DERIVED_SETS))}, where 'tags' "
        f"is a column; the columns are {pairs.column_names}."
    )


def _column(dataset: datasets.Dataset, name: str) -> list[Any]:
    return list(dataset.select_columns([name]).with_format("arrow")[:].column(name).to_pylist())
