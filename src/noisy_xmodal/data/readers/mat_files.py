"""Reading of vectors of two modalities from MATLAB files, by the usual key names.

All .mat files of a folder form one collection. Repositories based on MRL have one file (Hu et al.,
CVPR 2021; keys tr_img, tr_txt, tr_img_lab), those based on DSCMR one array per file (Zhen et al.,
CVPR 2019; keys train_img, train_txt, train_img_lab), and those with CLIP features use tr_fc7,
tr_text, tr_label. Other keys are ignored.

Arrays may be transposed; the number of labels shows which axis is that of the pairs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from scipy.io import loadmat

from ..columns import DatasetError

Arrays: TypeAlias = dict[str, tuple[str, Any]]
"""The arrays of a split by their role, each with its file and key for messages."""

_SPLITS = {
    "train": ("tr", "train"),
    "validation": ("val", "va", "valid", "validation"),
    "test": ("te", "test"),
}
_ROLES = {
    "image": "{0}_img {0}_imgs {0}_image {0}_images {0}_fc7 I_{0}",
    "text": "{0}_txt {0}_text {0}_texts T_{0}",
    "labels": "{0}_lab {0}_label {0}_labels L_{0}",
    "labels of the images": "{0}_img_lab {0}_img_label {0}_img_labels "
    "{0}_image_lab {0}_image_label {0}_image_labels",
    "labels of the texts": "{0}_txt_lab {0}_txt_label {0}_txt_labels "
    "{0}_text_lab {0}_text_label {0}_text_labels",
}
_KEYS = {
    key: (split, role)
    for split, prefixes in _SPLITS.items()
    for prefix in prefixes
    for role, keys in _ROLES.items()
    for key in keys.format(prefix).split()
}
_HDF5 = b"\x89HDF\r\n\x1a\n"
_HEADER = 1024  # a v7.3 file is a MATLAB header followed by HDF5


def mat_arrays(
    paths: Sequence[Path], labels: Mapping[str, tuple[str, Any]] | None = None
) -> dict[str, Arrays]:
    """Reads a collection of .mat files.

    Args:
        paths: The files.
        labels: The labels of each split with their file, if they are elsewhere.

    Returns:
        The arrays of each split.

    Raises:
        DatasetError: A file cannot be read, or a role has no key or several. The message names file
            and key.
    """
    files = ", ".join(map(str, paths))
    splits: dict[str, Arrays] = {}
    others = []
    for path in paths:
        for key, values in load_mat(path).items():
            where = f"{path}, key '{key}'"
            if key not in _KEYS:
                others.append(key)
                continue
            split, role = _KEYS[key]
            arrays = splits.setdefault(split, {})
            if role in arrays:
                raise DatasetError(
                    f"{where}, and {arrays[role][0]}: both are the {role} of split '{split}'. "
                    "Keep one, or one kind of features per folder."
                )
            arrays[role] = where, values
    if not splits:
        raise DatasetError(
            f"{files}: no key is known; found {', '.join(others) or 'nothing'}. Expected "
            "keys such as tr_img, tr_txt, tr_lab, te_img, te_txt, te_lab: rename them, or save "
            "{split}_image.npy, {split}_text.npy and {split}_labels.npy."
        )
    for split, values in (labels or {}).items():
        splits.setdefault(split, {})["labels"] = values
    for split, arrays in splits.items():
        for role in ("image", "text", "labels"):
            if not any(other.startswith(role) for other in arrays):
                keys = [key for key, meaning in _KEYS.items() if meaning == (split, role)]
                raise DatasetError(
                    f"{files}: split '{split}' has no key for its {role}, one of "
                    f"{', '.join(keys)}; it has {', '.join(where for where, _ in arrays.values())}."
                )
    return splits


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
