"""Writes small datasets in the published layouts of Flickr8k, Flickr30K and MS-COCO."""

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image

COCO_CATEGORIES = [
    {"supercategory": "thing", "id": number, "name": f"class {number}"}
    for number in range(1, 91)
    if number not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)  # those that MS-COCO leaves out
]


def write_picture(path: Path, number: int, size: tuple[int, int] = (24, 16)) -> None:
    """Writes a picture that no other number gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 255, (size[1] // 4, size[0] // 4, 3))
    Image.fromarray(pixels.astype(np.uint8)).resize(size).save(path, quality=90)


def karpathy_entries(
    splits: dict[str, int], captions_per_image: int = 5, coco: bool = False
) -> list[dict[str, Any]]:
    """The images of a split file; splits take turns, as they do in the published files."""
    left, entries = dict(splits), []
    while any(left.values()):
        for split in [name for name, count in left.items() if count]:
            left[split] -= 1
            number = len(entries)
            first = number * captions_per_image
            sentences = [
                {
                    "tokens": ["picture", str(number), "caption", str(k)],
                    "raw": f"Picture {number} caption {k}. ",
                    "imgid": number,
                    "sentid": first + k,
                }
                for k in range(captions_per_image)
            ]
            entry: dict[str, Any] = {
                "sentids": [sentence["sentid"] for sentence in sentences],
                "imgid": number,
                "sentences": sentences,
                "split": split,
                "filename": f"{1000 + number}_{number:06x}.jpg",
            }
            if coco:
                folder = "train2014" if split == "train" else "val2014"
                entry |= {"filepath": folder, "cocoid": 9 + 7 * number}
                entry["filename"] = f"COCO_{folder}_{entry['cocoid']:012d}.jpg"
            entries.append(entry)
    return entries


def write_karpathy(
    folder: Path, name: str, entries: list[dict[str, Any]], pictures: str | None = "images"
) -> Path:
    """Writes a split file with its pictures; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"images": entries, "dataset": name}
    (folder / f"dataset_{name}.json").write_text(json.dumps(content))
    for number, entry in enumerate(entries if pictures is not None else ()):
        place = folder / str(pictures) / entry.get("filepath", "")
        write_picture(place / entry["filename"], number)
    return folder


def write_instances(
    folder: Path, entries: list[dict[str, Any]], categories: dict[int, list[int]]
) -> None:
    """Writes both files of instance annotations.

    Args:
        folder: Where to.
        entries: The images of the split file.
        categories: The category ids of each image, by COCO id; repeats are several annotations.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train2014", "val2014"):
        here = [entry for entry in entries if entry["filepath"] == part]
        content = {
            "info": {"description": "COCO 2014 Dataset", "year": 2014},
            "images": [
                {
                    "license": 5,
                    "file_name": entry["filename"],
                    "coco_url": "http://images.cocodataset.org/" + entry["filename"],
                    "height": 480,
                    "width": 640,
                    "date_captured": "2013-11-14 16:28:13",
                    "id": entry["cocoid"],
                }
                for entry in here
            ],
            "licenses": [{"url": "http://creativecommons.org/", "id": 5, "name": "Attribution"}],
            "annotations": [
                _annotation(100 * entry["cocoid"] + k, entry["cocoid"], category)
                for entry in here
                for k, category in enumerate(categories.get(entry["cocoid"], ()))
            ],
            "categories": COCO_CATEGORIES,
        }
        (folder / f"instances_{part}.json").write_text(json.dumps(content))


def _annotation(number: int, image_id: int, category: int) -> dict[str, Any]:
    crowd = number % 3 == 0
    mask = {"counts": [3, 4, 5], "size": [480, 640]}
    return {
        "segmentation": mask if crowd else [[1.5, 2.5, 3.5, 4.5, 5.5, 6.5]],
        "area": 702.1,
        "iscrowd": int(crowd),
        "image_id": image_id,
        "bbox": [1.0, 2.0, 3.0, 4.0],
        "category_id": category,
        "id": number,
    }


def load(out: Path, config: str) -> datasets.DatasetDict:
    """Reads a written folder back."""
    return datasets.load_dataset(str(out), config, cache_dir=str(out.parent / "load_cache"))


def truth(dataset: datasets.Dataset) -> list[list[bool]]:
    """Whether each caption names another picture than its row's; ids end in the number."""
    return [
        [
            f"Picture {int(row['image_id'].split('_')[1], 16)} " not in text
            for text in row["captions"]
        ]
        for row in dataset.remove_columns("image")
    ]
