"""Wikipedia: sections of featured articles with pictures, as feature vectors of 10 classes.

    Wikipedia(config_name="sym_40", data_dir="wikipedia").download_and_prepare()

Source: Rasiwasia et al., "A New Approach to Cross-Modal Multimedia Retrieval", ACM Multimedia 2010,
with features and lists at http://www.svcl.ucsd.edu/projects/crossmodal/. The files state no
licence. The articles are from Wikipedia (CC BY-SA); each picture has its own terms.

| file                         | content                                                        |
|------------------------------|----------------------------------------------------------------|
| trainset_txt_img_cat.list    | 2,173 lines: text id, image id, class 1 to 10, tab-separated   |
| testset_txt_img_cat.list     | 693 such lines                                                 |
| categories.list              | the names of the classes, one per line                         |

The folder also contains features; the first available kind in this table is used:

| file               | content                                                                  |
|--------------------|--------------------------------------------------------------------------|
| raw_features.mat   | I_tr, I_te: SIFT histograms, (rows, 128); T_tr, T_te: LDA, (rows, 10)    |
| roph_wiki.mat      | data.X1 (128, 2866) images, data.X2 (100, 2866) texts, data.Y one-hot    |
| arrays             | train and test in the layout of modality_arrays.py, such as CLIP features |

Rows of the features correspond to the lines of the lists. In roph_wiki.mat, train rows come first:
in the published files its classes agree with the lists in all 2,866 rows, and the 10 pairs of rows
with equal image vectors are the same in both files. Its data.split is a different, random division
into 2,173 and 693 pairs, and is not used. X1 is centred on all 2,866 images, so its projection was
fitted with the test pairs.

Arrays without labels (.npy only) get ids and classes from the lists. Arrays with labels need no
lists; their classes are named by classes.txt, else by categories.list.

The first 231 of the 693 test pairs are "validation" and the last 462 "test". MRL and SDML divide
their own files so, but the order of those files is not published. Arrays with a validation split
keep their splits.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..clean_split import CleanSplit
from ..columns import DatasetError
from .modality_arrays import (
    CLASSES,
    VectorBuilder,
    read_modality_splits,
    vector_splits,
)
from .modality_files import SplitArrays, class_numbers, read_class_names
from .modality_mat import load_mat, vectors_by_rows
from .raw_files import check_ids, read_lines

RAW = "raw_features.mat"
PROJECTED = "roph_wiki.mat"
CATEGORIES = "categories.list"
LISTS = {"train": "trainset_txt_img_cat.list", "test": "testset_txt_img_cat.list"}
N_TEST, N_VALIDATION = 693, 231


class Wikipedia(VectorBuilder):
    """The Wikipedia pairs; requires `data_dir`."""

    CARD = "wikipedia.md"

    def read(self) -> dict[str, CleanSplit]:
        """Reads lists and features."""
        return open_wikipedia_splits(self.data_folder)


def open_wikipedia_splits(folder: Path) -> dict[str, CleanSplit]:
    """Opens the splits of a folder.

    Raises:
        DatasetError: A file is missing or invalid; the message names it.
    """
    names: list[str] | None
    if (folder / RAW).exists():
        where, note = folder / RAW, f"features of {RAW}"
        names = read_class_names(folder / CATEGORIES)
        raw = _raw_features(where, _read_lists(folder, names))
    elif (folder / PROJECTED).exists():
        where = folder / PROJECTED
        note = f"features of {PROJECTED}, whose projection was fitted with the test images"
        names = read_class_names(folder / CATEGORIES)
        raw = _projected_features(where, _read_lists(folder, names), names)
    else:
        where, note = folder, "features of the user"
        raw, names = _own_features(folder)
    if "validation" not in raw and "test" in raw and len(raw["test"]) == N_TEST:
        test = raw.pop("test")
        raw |= {"validation": test.cut(0, N_VALIDATION), "test": test.cut(N_VALIDATION, N_TEST)}
    splits = vector_splits(raw, str(where), names)
    for split in splits.values():
        split.notes.append(note)
    return splits


@dataclass(frozen=True)
class PairList:
    """The lines of a list file.

    Attributes:
        path: The file.
        text_ids: Id of each text.
        image_ids: Id of each image.
        numbers: Class number of each pair, from 1.
        names: Class name of each pair.
    """

    path: Path
    text_ids: list[str]
    image_ids: list[str]
    numbers: list[int]
    names: list[str]

    def with_vectors(self, image: Any, text: Any) -> SplitArrays:
        """Adds vectors to the ids and classes of this list."""
        return SplitArrays(image, text, self.names, self.image_ids, self.text_ids)


def _read_lists(folder: Path, names: list[str]) -> dict[str, PairList]:
    return {split: _read_list(folder / file, names) for split, file in LISTS.items()}


def _read_list(path: Path, names: list[str]) -> PairList:
    rows = [line.split("\t") for line in read_lines(path)]
    for number, fields in enumerate(rows, start=1):
        if len(fields) != 3:
            raise DatasetError(
                f"{path}, line {number}: {len(fields)} field(s), but text id, image id and class, "
                "separated by tabs, are expected. Extract the file again."
            )
        is_number = fields[2].isdecimal() and len(fields[2]) < 19
        if not is_number or not 1 <= int(fields[2]) <= len(names):
            raise DatasetError(
                f"{path}, line {number}: class '{fields[2][:100]}' is not between 1 and "
                f"{len(names)}, the lines of {CATEGORIES}. Extract both files again."
            )
    text_ids, image_ids, numbers = ([fields[i] for fields in rows] for i in range(3))
    check_ids(image_ids, f"{path}, image ids")
    classes = [int(number) for number in numbers]
    return PairList(path, text_ids, image_ids, classes, [names[n - 1] for n in classes])


def _raw_features(path: Path, lists: dict[str, PairList]) -> dict[str, SplitArrays]:
    arrays = load_mat(path)
    splits = {}
    for split, pairs in lists.items():
        image, text = (
            _vectors(arrays, f"{initial}_{split[:2]}", path, len(pairs.names), str(pairs.path))
            for initial in "IT"
        )
        splits[split] = pairs.with_vectors(image, text)
    return splits


def _projected_features(
    path: Path, lists: dict[str, PairList], names: list[str]
) -> dict[str, SplitArrays]:
    arrays = load_mat(path).get("data")
    if not isinstance(arrays, dict):
        raise DatasetError(f"{path} has no structure 'data' with X1, X2 and Y. Get it again.")
    listed = np.array([number for pairs in lists.values() for number in pairs.numbers]) - 1
    both = " and ".join(str(pairs.path) for pairs in lists.values())
    image, text = (_vectors(arrays, key, path, len(listed), both) for key in ("X1", "X2"))
    _check_classes(arrays.get("Y"), listed, names, path)
    n_train = len(lists["train"].names)
    return {
        "train": lists["train"].with_vectors(image[:n_train], text[:n_train]),
        "test": lists["test"].with_vectors(image[n_train:], text[n_train:]),
    }


def _vectors(
    arrays: dict[str, Any], key: str, path: Path, n_rows: int, labels_where: str
) -> np.ndarray:
    if key not in arrays:
        raise DatasetError(f"{path} has no key '{key}'; it has {', '.join(arrays) or 'none'}.")
    return vectors_by_rows(arrays[key], n_rows, f"{path}, key '{key}'", labels_where)


def _check_classes(one_hot: Any, listed: np.ndarray, names: list[str], path: Path) -> None:
    """Checks by the classes that rows have the order of the lists; the file has no ids."""
    if one_hot is None:
        raise DatasetError(f"{path} has no key 'Y' in 'data': its order cannot be checked.")
    classes = class_numbers(one_hot, f"{path}, key 'Y'")
    if len(classes) != len(listed):
        raise DatasetError(
            f"{path}, key 'Y', has {len(classes)} pairs, but the lists have {len(listed)}."
        )
    if (classes != listed).any():
        row = int(np.argmax(classes != listed))
        raise DatasetError(
            f"{path}, key 'Y': pair {row} (counted from 0, train before test) has class "
            f"{classes[row]}, but '{names[listed[row]]}', which is {listed[row]}, in the lists; "
            f"{int((classes != listed).sum())} pairs in all differ. The pairs have another order: "
            "use the published files."
        )


def _own_features(folder: Path) -> tuple[dict[str, SplitArrays], list[str] | None]:
    """Opens arrays; those without labels correspond to the lists."""
    if not any(path.suffix in (".mat", ".npy") for path in folder.glob("*")):
        raise DatasetError(
            f"{folder} has no features: neither {RAW} nor {PROJECTED}, nor arrays such as "
            "train_image.npy and train_text.npy. Add one of them to the folder of the lists."
        )
    splits = read_modality_splits(folder)
    if all(rows.labels is not None for rows in splits.values()):
        files = [folder / name for name in (CLASSES, CATEGORIES) if (folder / name).exists()]
        return splits, read_class_names(files[0]) if files else None
    names = read_class_names(folder / CATEGORIES)
    lists = _read_lists(folder, names)
    sizes = {split: len(pairs.names) for split, pairs in lists.items()}
    for split, rows in splits.items():
        if rows.labels is not None or sizes.get(split) != len(rows):
            raise DatasetError(
                f"{folder}: some arrays have no labels, so all must have the rows of the lists "
                f"({sizes}), but split '{split}' has {len(rows)} rows"
                f"{'' if rows.labels is None else ' and labels'}. Give labels for every split, or "
                "extract the features in the order of the lists."
            )
    arrays = {
        split: lists[split].with_vectors(rows.image, rows.text) for split, rows in splits.items()
    }
    return arrays, names
