"""The objects of MS-COCO pictures, from the instance annotations of 2014.

    {"images": [{"id": 391895, "file_name": "COCO_val2014_000000391895.jpg", ...}],
     "annotations": [{"image_id": 391895, "category_id": 4, "segmentation": [...], ...}],
     "categories": [{"id": 1, "name": "person", "supercategory": "person"}]}

A picture's objects are the set of categories that any annotation gives it, crowds included. The ids
of the 80 categories run from 1 to 90 with gaps; here they are numbered from 0 in the same order.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets.utils import tqdm  # can be switched off by datasets.disable_progress_bars()

from ..columns import DatasetError
from .clean_split import Facts
from .json_files import read_json

FILES = ("instances_train2014.json", "instances_val2014.json")

_IMAGE_NAME = re.compile(r"(?:COCO_(?:train|val)2014_)?(\d+)(?:\.jpg)?")


@dataclass(frozen=True)
class CocoObjects:
    """The objects of all pictures that some annotation files list.

    Attributes:
        names: The classes, in the order of their category ids.
        numbers: For each COCO id, the sorted numbers of its classes.
        files: Names of the files, for messages.
    """

    names: tuple[str, ...]
    numbers: dict[int, list[int]]
    files: str

    def facts(self, facts: Facts, image_ids: Sequence[str]) -> Facts:
        """Returns the facts of a split with its objects.

        Args:
            facts: The facts so far.
            image_ids: COCO ids, "391895" or "COCO_val2014_000000391895.jpg".

        Raises:
            DatasetError: An id is no COCO id, or the files do not list it.
        """
        objects = []
        for row, image_id in enumerate(image_ids):
            match = _IMAGE_NAME.fullmatch(image_id)
            found = None if match is None else self.numbers.get(int(match[1]))
            if found is None:
                raise DatasetError(
                    f"{self.files}: no image with the id '{image_id}' (row {row}, counted from 0), "
                    "so its objects are unknown. Give both files of 2014 and rows with COCO ids "
                    "('391895', in _ids.txt for region features), or take the files away to go "
                    "without objects."
                )
            objects.append(found)
        return replace(facts, objects=objects, object_names=self.names)


def find_annotations(data_dir: Path) -> list[Path]:
    """Finds the annotation files in `data_dir` or its folder annotations; none is fine too."""
    for folder in (data_dir / "annotations", data_dir):
        found = [folder / name for name in FILES if (folder / name).exists()]
        if found:
            return found
    return []


def read_annotations(paths: Sequence[Path]) -> CocoObjects:
    """Reads which image shows which categories; polygons and boxes are dropped while parsing.

    Args:
        paths: The files; they must agree on the categories.

    Raises:
        DatasetError: A file breaks the layout; the message names the entry.
    """
    categories: dict[int, str] = {}
    found: dict[int, set[int]] = {}
    for path in tqdm(paths, desc="Reading object annotations", unit="files"):
        content = _sections(path)
        here = _categories(path, content["categories"])
        if categories and here != categories:
            raise DatasetError(f"{path} has other categories than {paths[0]}: take both from 2014.")
        categories = here
        listed = _image_ids(path, content["images"])
        for number, entry in enumerate(content["annotations"]):
            image_id, category = entry if isinstance(entry, tuple) else (None, None)
            if image_id not in listed or category not in categories:
                raise DatasetError(
                    f"{path}, annotation {number} (counted from 0): image_id {image_id!r} and "
                    f"category_id {category!r} are not both listed in the file. Download it again."
                )
            listed[image_id].add(category)
        found |= listed
    order = {category: number for number, category in enumerate(sorted(categories))}
    return CocoObjects(
        names=tuple(categories[category] for category in order),
        numbers={i: sorted(order[category] for category in shown) for i, shown in found.items()},
        files=" and ".join(path.name for path in paths),
    )


def _reduce(entry: dict[str, Any]) -> Any:
    """Keeps of an annotation its image and category, and of an image its id."""
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
        found = (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
        if not isinstance(found[0], int) or not isinstance(found[1], str) or found[0] in names:
            raise DatasetError(
                f"{path}, category {number} (counted from 0): expected a new 'id' and a 'name', "
                f"found {entry!r}."
            )
        names[found[0]] = found[1]
    return names


def _image_ids(path: Path, entries: list[Any]) -> dict[int, set[int]]:
    for number, image_id in enumerate(entries):
        if not isinstance(image_id, int):
            raise DatasetError(
                f"{path}, image {number} (counted from 0): expected 'file_name' and a number as "
                "'id'. Download it again."
            )
    return {image_id: set() for image_id in entries}
