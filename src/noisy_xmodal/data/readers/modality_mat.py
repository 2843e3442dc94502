"""Reading of vectors of two modalities from MATLAB files, by the usual key names.

All .mat files of a folder form one collection. Repositories based on MRL have one file (Hu et al.,
CVPR 2021; keys tr_img, tr_txt, tr_img_lab), those based on DSCMR one array per file (Zhen et al.,
CVPR 2019; keys train_img, train_txt, train_img_lab), and those with CLIP features use tr_fc7,
tr_text, tr_label. Other keys are ignored.

| role   | key                                                                                |
|--------|------------------------------------------------------------------------------------|
| image  | tr_img, tr_imgs, tr_image, tr_images, tr_fc7, I_tr                                 |
| text   | tr_txt, tr_text, tr_texts, T_tr                                                    |
| labels | tr_lab, tr_label, tr_labels, L_tr; per modality tr_img_lab, tr_txt_lab and so on   |

`tr` may be `train`; it is `val`, `va`, `valid` or `validation` in the validation split, `te` or
`test` in test.

Arrays may be transposed; the number of labels shows which axis is that of the pairs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from scipy.io import loadmat

from ..columns import DatasetError
from .modality_files import SplitArrays, check_finite, class_numbers

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
_HEADER = 1024  # a v7.3 file is a MATLAB header followed by HDF5


def read_mat_splits(paths: Sequence[Path]) -> dict[str, SplitArrays]:
    """Reads the splits in a collection of .mat files.

    Raises:
        DatasetError: A file cannot be read, a role has no key or several, or arrays of one split do
            not match. The message names file and key.
    """
    splits, others = _group_arrays(paths)
    if not splits:
        raise DatasetError(
            f"{_names(paths)}: no key is known; found {', '.join(others) or 'nothing'}. Expected "
            "keys such as tr_img, tr_txt, tr_lab, te_img, te_txt, te_lab: rename them, or save "
            "{split}_image.npy, {split}_text.npy and {split}_labels.npy."
        )
    return {
        split: _read_split(split, splits[split], _names(paths))
        for split in _PREFIXES
        if split in splits
    }


def _group_arrays(
    paths: Sequence[Path],
) -> tuple[dict[str, dict[str, tuple[str, Any]]], list[str]]:
    """Groups arrays by split and role, with their places; also returns the unknown keys."""
    splits: dict[str, dict[str, tuple[str, Any]]] = {}
    others = []
    for path in paths:
        for key, values in load_mat(path).items():
            if key not in _KEYS:
                others.append(key)
                continue
            split, role = _KEYS[key]
            where = f"{path}, key '{key}'"
            roles = splits.setdefault(split, {})
            if role in roles:
                raise DatasetError(
                    f"{where}, and {roles[role][0]}: both are the {role} of split '{split}'. "
                    "Keep one, or one kind of features per folder."
                )
            roles[role] = (where, values)
    return splits, others


def _read_split(split: str, roles: dict[str, tuple[str, Any]], names: str) -> SplitArrays:
    labels = [
        (where, class_numbers(values, where))
        for role, (where, values) in roles.items()
        if role.startswith("labels")
    ]
    for role in ("image", "text", "labels"):
        if role not in roles and not (role == "labels" and labels):
            keys = [key for key, meaning in _KEYS.items() if meaning == (split, role)]
            raise DatasetError(
                f"{names}: split '{split}' has no key for its {role}, one of {', '.join(keys)}; "
                f"it has {', '.join(where for where, _ in roles.values())}."
            )
    where, numbers = labels[0]
    for other_where, other in labels[1:]:
        _check_equal(where, numbers, other_where, other)
    image, text = (
        vectors_by_rows(roles[role][1], len(numbers), roles[role][0], where)
        for role in ("image", "text")
    )
    return SplitArrays(image, text, numbers.tolist())


def _check_equal(where: str, labels: np.ndarray, other_where: str, other: np.ndarray) -> None:
    if len(labels) != len(other):
        raise DatasetError(
            f"{where} has {len(labels)} labels, but {other_where} has {len(other)}: they belong to "
            "different pairs."
        )
    if (labels != other).any():
        row = int(np.argmax(labels != other))
        raise DatasetError(
            f"Row {row} (counted from 0) has class {labels[row]} in {where} and {other[row]} in "
            f"{other_where}; {int((labels != other).sum())} rows in all differ. A pair has one "
            "true class: give labels without noise."
        )


def vectors_by_rows(values: Any, n_rows: int, where: str, labels_where: str) -> np.ndarray:
    """Transposes an array if necessary, so that its rows are pairs.

    Args:
        values: (n_rows, dim) or (dim, n_rows), dense or sparse.
        n_rows: Number of labels.
        where: The array, for the messages.
        labels_where: The labels, for the messages.

    Returns:
        (n_rows, dim), float32, in memory.

    Raises:
        DatasetError: Values are not finite numbers, or not exactly one axis has `n_rows` entries.
    """
    values = values.toarray() if sparse.issparse(values) else np.asarray(values)
    if values.ndim != 2 or values.dtype.kind not in "buif":
        raise DatasetError(
            f"{where} is {values.dtype} of shape {values.shape}: expected numbers, a row per pair."
        )
    if values.shape == (n_rows, n_rows):
        raise DatasetError(
            f"{where} has shape {values.shape}: with as many numbers per vector as pairs, rows "
            "cannot be told from columns. Save it as .npy, with one row per pair."
        )
    if n_rows not in values.shape:
        raise DatasetError(
            f"{where} has shape {values.shape}, but {labels_where} has {n_rows} labels: they "
            "belong to different pairs."
        )
    by_rows = values if len(values) == n_rows else values.T
    with np.errstate(over="ignore"):  # too large values become infinite, which is checked below
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
            f"{path} has the format of MATLAB 7.3 (HDF5), which is not supported. In MATLAB, load "
            "it and save('out.mat', '-v7', ...); or write its arrays with np.save."
        )
    try:
        arrays = loadmat(path, simplify_cells=True)
    except Exception as error:  # SciPy raises many types for damaged files
        raise DatasetError(
            f"{path} is truncated, damaged or not a MATLAB file ({type(error).__name__}: {error}). "
            "Copy or extract it again."
        ) from error
    return {key: values for key, values in arrays.items() if not key.startswith("__")}


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths)
