"""Wikipedia: sections of featured articles with pictures, as feature vectors of 10 classes.

    Wikipedia(config_name="sym_40", data_dir="wikipedia").download_and_prepare()

The lists and features of http://www.svcl.ucsd.edu/projects/crossmodal/; see the card for splits.

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
| arrays             | train and test in the layout of vectors.py, such as CLIP features        |

Rows of the features correspond to the lines of the lists. In roph_wiki.mat, train rows come first:
in the published files its classes agree with the lists in all 2,866 rows, and the 10 pairs of rows
with equal image vectors are the same in both files. Its data.split is a different, random division
into 2,173 and 693 pairs, and is not used. X1 is centred on all 2,866 images, so its projection was
fitted with the test pairs.

Arrays without labels (.npy only) get ids and classes from the lists. Arrays with labels need no
lists; their classes are named by classes.txt, else by categories.list. Arrays with a validation
split keep their splits.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..clean_split import CleanSplit, FeatureColumn
from ..columns import IMAGE_FEATURES, TRUE_LABEL, DatasetError
from .array_file import ArrayFile
from .mat_files import Arrays, load_mat, mat_arrays
from .raw_files import check_ids, read_lines
from .vectors import (
    CLASSES,
    VectorReader,
    class_names,
    clean_splits,
    find_arrays,
    pair_columns,
)

RAW = "raw_features.mat"
PROJECTED = "roph_wiki.mat"
CATEGORIES = "categories.list"
LISTS = {"train": "trainset_txt_img_cat.list", "test": "testset_txt_img_cat.list"}
N_TEST, N_VALIDATION = 693, 231


class Wikipedia(VectorReader):
    """The Wikipedia pairs; requires `data_dir`."""

    CARD = "wikipedia.md"

    def read(self) -> dict[str, CleanSplit]:
        """Reads lists and features."""
        folder = self.data_folder
        where, note = folder, "features of the user"
        names: list[str] | None
        if (folder / RAW).exists():
            where, note = folder / RAW, f"features of {RAW}"
            names, lists = _read_lists(folder)
            arrays = mat_arrays([where], {split: rows["labels"] for split, rows in lists.items()})
            columns = {split: pair_columns(arrays[split] | lists[split]) for split in LISTS}
        elif (folder / PROJECTED).exists():
            where = folder / PROJECTED
            note = f"features of {PROJECTED}, whose projection was fitted with the test images"
            names, lists = _read_lists(folder)
            columns = _projected_columns(where, lists)
        else:
            columns, names = _own_columns(folder)
        if "validation" not in columns and "test" in columns:
            test = columns["test"]
            if len(test[IMAGE_FEATURES]) == N_TEST:
                columns["validation"] = _part(test, slice(N_VALIDATION))
                columns["test"] = _part(test, slice(N_VALIDATION, N_TEST))
        splits = clean_splits(columns, str(where), names)
        for split in splits.values():
            split.notes.append(note)
        return splits


def _part(columns: Mapping[str, Any], rows: slice) -> dict[str, Any]:
    """Selects consecutive rows, without reading files."""
    part: dict[str, Any] = {}
    for name, column in columns.items():
        values = column.values if isinstance(column, FeatureColumn) else column
        values = values.part(rows) if isinstance(values, ArrayFile) else values[rows]
        part[name] = FeatureColumn(values) if isinstance(column, FeatureColumn) else values
    return part


def _read_lists(folder: Path) -> tuple[list[str], dict[str, Arrays]]:
    """Reads the names of the classes, and of each split the ids and the class numbers from 0."""
    names = class_names(folder / CATEGORIES)
    return names, {split: _read_list(folder / file, names) for split, file in LISTS.items()}


def _read_list(path: Path, names: list[str]) -> Arrays:
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
    columns = {
        "labels": [int(number) - 1 for number in numbers],
        "image ids": image_ids,
        "text ids": text_ids,
    }
    return {role: (str(path), values) for role, values in columns.items()}


def _projected_columns(path: Path, lists: Mapping[str, Arrays]) -> dict[str, dict[str, Any]]:
    """Reads the rows of both lists; the file has no ids, so its classes must show their order."""
    data = load_mat(path).get("data")
    if not isinstance(data, dict):
        raise DatasetError(f"{path} has no structure 'data' with X1, X2 and Y. Get it again.")
    listed: Arrays = {
        role: (
            " and ".join(rows[role][0] for rows in lists.values()),
            [value for rows in lists.values() for value in rows[role][1]],
        )
        for role in lists["train"]
    }
    arrays: Arrays = {}
    for role, key in (("image", "X1"), ("text", "X2"), ("labels of the file", "Y")):
        if key not in data:
            raise DatasetError(f"{path} has no key '{key}' in 'data'. Get it again.")
        arrays[role] = f"{path}, key '{key}'", data[key]
    columns = pair_columns(listed | arrays)
    n_train = len(lists["train"]["labels"][1])
    return {"train": _part(columns, slice(n_train)), "test": _part(columns, slice(n_train, None))}


def _own_columns(folder: Path) -> tuple[dict[str, dict[str, Any]], list[str] | None]:
    """Opens arrays; those without labels correspond to the lists."""
    if not any(path.suffix in (".mat", ".npy") for path in folder.glob("*")):
        raise DatasetError(
            f"{folder} has no features: neither {RAW} nor {PROJECTED}, nor arrays such as "
            "train_image.npy and train_text.npy. Add one of them to the folder of the lists."
        )
    arrays = find_arrays(folder)
    columns = {split: pair_columns(rows) for split, rows in arrays.items()}
    if all(TRUE_LABEL in rows for rows in columns.values()):
        files = [folder / name for name in (CLASSES, CATEGORIES) if (folder / name).exists()]
        return columns, class_names(files[0]) if files else None
    names, lists = _read_lists(folder)
    sizes = {split: len(rows["labels"][1]) for split, rows in lists.items()}
    for split, rows in columns.items():
        n_rows, has_labels = len(rows[IMAGE_FEATURES]), TRUE_LABEL in rows
        if has_labels or sizes.get(split) != n_rows:
            raise DatasetError(
                f"{folder}: some arrays have no labels, so all must have the rows of the lists "
                f"({sizes}), but split '{split}' has {n_rows} rows"
                f"{' and labels' if has_labels else ''}. Give labels for every split, or "
                "extract the features in the order of the lists."
            )
    columns = {split: pair_columns(rows | lists[split]) for split, rows in arrays.items()}
    return columns, names
