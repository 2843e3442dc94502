"""MATLAB files of vectors: the keys of the field, rows or columns, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.io import savemat

from noisy_xmodal.data.columns import DatasetError
from noisy_xmodal.data.readers import CleanSplit, XMediaNet

LABELS = [2, 0, 1, 1, 2, 0, 0, 2, 1, 0]
N = len(LABELS)
ONE_HOT = np.arange(3) == np.array(LABELS)[:, None]
IMAGE = np.random.default_rng(0).standard_normal((N, 4)).astype(np.float32)
TEXT = np.random.default_rng(1).standard_normal((N, 3)).astype(np.float32)

KEYS = {
    "MRL": [{"tr_img": IMAGE, "tr_txt": TEXT, "tr_img_lab": LABELS, "tr_txt_lab": LABELS}],
    "CLIP": [{"tr_fc7": IMAGE.astype(float), "tr_text": TEXT, "tr_label": [LABELS]}],
    "DSCMR": [
        {"train_img": IMAGE},
        {"train_txt": TEXT},
        {"train_img_lab": np.array(LABELS)[:, None]},
    ],
    "transposed": [{"I_tr": IMAGE.T, "T_tr": TEXT.T, "tr_lab": ONE_HOT.T, "mean": 1.5}],
    "sparse": [
        {
            "tr_image": sparse.csc_array(IMAGE),
            "tr_text": TEXT,
            "tr_labels": sparse.csc_array(ONE_HOT.astype(float)),
        }
    ],
}


def read(folder: Path) -> dict[str, CleanSplit]:
    return XMediaNet(data_dir=str(folder)).read()


def write_mats(folder: Path, files: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    for number, arrays in enumerate(files):
        savemat(folder / f"{number}.mat", arrays)
    return folder


@pytest.mark.parametrize("style", KEYS)
def test_keys_of_matlab_files(tmp_path: Path, style: str) -> None:
    split = read(write_mats(tmp_path / "raw", KEYS[style]))["train"]
    np.testing.assert_array_equal(split.columns["image_features"].values, IMAGE)
    np.testing.assert_array_equal(split.columns["text_features"].values, TEXT)
    assert split.labels.tolist() == LABELS


def test_splits_of_matlab_files(tmp_path: Path) -> None:
    arrays = {
        f"{prefix}_{role}": values
        for prefix in ("tr", "val", "te")
        for role, values in (("img", IMAGE), ("txt", TEXT), ("lab", LABELS))
    }
    splits = read(write_mats(tmp_path / "raw", [arrays]))
    assert list(splits) == ["train", "validation", "test"]


GOOD = {"tr_img": IMAGE, "tr_txt": TEXT, "tr_lab": LABELS}
NAN_IMAGE = np.where(np.arange(N)[:, None] == 6, np.nan, IMAGE)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": IMAGE, "b": TEXT}, "no key is known; found a, b"),
        (GOOD | {"tr_fc7": IMAGE}, r"'tr_(img|fc7)', and .*both are the image of split 'train'"),
        ({"tr_img": IMAGE, "tr_lab": LABELS}, "no key for its text, one of tr_txt, tr_text"),
        ({"tr_img": IMAGE, "tr_txt": TEXT}, "no key for its labels, one of tr_lab"),
        (GOOD | {"te_img": IMAGE}, "split 'test' has no key for its text"),
        (
            GOOD | {"tr_img": IMAGE[:9]},
            r"key 'tr_img' has shape \(9, 4\), but .*'tr_lab' has 10 rows",
        ),
        (GOOD | {"tr_img": np.ones((N, N))}, "rows cannot be told from columns"),
        (GOOD | {"tr_img": NAN_IMAGE}, r"key 'tr_img', row 6 .*NaN"),
        (GOOD | {"tr_img": np.array(["a"] * N, dtype=object)}, r"key 'tr_img' is object"),
        (
            GOOD | {"tr_txt_lab": [*LABELS[:9], 1]},
            r"Row 9 .* has class [01] in .* 1 rows in all differ.*without noise",
        ),
        (GOOD | {"tr_txt_lab": LABELS[:9]}, "different pairs"),
    ],
)
def test_matlab_files_that_are_refused(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        read(write_mats(tmp_path / "raw", [arrays]))


def test_matlab_files_that_cannot_be_read(tmp_path: Path) -> None:
    raw = write_mats(tmp_path / "raw", [GOOD])
    whole = (raw / "0.mat").read_bytes()
    for length in (0, 3, 100, 300, len(whole) // 2, len(whole) - 1):
        (raw / "0.mat").write_bytes(whole[:length])
        with pytest.raises(DatasetError, match=r"0\.mat is truncated, damaged or not a MATLAB"):
            read(raw)
    hdf5 = b"\x89HDF\r\n\x1a\n"
    for start in (b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + hdf5, hdf5):
        (raw / "0.mat").write_bytes(start + bytes(2000))
        with pytest.raises(DatasetError, match=r"MATLAB 7\.3 \(HDF5\).*-v7"):
            read(raw)
