"""Base class for datasets with a split file of Karpathy and Li: Flickr8k, Flickr30K, MS-COCO.

`data_dir` contains either region features (`*_ims.npy`, see precomp_files.py), or a split file and
pictures (see karpathy_files.py).
"""

from pathlib import Path
from typing import Any, ClassVar

import datasets

from ..card import CardText
from ..columns import IMAGE, IMAGE_ID, REGIONS, DatasetError
from ..regions import region_feature
from .base import NoisyPairsBuilder
from .clean_split import CleanSplit, Facts, split_lines
from .image_files import ImageSplit, check_present, check_splits
from .karpathy_files import (
    SPLITS,
    ListedImage,
    find_pictures,
    read_karpathy,
)
from .precomp_files import PrecompSplit, open_precomp_splits

KARPATHY_CITATION = """@inproceedings{karpathy2015deep,
  title = {Deep Visual-Semantic Alignments for Generating Image Descriptions},
  author = {Karpathy, Andrej and Fei-Fei, Li},
  booktitle = {CVPR},
  year = {2015}
}"""

_REGION_FORM = """**Form.** Region features with captions in the layout of SCAN and VSE++, not
pictures. The builder was tested with our own features in that layout; the published feature files
of this dataset were not at hand."""


class KarpathyBuilder(NoisyPairsBuilder):
    """Builder of a dataset with a Karpathy split file; requires `data_dir`.

    Attributes:
        DATASET: The name of the dataset in the split file.
        LISTINGS: Names of the split file in order of priority; it may be one folder down.
        MAX_CAPTIONS: Maximum number of captions per image, the first ones; None for all.
        SIZES: Number of images of the published splits: train, validation, test.
        TITLE: The title of the card.
        ABOUT: Markdown for the card: a description of the dataset.
        PICTURE_FORM: Markdown for the card: notes on the form with pictures.
        CREDIT: Markdown for the card: the source of the raw files, and their terms.
    """

    DATASET: ClassVar[str]
    LISTINGS: ClassVar[tuple[str, ...]]
    MAX_CAPTIONS: ClassVar[int | None] = None
    SIZES: ClassVar[tuple[int, int, int]]
    TITLE: ClassVar[str]
    ABOUT: ClassVar[str]
    PICTURE_FORM: ClassVar[str]
    CREDIT: ClassVar[str]

    def has_objects(self) -> bool:
        """Whether region features have a file of labels."""
        return any(self.data_folder.glob("*_labels.txt"))

    def open_splits(self) -> dict[str, CleanSplit]:
        """Opens the splits of either form, and checks features or pictures.

        Raises:
            DatasetError: `data_dir` is not set, a file is invalid, or pictures are missing or bad.
        """
        folder = self.data_folder
        if any(folder.glob("*_ims.npy")):
            return self._open_regions(folder)
        return self._open_pictures(folder)

    def read_listing(self, folder: Path) -> tuple[list[ListedImage], str]:
        """Reads the list of pictures.

        Args:
            folder: The folder of the split file.

        Returns:
            The pictures, and the name of the file that lists them.

        Raises:
            DatasetError: There is no split file, or it is invalid.
        """
        path = find_file(folder, self.LISTINGS)
        if path is None:
            raise DatasetError(
                f"{folder} has neither {' nor '.join(self.LISTINGS)} nor *_ims.npy. Add the split "
                "file and the pictures, or region features."
            )
        return read_karpathy(path, self.DATASET), path.name

    def add_objects(self, splits: dict[str, CleanSplit]) -> None:
        """Adds objects to the splits, if the dataset has any; called before long checks."""

    def row_features(self, splits: dict[str, CleanSplit]) -> dict[str, Any]:
        """Returns the types of picture or regions, and id."""
        split = next(iter(splits.values()))
        columns: dict[str, Any] = {IMAGE: datasets.Image(), IMAGE_ID: datasets.Value("string")}
        if isinstance(split, PrecompSplit):
            del columns[IMAGE]
            columns = {REGIONS: region_feature(split.dim, str(split.features.dtype)), **columns}
        return columns

    def card_text(self, splits: dict[str, CleanSplit]) -> CardText:
        """Returns the text of the card."""
        has_regions = isinstance(next(iter(splits.values())), PrecompSplit)
        form = _REGION_FORM if has_regions else self.PICTURE_FORM
        return CardText(
            title=self.TITLE,
            body="\n\n".join(part.strip() for part in (self.ABOUT, form, split_lines(splits))),
            credit=f"{self.CREDIT.strip()}\n\n```bibtex\n{self.CITATION.strip()}\n```",
            language=("en",),
        )

    def _open_regions(self, folder: Path) -> dict[str, CleanSplit]:
        regions = open_precomp_splits(folder)
        splits: dict[str, CleanSplit] = {**regions}
        self.add_objects(splits)
        for split in regions.values():
            split.features.check_finite()
        self._note_sizes(splits)
        return splits

    def _open_pictures(self, folder: Path) -> dict[str, CleanSplit]:
        images, listing = self.read_listing(folder)
        paths, subfolder = find_pictures(folder, images)
        check_present(paths)
        pictures = {}
        for name in dict.fromkeys(SPLITS.values()):
            rows = [row for row, image in enumerate(images) if image.split == name]
            if rows:
                facts = self._facts([images[row].captions for row in rows])
                where = "data_dir itself" if subfolder == "." else f"{subfolder}/"
                facts.notes.insert(0, f"listed by {listing}, pictures of {where}")
                ids = [images[row].image_id for row in rows]
                pictures[name] = ImageSplit([paths[row] for row in rows], ids, facts)
        splits: dict[str, CleanSplit] = {**pictures}
        self.add_objects(splits)
        check_splits(pictures, self.config.on_bad_image)
        self._note_sizes(splits)
        return splits

    def _facts(self, captions: list[list[str]]) -> Facts:
        facts = Facts(captions=[texts[: self.MAX_CAPTIONS] for texts in captions])
        n_dropped = sum(map(len, captions)) - sum(map(len, facts.captions or ()))
        if n_dropped:
            facts.notes.append(
                f"{n_dropped:,} captions after the first {self.MAX_CAPTIONS} of an image left out"
            )
        return facts

    def _note_sizes(self, splits: dict[str, CleanSplit]) -> None:
        for name, published in zip(dict.fromkeys(SPLITS.values()), self.SIZES, strict=True):
            split = splits.get(name)
            if split is not None and len(split) != published:
                split.facts.notes.append(f"the published split has {published:,} images")


def find_file(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Finds the first existing file of some names, in a folder or one level down."""
    for name in names:
        for path in (folder / name, *sorted(folder.glob(f"*/{name}"))):
            if path.is_file():
                return path
    return None
