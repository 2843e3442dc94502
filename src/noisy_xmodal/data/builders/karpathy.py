"""Base of the datasets that have a split file of Karpathy and Li: Flickr8k, Flickr30K, MS-COCO.

They come in two forms. `data_dir` holds either region features (`*_ims.npy`, see precomp_files.py),
or a split file with pictures beside it (see karpathy_files.py).
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

_REGION_FORM = """**Form.** Region features with captions, as files of the layout of SCAN and VSE++,
not pictures. The published feature files of this dataset were not at hand when the builder was
made; the layout was tried on features of our own."""


class KarpathyBuilder(NoisyPairsBuilder):
    """Builder of a dataset with a Karpathy split file; `data_dir` is needed.

    Attributes:
        DATASET: What the split file calls the dataset.
        LISTINGS: Names of the split file, best first; it may lie one folder down.
        MOST_CAPTIONS: Captions that are kept of an image, the first ones; None for all.
        SIZES: Number of images of the published splits: train, validation, test.
        TITLE: The name that people read.
        ABOUT: Markdown for the card: what the dataset is.
        PICTURE_FORM: Markdown for the card: what is to be known of the form with pictures.
        CREDIT: Markdown for the card: where the raw files come from, and their terms.
    """

    DATASET: ClassVar[str]
    LISTINGS: ClassVar[tuple[str, ...]]
    MOST_CAPTIONS: ClassVar[int | None] = None
    SIZES: ClassVar[tuple[int, int, int]]
    TITLE: ClassVar[str]
    ABOUT: ClassVar[str]
    PICTURE_FORM: ClassVar[str]
    CREDIT: ClassVar[str]

    def has_objects(self) -> bool:
        """Whether there is a file of labels, beside region features."""
        return any(self.data_folder.glob("*_labels.txt"))

    def open_splits(self) -> dict[str, CleanSplit]:
        """Opens the splits of either form, and checks features or pictures.

        Raises:
            DatasetError: No `data_dir`, a file breaks its layout, or pictures are missing or bad.
        """
        folder = self.data_folder
        if any(folder.glob("*_ims.npy")):
            return self._open_regions(folder)
        return self._open_pictures(folder)

    def read_listing(self, folder: Path) -> tuple[list[ListedImage], str]:
        """Reads which pictures there are.

        Args:
            folder: Where the split file lies.

        Returns:
            The pictures, and the name of what lists them.

        Raises:
            DatasetError: There is no split file, or it breaks its layout.
        """
        path = find_file(folder, self.LISTINGS)
        if path is None:
            raise DatasetError(
                f"{folder} holds neither {' nor '.join(self.LISTINGS)} nor *_ims.npy. Put the "
                "split file there, with the pictures beside it, or region features."
            )
        return read_karpathy(path, self.DATASET), path.name

    def add_objects(self, splits: dict[str, CleanSplit]) -> None:
        """Gives the splits their objects, where the dataset knows any; before all long checks."""

    def row_features(self, splits: dict[str, CleanSplit]) -> dict[str, Any]:
        """Returns the types of picture or regions, and id."""
        split = next(iter(splits.values()))
        columns: dict[str, Any] = {IMAGE: datasets.Image(), IMAGE_ID: datasets.Value("string")}
        if isinstance(split, PrecompSplit):
            del columns[IMAGE]
            columns = {REGIONS: region_feature(split.dim, str(split.features.dtype)), **columns}
        return columns

    def card_text(self, splits: dict[str, CleanSplit]) -> CardText:
        """Returns what the card says."""
        regions = isinstance(next(iter(splits.values())), PrecompSplit)
        form = _REGION_FORM if regions else self.PICTURE_FORM
        return CardText(
            title=self.TITLE,
            body="\n\n".join(part.strip() for part in (self.ABOUT, form, split_lines(splits))),
            credit=f"{self.CREDIT.strip()}\n\n```bibtex\n{self.CITATION.strip()}\n```",
            language=("en",),
        )

    def _open_regions(self, folder: Path) -> dict[str, CleanSplit]:
        splits = open_precomp_splits(folder)
        opened: dict[str, CleanSplit] = {**splits}
        self.add_objects(opened)
        for split in splits.values():
            split.features.check_finite()
        self._note_sizes(opened)
        return opened

    def _open_pictures(self, folder: Path) -> dict[str, CleanSplit]:
        images, listing = self.read_listing(folder)
        paths, place = find_pictures(folder, images)
        check_present(paths)
        splits = {}
        for name in dict.fromkeys(SPLITS.values()):
            rows = [row for row, image in enumerate(images) if image.split == name]
            if rows:
                facts = self._facts([images[row].captions for row in rows])
                where = "data_dir itself" if place == "." else f"{place}/"
                facts.notes.insert(0, f"listed by {listing}, pictures of {where}")
                ids = [images[row].image_id for row in rows]
                splits[name] = ImageSplit([paths[row] for row in rows], ids, facts)
        opened: dict[str, CleanSplit] = {**splits}
        self.add_objects(opened)
        check_splits(splits, self.config.on_bad_image)
        self._note_sizes(opened)
        return opened

    def _facts(self, captions: list[list[str]]) -> Facts:
        facts = Facts(captions=[texts[: self.MOST_CAPTIONS] for texts in captions])
        more = sum(map(len, captions)) - sum(map(len, facts.captions or ()))
        if more:
            facts.notes.append(
                f"{more:,} captions after the first {self.MOST_CAPTIONS} of an image left out"
            )
        return facts

    def _note_sizes(self, splits: dict[str, CleanSplit]) -> None:
        for name, published in zip(dict.fromkeys(SPLITS.values()), self.SIZES, strict=True):
            split = splits.get(name)
            if split is not None and len(split) != published:
                split.facts.notes.append(f"the published split has {published:,} images")


def find_file(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Finds the first of some files, in a folder or one level down."""
    for name in names:
        for path in (folder / name, *sorted(folder.glob(f"*/{name}"))):
            if path.is_file():
                return path
    return None
