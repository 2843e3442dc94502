"""Reading of the split files of Karpathy and Li (CVPR 2015), and lookup of their pictures.

    {"dataset": "coco",
     "images": [{"filename": "COCO_val2014_000000391895.jpg", "filepath": "val2014",
                 "cocoid": 391895, "imgid": 0, "split": "test", "sentids": [770337, ...],
                 "sentences": [{"raw": "A man on a moped.", "tokens": [...], ...}, ...]}, ...]}

Only the file of MS-COCO has `filepath` and `cocoid`. The splits are train, val, test and restval,
the part of MS-COCO's validation pictures that is used for training.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from ..columns import DatasetError
from .raw_files import check_ids, read_json

SPLITS = {
    "train": str(datasets.Split.TRAIN),
    "restval": str(datasets.Split.TRAIN),
    "val": str(datasets.Split.VALIDATION),
    "test": str(datasets.Split.TEST),
}
DATASETS = ("flickr8k", "flickr30k", "coco")
IMAGE_FOLDERS = (
    "images",
    "flickr30k-images",
    "flickr30k_images",
    "Flicker8k_Dataset",  # the spelling of the published archive
    "Flickr8k_Dataset",
    "Images",
)

_PROBES = 100
_BREAKS = re.compile(r"[\t\r\n]+")
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An entry of a split file.

    Attributes:
        filename: The name of the picture file.
        split: "train", "validation" or "test".
        captions: The captions.
        image_id: The id.
        folder: The folder of the file ("val2014"), or an empty string.
    """

    filename: str
    split: str
    captions: list[str]
    image_id: str
    folder: str = ""


def read_karpathy(path: Path, dataset: str) -> list[ListedImage]:
    """Reads a split file.

    Args:
        path: The file.
        dataset: The expected dataset: "flickr8k", "flickr30k" or "coco".

    Returns:
        The pictures in the order of the file.

    Raises:
        DatasetError: The file is invalid, or belongs to another dataset.
    """
    content = read_json(path, _drop_tokens)
    entries = content.get("images") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise DatasetError(f"{path} has no list of 'images': expected a Karpathy split file.")
    name = content.get("dataset")
    if name in DATASETS and name != dataset:
        raise DatasetError(f"{path} lists '{name}', not '{dataset}'. Use the script of {name}.")
    images = [_listed_image(path, number, entry, dataset) for number, entry in enumerate(entries)]
    check_unique(images, path)
    return images


def check_unique(images: Sequence[ListedImage], where: Path) -> None:
    """Checks that no file and no id is listed twice.

    Raises:
        DatasetError: One is listed twice; the message names both entries.
    """
    first_numbers: dict[str, int] = {}
    for number, image in enumerate(images):
        first = first_numbers.setdefault(image.filename, number)
        if first != number:
            raise DatasetError(
                f"{where}: images {first} ({images[first].split}) and {number} ({image.split}), "
                f"counted from 0, both have the file '{image.filename}'. A picture belongs to one "
                "split, with all its captions: remove one entry."
            )
    check_ids([image.image_id for image in images], str(where))


def find_pictures(data_dir: Path, images: Sequence[ListedImage]) -> tuple[list[Path], str]:
    """Finds the folder of the pictures: data_dir, a usual name, or a folder up to two levels down.

    The first folder with any of the first pictures is used. `check_present` then checks all files.

    Returns:
        The file of each picture, and the folder relative to `data_dir`.

    Raises:
        DatasetError: No folder has any of the first pictures.
    """
    for folder in _folders(data_dir):
        for nested in (True, False):
            if any(_path(folder, image, nested).is_file() for image in images[:_PROBES]):
                paths = [_path(folder, image, nested) for image in images]
                return paths, folder.relative_to(data_dir).as_posix()
    first = Path(images[0].folder) / images[0].filename
    raise DatasetError(
        f"No pictures found: neither '{first}' nor the {len(images[1:_PROBES])} after it are in "
        f"{data_dir} or a folder up to two levels down. Put the pictures into {data_dir}/images."
    )


def is_file_name(name: object) -> bool:
    """Whether a name has no folders."""
    return isinstance(name, str) and name not in ("", "..") and Path(name).name == name


def _path(folder: Path, image: ListedImage, nested: bool) -> Path:
    return folder / image.folder / image.filename if nested else folder / image.filename


def _folders(data_dir: Path) -> Iterator[Path]:
    yield data_dir
    yield from (data_dir / name for name in IMAGE_FOLDERS)
    children = _children(data_dir)
    yield from children
    for child in children:
        yield from _children(child)


def _children(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]
    return [folder / name for name in sorted(names)]


def _drop_tokens(entry: dict[str, Any]) -> dict[str, Any]:
    entry.pop("tokens", None)
    return entry


def _listed_image(path: Path, number: int, entry: Any, dataset: str) -> ListedImage:
    where = f"{path}, image {number} (counted from 0"
    if not isinstance(entry, dict):
        raise DatasetError(f"{where}): expected an object, but found {entry!r}.")
    where += f", {entry['filename']})" if "filename" in entry else ")"
    for key in ("filename", "split", "sentences", *(("cocoid",) if dataset == "coco" else ())):
        if key not in entry:
            raise DatasetError(
                f"{where}: the key '{key}' is missing. Use the published file, or add the key."
            )
    name, folder = entry["filename"], entry.get("filepath", "")
    if not is_file_name(name) or not (folder == "" or is_file_name(folder)):
        raise DatasetError(
            f"{where}: filename and filepath are {name!r} and {folder!r}, but must be the names of "
            "a file and a folder, without a path."
        )
    if not isinstance(entry["split"], str) or entry["split"] not in SPLITS:
        raise DatasetError(
            f"{where}: the split {entry['split']!r} is unknown. Expected {', '.join(SPLITS)}."
        )
    captions = _captions(where, entry["sentences"])
    image_id = str(entry["cocoid"]) if dataset == "coco" else Path(name).stem
    if _SURROGATES.search("".join((name, folder, image_id, *captions))):
        raise DatasetError(
            f"{path}, image {number} (counted from 0): a name or a sentence has half of a "
            "surrogate pair, which is not a character. Correct it."
        )
    return ListedImage(
        filename=name,
        split=SPLITS[entry["split"]],
        captions=captions,
        image_id=image_id,
        folder=folder,
    )


def _captions(where: str, sentences: Any) -> list[str]:
    if not isinstance(sentences, list) or not sentences:
        raise DatasetError(f"{where}: there are no sentences. Add one, or remove the image.")
    captions = []
    for position, sentence in enumerate(sentences):
        raw = sentence.get("raw") if isinstance(sentence, dict) else None
        if not isinstance(raw, str):
            raise DatasetError(
                f"{where}, sentence {position}: 'raw' is missing or not text. Use the published "
                "file, or add the text."
            )
        caption = _BREAKS.sub(" ", raw.strip())
        if not caption:
            raise DatasetError(
                f"{where}, sentence {position}: 'raw' is empty ({raw!r}). Write the sentence, or "
                "remove it."
            )
        captions.append(caption)
    return captions
