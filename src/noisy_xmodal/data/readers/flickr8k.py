"""Flickr8k: 8,000 photographs with five captions each (6,000 / 1,000 / 1,000).

    Flickr8k(config_name="cmp_40", data_dir="flickr8k").download_and_prepare()

Captions and pictures were available on request from the University of Illinois, for non-profit
research and education; the pictures come from Flickr, under the terms of their owners. The
split file `dataset_flickr8k.json` is that of Karpathy and Li
(https://cs.stanford.edu/people/karpathy/deepimagesent/). See karpathy.py for the forms of
`data_dir`. Without a split file, the original lists are read, in `data_dir` or one folder down:

    Flickr8k.token.txt                               name.jpg#0<TAB>caption
    Flickr_8k.{trainImages,devImages,testImages}.txt name.jpg
"""

from pathlib import Path

from ..columns import DatasetError
from .karpathy import KarpathyBuilder, ListedImage, check_unique, is_file_name
from .raw_files import find_file, read_lines

CAPTIONS_FILE = "Flickr8k.token.txt"
IMAGE_LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "validation": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}


class Flickr8k(KarpathyBuilder):
    """Flickr8k; partial noise requires `objects_from`."""

    CARD = "flickr8k.md"
    DATASET = "flickr8k"
    SIZES = (6_000, 1_000, 1_000)

    def read_listing(self, folder: Path) -> tuple[list[ListedImage], str]:
        """Reads the split file, else the original lists.

        Raises:
            DatasetError: There is neither, or a file is invalid.
        """
        captions_path = find_file(folder, (CAPTIONS_FILE,))
        if captions_path is None or self.split_file(folder) is not None:
            return super().read_listing(folder)
        return read_original(captions_path), f"{CAPTIONS_FILE} and its image lists"


def read_original(captions_path: Path) -> list[ListedImage]:
    """Reads the original lists; captions of unlisted pictures are ignored.

    Args:
        captions_path: The file of captions, in the folder of the image lists.

    Returns:
        The pictures in the order of the image lists.

    Raises:
        DatasetError: A line is invalid, or a picture has no caption or is listed twice.
    """
    captions = _read_captions(captions_path)
    paths = {split: captions_path.parent / name for split, name in IMAGE_LISTS.items()}
    images = []
    for split, path in paths.items():
        for number, name in enumerate(read_lines(path), start=1):
            if name not in captions:
                raise DatasetError(
                    f"{path}, line {number}: '{name}' has no caption in {CAPTIONS_FILE}. Use both "
                    "files from the same archive."
                )
            images.append(ListedImage(name, split, captions[name], Path(name).stem))
    check_unique(images, captions_path.parent)
    return images


def _read_captions(path: Path) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    lines_of: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        key, _, caption = line.partition("\t")
        name, _, position = key.rpartition("#")
        if not is_file_name(name) or not position.isdigit() or not caption.strip():
            raise DatasetError(
                f"{path}, line {number}: '{line[:80]}' is not 'name.jpg#0<TAB>caption'."
            )
        first = lines_of.setdefault(key, number)
        if first != number:
            raise DatasetError(
                f"{path}, lines {first} and {number}: both are caption '{key}'. Remove one."
            )
        captions.setdefault(name, []).append(caption.strip())
    return captions
