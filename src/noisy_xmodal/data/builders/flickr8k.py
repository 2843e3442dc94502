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
from .karpathy import KARPATHY_CITATION, KarpathyBuilder, find_file
from .karpathy_files import ListedImage, check_unique, is_file_name
from .raw_files import read_lines

CAPTIONS_FILE = "Flickr8k.token.txt"
IMAGE_LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "validation": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}


class Flickr8k(KarpathyBuilder):
    """Builder of Flickr8k; partial noise requires `objects_from`."""

    DATASET = "flickr8k"
    LISTINGS = ("dataset_flickr8k.json", "dataset.json")
    SIZES = (6_000, 1_000, 1_000)
    SUMMARY = "Flickr8k: photographs with five captions each."
    HOMEPAGE = "http://hockenmaier.cs.illinois.edu/8k-pictures.html"
    LICENSE = "Captions: research and education. Pictures: the terms of their owners on Flickr."
    CITATION = f"""@article{{hodosh2013framing,
  title = {{Framing Image Description as a Ranking Task: Data, Models and Evaluation Metrics}},
  author = {{Hodosh, Micah and Young, Peter and Hockenmaier, Julia}},
  journal = {{Journal of Artificial Intelligence Research}},
  volume = {{47}},
  pages = {{853--899}},
  year = {{2013}}
}}
{KARPATHY_CITATION}"""
    TITLE = "Flickr8k"
    ABOUT = """
Photographs of people and animals in action from Flickr, each with five English captions by five
people: 6,000 pictures for training, 1,000 for validation and 1,000 for test. `image_id` is the name
of the picture's file.
"""
    PICTURE_FORM = """
**Form.** Captions and splits of the split file, or of the original lists, in their order, with the
unchanged bytes of the picture files. The builder was written for the published layout and tested
with real pictures and captions in that layout; the published archives were not at hand.
"""
    CREDIT = """
Flickr8k (Hodosh, Young and Hockenmaier, JAIR 2013) was available on request from the University of
Illinois, for non-profit research and education. The pictures belong to their owners on Flickr,
whose terms apply: do not share them further. Split file: Karpathy and Li, CVPR 2015.
"""

    def read_listing(self, folder: Path) -> tuple[list[ListedImage], str]:
        """Reads the split file, else the original lists.

        Raises:
            DatasetError: There is neither, or a file is invalid.
        """
        captions_path = find_file(folder, (CAPTIONS_FILE,))
        if captions_path is None or find_file(folder, self.LISTINGS) is not None:
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
