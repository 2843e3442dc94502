"""The objects of MS-COCO pictures, from the instance annotations of 2014.

    {"images": [{"id": 391895, "file_name": "COCO_val2014_000000391895.jpg", ...}],
     "annotations": [{"image_id": 391895, "category_id": 4, "segmentation": [...], ...}],
     "categories": [{"id": 1, "name": "person", "supercategory": "person"}]}

A picture's objects are the set of categories of all its annotations, including crowds. The ids of
the 80 categories are 1 to 90 with gaps; here they are numbered from 0 in the same order.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets.utils import tqdm  # can be switched off by datasets.disable_progress_bars()

from ..columns import DatasetError
from .clean_split import Facts
from .raw_files import read_json

FILES = ("instances_train2014.json", "instances_val2014.json")

_IMAGE_NAME = re.compile(r"(?:COCO_(?:train|val)2014_)?(\d+)(?:\.jpg)?")


@dataclass(frozen=True)
class CocoObjects:
    """The objects of all pictures in annotation files.

    Attributes:
        names: The classes, in the order of their category ids.
        numbers: The sorted numbers of the classes of each COCO id.
        files: Names of the files, for messages.
    """

    names: tuple[str, ...]
    numbers: dict[int, list[int]]
    files: str

    def facts(self, facts: Facts, image_ids: Sequence[str]) -> Facts:
        """Adds objects to the facts of a split.

        Args:
            facts: The facts.
            image_ids: COCO ids, "391895" or "COCO_val2014_000000391895.jpg".

        Raises:
            DatasetError: An id is not a COCO id, or not in the files.
        """
        objects = []
        for row, image_id in enumerate(image_ids):
            match = _IMAGE_NAME.fullmatch(image_id)
            classes = None if match is None else self.numbers.get(int(match[1]))
            if classes is None:
                raise DatasetError(
                    f"{self.files}: no image with the id '{image_id}' (row {row}, counted from 0), "
                    "so its objects are unknown. Give both files of 2014 and rows with COCO ids "
                    "('391895', in _ids.txt for region features), or remove the files to use no "
                    "objects."
                )
            objects.append(classes)
        return replace(facts, objects=objects, object_names=self.names)


def find_annotations(data_dir: Path) -> list[Path]:
    """Finds the annotation files in `data_dir` or its folder annotations, if there are any."""
    for folder in (data_dir / "annotations", data_dir):
        paths = [folder / name for name in FILES if (folder / name).exists()]
        if paths:
            return paths
    return []


def read_annotations(paths: Sequence[Path]) -> CocoObjects:
    """Reads the categories of each image; polygons and boxes are dropped during parsing.

    Args:
        paths: The files; they must have the same categories.

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
    return CocoObjects(
        names=tuple(categories[category] for category in order),
        numbers={i: sorted(order[category] for category in ids) for i, ids in classes.items()},
        files=" and ".join(path.name for path in paths),
    )


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
