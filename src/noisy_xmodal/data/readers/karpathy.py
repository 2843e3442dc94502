"""Datasets with a split file of Karpathy and Li (CVPR 2015): Flickr8k, Flickr30K, MS-COCO.

`data_dir` contains either region features (`*_ims.npy`, see precomp.py), or a split file and
pictures:

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
from typing import Any, ClassVar

from ..clean_split import CleanSplit, PictureFiles
from ..columns import CAPTIONS, IMAGE, IMAGE_ID, REGIONS, DatasetError
from .base import NoisyPairsBuilder
from .image_files import check_pictures, check_present
from .precomp import check_features, read_precomp
from .raw_files import check_ids, find_file, read_json

SPLITS = {"train": "train", "restval": "train", "val": "validation", "test": "test"}
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


class KarpathyBuilder(NoisyPairsBuilder):
    """A dataset with a Karpathy split file; requires `data_dir`.

    Attributes:
        DATASET: The name of the dataset in the split file.
        MAX_CAPTIONS: Maximum number of captions per image, the first ones; None for all.
        SIZES: Number of images of the published splits train, validation and test.
    """

    DATASET: ClassVar[str]
    MAX_CAPTIONS: ClassVar[int | None] = None
    SIZES: ClassVar[tuple[int, int, int]]

    def has_objects(self) -> bool:
        """Whether region features have a file of labels."""
        return any(self.data_folder.glob("*_labels.txt"))

    def card_values(self) -> dict[str, Any]:
        """Returns whether the images are region features."""
        return {"has_regions": REGIONS in next(iter(self.splits.values())).columns}

    def read(self) -> dict[str, CleanSplit]:
        """Opens the splits of either form, and checks features or pictures."""
        folder = self.data_folder
        has_regions = any(folder.glob("*_ims.npy"))
        splits = read_precomp(folder) if has_regions else self._pictures(folder)
        self.add_objects(splits)
        if has_regions:
            check_features(splits)
        else:
            check_pictures(splits, self.config.on_bad_image)
        for name, published in zip(dict.fromkeys(SPLITS.values()), self.SIZES, strict=True):
            if name in splits and len(splits[name]) != published:
                splits[name].notes.append(f"the published split has {published:,} images")
        return splits

    def add_objects(self, splits: dict[str, CleanSplit]) -> None:
        """Adds objects to the splits, if the dataset has any; called before long checks."""

    def read_listing(self, folder: Path) -> tuple[list[ListedImage], str]:
        """Reads the list of pictures.

        Args:
            folder: The folder of the split file, or its parent.

        Returns:
            The pictures, and the name of the file that lists them.

        Raises:
            DatasetError: There is no split file, or it is invalid.
        """
        path = self.split_file(folder)
        if path is None:
            raise DatasetError(
                f"{folder} has neither dataset_{self.DATASET}.json nor dataset.json nor *_ims.npy. "
                "Add the split file and the pictures, or region features."
            )
        return read_karpathy(path, self.DATASET), path.name

    def split_file(self, folder: Path) -> Path | None:
        """Finds the split file, if there is one."""
        return find_file(folder, (f"dataset_{self.DATASET}.json", "dataset.json"))

    def _pictures(self, folder: Path) -> dict[str, CleanSplit]:
        images, listing = self.read_listing(folder)
        paths, subfolder = find_pictures(folder, images)
        check_present(paths)
        where = "data_dir itself" if subfolder == "." else f"{subfolder}/"
        splits = {}
        for name in dict.fromkeys(SPLITS.values()):
            rows = [row for row, image in enumerate(images) if image.split == name]
            if not rows:
                continue
            columns: dict[str, Any] = {
                IMAGE: PictureFiles([paths[row] for row in rows]),
                IMAGE_ID: [images[row].image_id for row in rows],
                CAPTIONS: [images[row].captions[: self.MAX_CAPTIONS] for row in rows],
            }
            splits[name] = CleanSplit(columns, notes=[f"listed by {listing}, pictures of {where}"])
            n_dropped = sum(len(images[row].captions) for row in rows) - splits[name].n_captions
            if n_dropped:
                splits[name].notes.append(
                    f"{n_dropped:,} captions after the first {self.MAX_CAPTIONS} of an image left "
                    "out"
                )
        return splits


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

    def paths(folder: Path, nested: bool, of: Sequence[ListedImage]) -> list[Path]:
        return [folder / (image.folder if nested else "") / image.filename for image in of]

    for folder in _folders(data_dir):
        for nested in (True, False):
            if any(path.is_file() for path in paths(folder, nested, images[:_PROBES])):
                return paths(folder, nested, images), folder.relative_to(data_dir).as_posix()
    first = Path(images[0].folder) / images[0].filename
    raise DatasetError(
        f"No pictures found: neither '{first}' nor the {len(images[1:_PROBES])} after it are in "
        f"{data_dir} or a folder up to two levels down. Put the pictures into {data_dir}/images."
    )


def is_file_name(name: object) -> bool:
    """Whether a name has no folders."""
    return isinstance(name, str) and name not in ("", "..") and Path(name).name == name


def _folders(data_dir: Path) -> Iterator[Path]:
    def children(folder: Path) -> list[Path]:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]
        return [folder / name for name in sorted(names)]

    yield data_dir
    yield from (data_dir / name for name in IMAGE_FOLDERS)
    yield from (own := children(data_dir))
    for child in own:
        yield from children(child)


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
    return ListedImage(name, SPLITS[entry["split"]], captions, image_id, folder)


def _captions(where: str, sentences: Any) -> list[str]:
    if not isinstance(sentences, list) or not sentences:
        raise DatasetError(f"{where}: there are no sentences. Add one, or remove the image.")
    captions = []
    for position, sentence in enumerate(sentences):
        raw = sentence.get("raw") if isinstance(sentence, dict) else None
        caption = _BREAKS.sub(" ", raw.strip()) if isinstance(raw, str) else ""
        if not caption:
            raise DatasetError(
                f"{where}, sentence {position}: 'raw' is missing, empty or not text ({raw!r}). "
                "Write the sentence, or remove it."
            )
        captions.append(caption)
    return captions
