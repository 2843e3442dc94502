"""Reads vectors of two modalities from MATLAB files, by the key names that the field uses.

All .mat files of a folder are one collection: repositories after MRL keep everything in one file
(Hu et al., CVPR 2021; keys tr_img, tr_txt, tr_img_lab), those after DSCMR one array a file (Zhen et
al., CVPR 2019; keys train_img, train_txt, train_img_lab), and those with CLIP features say tr_fc7,
tr_text, tr_label. Keys that mean nothing here are passed over.

| role   | key                                                                                |
|--------|------------------------------------------------------------------------------------|
| image  | tr_img, tr_imgs, tr_image, tr_images, tr_fc7, I_tr                                 |
| text   | tr_txt, tr_text, tr_texts, T_tr                                                    |
| labels | tr_lab, tr_label, tr_labels, L_tr; per modality tr_img_lab, tr_txt_lab and so on   |

`tr` may be `train`; it is `val`, `va`, `valid` or `validation` in the validation split, `te` or
`test` in test.

Rows may be columns: arrays of one row a pair are told from transposed ones by the number of labels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from scipy.io import loadmat

from ..columns import DatasetError
from .modality_files import RawSplit, check_finite, class_numbers

_PREFIXES = {
    "train": ("tr", "train"),
    "validation": ("val", "va", "valid", "validation"),
    "test": ("te", "test"),
}
_LABELS = ("lab", "label", "labels")
_SUFFIXES = {
    "image": ("img", "imgs", "image", "images", "fc7"),
    "text": ("txt", "text", "texts"),
    "labels": _LABELS,
    "labels of the images": tuple(f"{m}_{lab}" for m in ("img", "image") for lab in _LABELS),
    "labels of the texts": tuple(f"{m}_{lab}" for m in ("txt", "text") for lab in _LABELS),
}
_INITIALS = {"image": "I", "text": "T", "labels": "L"}
_KEYS = {
    key: (split, role)
    for split, prefixes in _PREFIXES.items()
    for prefix in prefixes
    for role, suffixes in _SUFFIXES.items()
    for key in (
        *(f"{prefix}_{suffix}" for suffix in suffixes),
        *([f"{_INITIALS[role]}_{prefix}"] if role in _INITIALS else []),
    )
}
_HDF5 = b"\x89HDF\r\n\x1a\n"
_HEADER = 1024  # v7.3 is HDF5 after a header of MATLAB


def read_mat_splits(paths: Sequence[Path]) -> dict[str, RawSplit]:
    """Reads the splits that some .mat files hold together.

    Raises:
        DatasetError: A file cannot be read; a role has no key, or several; arrays of one split do
            not belong together. The message names file and key.
    """
    found, others = _known_arrays(paths)
    if not found:
        raise DatasetError(
            f"{_names(paths)}: no key is known; found {', '.join(others) or 'nothing'}. Expected "
            "such as tr_img, tr_txt, tr_lab, te_img, te_txt, te_lab: rename them, or save "
            "{split}_image.npy, {split}_text.npy and {split}_labels.npy."
        )
    return {
        split: _read_split(split, found[split], _names(paths))
        for split in _PREFIXES
        if split in found
    }


def _known_arrays(
    paths: Sequence[Path],
) -> tuple[dict[str, dict[str, tuple[str, Any]]], list[str]]:
    """Sorts the arrays of some files by split and role; other keys are listed."""
    found: dict[str, dict[str, tuple[str, Any]]] = {}
    others = []
    for path in paths:
        for key, values in load_mat(path).items():
            if key not in _KEYS:
                others.append(key)
                continue
            split, role = _KEYS[key]
            where = f"{path}, key '{key}'"
            roles = found.setdefault(split, {})
            if role in roles:
                raise DatasetError(
                    f"{where}, and {roles[role][0]}: both are the {role} of split '{split}'. "
                    "Keep one, or the files of one kind of features in a folder."
                )
            roles[role] = (where, values)
    return found, others


def _read_split(split: str, roles: dict[str, tuple[str, Any]], names: str) -> RawSplit:
    labels = [
        (where, class_numbers(values, where))
        for role, (where, values) in roles.items()
        if role.startswith("labels")
    ]
    for role in ("image", "text", "labels"):
        if role not in roles and not (role == "labels" and labels):
            known = [key for key, meaning in _KEYS.items() if meaning == (split, role)]
            raise DatasetError(
                f"{names}: split '{split}' has no key for its {role}, one of {', '.join(known)}; "
                f"it has {', '.join(where for where, _ in roles.values())}."
            )
    where, numbers = labels[0]
    for other_where, other in labels[1:]:
        _check_alike(where, numbers, other_where, other)
    image, text = (
        vectors_by_rows(roles[role][1], len(numbers), roles[role][0], where)
        for role in ("image", "text")
    )
    return RawSplit(image, text, numbers.tolist())


def _check_alike(where: str, labels: np.ndarray, other_where: str, other: np.ndarray) -> None:
    if len(labels) != len(other):
        raise DatasetError(
            f"{where} has {len(labels)} labels, but {other_where} has {len(other)}: they are not "
            "of the same pairs."
        )
    if (labels != other).any():
        row = int(np.argmax(labels != other))
        raise DatasetError(
            f"Row {row} (counted from 0) has class {labels[row]} in {where} and {other[row]} in "
            f"{other_where}, and {int((labels != other).sum())} rows in all differ. A pair has one "
            "true class: give labels without noise."
        )


def vectors_by_rows(values: Any, n_rows: int, where: str, labels_where: str) -> np.ndarray:
    """Turns an array so that its rows are pairs.

    Args:
        values: (n_rows, dim) or (dim, n_rows), dense or sparse.
        n_rows: Number of labels.
        where: What to call the array in messages.
        labels_where: What to call the labels.

    Returns:
        (n_rows, dim), float32, in memory.

    Raises:
        DatasetError: No finite numbers, no side of that length, or both.
    """
    values = values.toarray() if sparse.issparse(values) else np.asarray(values)
    if values.ndim != 2 or values.dtype.kind not in "buif":
        raise DatasetError(
            f"{where} is {values.dtype} of shape {values.shape}: expected numbers, one row a pair."
        )
    if values.shape == (n_rows, n_rows):
        raise DatasetError(
            f"{where} has shape {values.shape}: with as many numbers a vector as pairs, rows "
            "cannot be told from columns. Save it as .npy, one row a pair."
        )
    if n_rows not in values.shape:
        raise DatasetError(
            f"{where} has shape {values.shape}, but {labels_where} has {n_rows} labels: they are "
            "not of the same pairs."
        )
    by_rows = values if len(values) == n_rows else values.T
    with np.errstate(over="ignore"):  # what float32 cannot hold is found as infinite
        vectors = np.ascontiguousarray(by_rows, dtype=np.float32)
    check_finite(vectors, where)
    return vectors


def load_mat(path: Path) -> dict[str, Any]:
    """Reads a MATLAB file of version 7 or older; structures become dicts.

    Raises:
        DatasetError: The file is missing, damaged, or of version 7.3.
    """
    if not path.exists():
        raise DatasetError(f"{path} is missing.")
    with open(path, "rb") as file:
        start = file.read(_HEADER)
    if _HDF5 in start or start.startswith(b"MATLAB 7.3"):
        raise DatasetError(
            f"{path} is of MATLAB 7.3 (HDF5), which is not read. In MATLAB, load it and "
            "save('out.mat', '-v7', ...); or write its arrays with np.save."
        )
    try:
        arrays = loadmat(path, simplify_cells=True)
    except Exception as error:  # damage shows as any of ten kinds of error
        raise DatasetError(
            f"{path} is truncated, damaged or no MATLAB file ({type(error).__name__}: {error}). "
            "Copy or extract it again."
        ) from error
    return {key: values for key, values in arrays.items() if not key.startswith("__")}


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths)
