"""MS-COCO: 123,287 photographs with five captions each (113,287 / 5,000 / 5,000).

    Coco(config_name="part_40", data_dir="coco").download_and_prepare()

Pictures (train2014, val2014) and annotations come from https://cocodataset.org: the annotations
under CC BY 4.0, the pictures under the terms of their owners on Flickr. The split file
`dataset_coco.json` is that of Karpathy and Li
(https://cs.stanford.edu/people/karpathy/deepimagesent/); its restval pictures count as train. See
karpathy.py for the forms of `data_dir`.

If `instances_{train,val}2014.json` are in `data_dir` or its folder annotations, pictures also have
sets of objects of 80 classes, which partial noise uses. Region features get objects if _ids.txt has
COCO ids and there is no _labels.txt.

    {"images": [{"id": 391895, "file_name": "COCO_val2014_000000391895.jpg", ...}],
     "annotations": [{"image_id": 391895, "category_id": 4, "segmentation": [...], ...}],
     "categories": [{"id": 1, "name": "person", "supercategory": "person"}]}

A picture's objects are the set of categories of all its annotations, including crowds. The ids of
the 80 categories are 1 to 90 with gaps; here they are numbered from 0 in the same order.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets.utils import tqdm  # can be switched off by datasets.disable_progress_bars()

from ..clean_split import CleanSplit
from ..columns import IMAGE_ID, OBJECTS, DatasetError
from .karpathy import KarpathyBuilder
from .raw_files import read_json

ANNOTATIONS = ("instances_train2014.json", "instances_val2014.json")

_IMAGE_NAME = re.compile(r"(?:COCO_(?:train|val)2014_)?(\d+)(?:\.jpg)?")


class Coco(KarpathyBuilder):
    """MS-COCO; partial noise requires object annotations, or `objects_from`."""

    CARD = "coco.md"
    DATASET = "coco"
    MAX_CAPTIONS = 5  # 566,435 pairs in train and 25,000 in test, as in published results
    SIZES = (113_287, 5_000, 5_000)

    def has_objects(self) -> bool:
        """Whether there are instance annotations, or a file of labels."""
        return bool(find_annotations(self.data_folder)) or super().has_objects()

    def add_objects(self, splits: dict[str, CleanSplit]) -> None:
        """Adds the object classes of pictures, if there are annotations.

        Raises:
            DatasetError: An annotation file is invalid, or does not list a picture.
        """
        paths = find_annotations(self.data_folder)
        if not paths or any(OBJECTS in split.columns for split in splits.values()):
            return
        classes, names = read_annotations(paths)
        files = " and ".join(path.name for path in paths)
        for split in splits.values():
            objects = [
                _objects(
                    classes, image_id, f"{files}: no image with the id '{image_id}' (row {row}"
                )
                for row, image_id in enumerate(split.columns[IMAGE_ID])
            ]
            split.columns[OBJECTS], split.object_names = objects, names
            n_empty = sum(not own for own in objects)
            split.notes.append(f"objects from {files}, none for {n_empty:,} images")


def _objects(classes: dict[int, list[int]], image_id: str, where: str) -> list[int]:
    """The classes of an image, "391895" or "COCO_val2014_000000391895.jpg"."""
    match = _IMAGE_NAME.fullmatch(image_id)
    if match is None or int(match[1]) not in classes:
        raise DatasetError(
            f"{where}, counted from 0), so its objects are unknown. Give both files of 2014 and "
            "rows with COCO ids ('391895', in _ids.txt for region features), or remove the files "
            "to use no objects."
        )
    return classes[int(match[1])]


def find_annotations(data_dir: Path) -> list[Path]:
    """Finds the annotation files in `data_dir` or its folder annotations, if there are any."""
    for folder in (data_dir / "annotations", data_dir):
        paths = [folder / name for name in ANNOTATIONS if (folder / name).exists()]
        if paths:
            return paths
    return []


def read_annotations(
    paths: Sequence[Path],
) -> tuple[dict[int, list[int]], tuple[str, ...]]:
    """Reads the categories of each image; polygons and boxes are dropped during parsing.

    Args:
        paths: The files; they must have the same categories.

    Returns:
        The sorted class numbers of each COCO id, and the names of the classes.

    Raises:
        DatasetError: A file is invalid; the message names the entry.
    """
    categories: dict[int, str] = {}
    classes: dict[int, set[int]] = {}
    for path in tqdm(paths, desc="Reading object annotations", unit="files"):
        content = _sections(path)
        file_categories = _categories(path, content["categories"])
        if categories and file_categories != categories:
            raise DatasetError(
                f"{path} has other categories than {paths[0]}: use both files of 2014."
            )
        categories = file_categories
        images = _image_ids(path, content["images"])
        for number, entry in enumerate(content["annotations"]):
            image_id, category = entry if isinstance(entry, tuple) else (None, None)
            if image_id not in images or category not in categories:
                raise DatasetError(
                    f"{path}, annotation {number} (counted from 0): image_id {image_id!r} and "
                    f"category_id {category!r} are not both listed in the file. Download it again."
                )
            images[image_id].add(category)
        classes |= images
    order = {category: number for number, category in enumerate(sorted(categories))}
    numbers = {i: sorted(order[category] for category in ids) for i, ids in classes.items()}
    return numbers, tuple(categories[category] for category in order)


def _reduce(entry: dict[str, Any]) -> Any:
    """Reduces an annotation to its image and category, and an image to its id."""
    if "category_id" in entry:
        return entry.get("image_id"), entry["category_id"]
    if "file_name" in entry:
        return entry.get("id")
    return entry


def _sections(path: Path) -> dict[str, list[Any]]:
    content = read_json(path, _reduce)
    for name in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise DatasetError(
                f"{path} has no list of '{name}': expected the instance annotations of MS-COCO."
            )
    return content


def _categories(path: Path, entries: list[Any]) -> dict[int, str]:
    names: dict[int, str] = {}
    for number, entry in enumerate(entries):
        category, name = (
            (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
        )
        if not isinstance(category, int) or not isinstance(name, str) or category in names:
            raise DatasetError(
                f"{path}, category {number} (counted from 0): expected a unique 'id' and a "
                f"'name', but found {entry!r}."
            )
        names[category] = name
    return names


def _image_ids(path: Path, entries: list[Any]) -> dict[int, set[int]]:
    for number, image_id in enumerate(entries):
        if not isinstance(image_id, int):
            raise DatasetError(
                f"{path}, image {number} (counted from 0): expected 'file_name' and a number as "
                "'id'. Download it again."
            )
    return {image_id: set() for image_id in entries}
