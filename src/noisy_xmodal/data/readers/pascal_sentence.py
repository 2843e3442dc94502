"""Pascal Sentence: 1,000 photographs of 20 classes with five sentences each.

    PascalSentence(config_name="sym_40", data_dir="pascal").download_and_prepare()

`data_dir` contains feature vectors in the layout of vectors.py, with their own splits, or the
folders written by scripts that download http://vision.cs.uiuc.edu/pascal-sentences/:

| file                        | content                                                         |
|-----------------------------|-----------------------------------------------------------------|
| dataset/{class}/{id}.jpg    | a photograph; the folder may be `images`                        |
| sentence/{class}/{id}.txt   | its sentences, one per line; `sentences`, `text` or `texts`     |

One such script omits the dot ("2008_000008txt"), which is accepted, too. Splits of pictures are
defined here, see the card. Tested without the real pictures and sentences, but with the vectors of
DSCMR (Zhen et al., CVPR 2019): its test split, and the texts and labels of its training split.
"""

import re
from pathlib import Path
from typing import Any

from ..clean_split import CleanSplit, PictureFiles
from ..columns import CAPTIONS, IMAGE, IMAGE_FEATURES, IMAGE_ID, DatasetError
from ..labels import number_classes
from .image_files import check_pictures
from .raw_files import read_lines
from .vectors import VectorReader

PICTURE_FOLDERS = ("dataset", "images")
SENTENCE_FOLDERS = ("sentence", "sentences", "text", "texts")
PER_CLASS, PER_PICTURE, N_CLASSES = 50, 5, 20

_MIN_PER_CLASS = 10  # gives each split one picture

Files = dict[str, dict[str, Path]]  # the files of each class by id


class PascalSentence(VectorReader):
    """Pascal Sentence; requires `data_dir`."""

    CARD = "pascal_sentence.md"
    FACTS = ("captions", "labels")

    def card_values(self) -> dict[str, Any]:
        """Returns whether the rows are vectors."""
        return {"has_vectors": IMAGE_FEATURES in next(iter(self.splits.values())).columns}

    def read(self) -> dict[str, CleanSplit]:
        """Opens pictures with their sentences, or vectors.

        Raises:
            DatasetError: A picture has no sentences, sentences have no picture, a class is too
                small, or a file is invalid.
        """
        folder = self.data_folder
        if not any((folder / name).is_dir() for name in (*PICTURE_FOLDERS, *SENTENCE_FOLDERS)):
            return super().read()
        pictures = _files(folder, PICTURE_FOLDERS, r"(.+)\.(?i:jpg|jpeg|png)", ".jpg, .jpeg, .png")
        sentences = _files(folder, SENTENCE_FOLDERS, r"(.+?)\.?txt", ".txt")
        _check_partners(folder, pictures, sentences)
        splits = _divide(folder, pictures, sentences)
        splits["train"].notes += _differences(pictures, splits)
        check_pictures(splits, self.config.on_bad_image)
        return splits


def _divide(folder: Path, pictures: Files, sentences: Files) -> dict[str, CleanSplit]:
    """Divides every class: 80 %, 10 % and the rest of its sorted ids."""
    columns: dict[str, dict[str, list[Any]]] = {
        split: {IMAGE: [], IMAGE_ID: [], CAPTIONS: []} for split in ("train", "validation", "test")
    }
    classes: dict[str, list[str]] = {split: [] for split in columns}
    for name, files in pictures.items():
        n_train, n_validation = len(files) * 4 // 5, len(files) // 10
        for position, image_id in enumerate(sorted(files)):
            captions = read_lines(sentences[name][image_id])
            if not captions:
                raise DatasetError(f"{sentences[name][image_id]} is empty. Get the file again.")
            split = "train" if position < n_train else "validation"
            split = split if position < n_train + n_validation else "test"
            row = (files[image_id], f"{name}/{image_id}", captions)
            for values, value in zip(columns[split].values(), row, strict=True):
                values.append(value)
            classes[split].append(name)
    labels, names = number_classes(classes, str(folder), list(pictures))
    return {
        split: CleanSplit(
            rows | {IMAGE: PictureFiles(rows[IMAGE])}, labels=labels[split], class_names=names
        )
        for split, rows in columns.items()
    }


def _differences(pictures: Files, splits: dict[str, CleanSplit]) -> list[str]:
    """Notes about differences from the published dataset."""
    notes = [f"{len(pictures)} classes, not {N_CLASSES}"] if len(pictures) != N_CLASSES else []
    notes += [
        f"class '{name}' has {len(files)} pictures, not {PER_CLASS}"
        for name, files in pictures.items()
        if len(files) != PER_CLASS
    ]
    counts = [len(texts) for split in splits.values() for texts in split.captions or ()]
    n_other = len(counts) - counts.count(PER_PICTURE)
    if n_other:
        notes.append(f"{n_other} picture(s) without exactly {PER_PICTURE} sentences")
    return notes


def _files(folder: Path, names: tuple[str, ...], pattern: str, endings: str) -> Files:
    """Lists the files in the one folder that exists, without hidden files.

    Args:
        folder: The data folder.
        names: The possible names of the folder.
        pattern: A regular expression of file names, with the id as its group.
        endings: The endings that it allows, for the message.
    """
    folders = [folder / name for name in names if (folder / name).is_dir()]
    if len(folders) != 1:
        present = " and ".join(path.name for path in folders) or "none"
        raise DatasetError(
            f"{folder}: expected one of the folders {', '.join(names)}, but found {present}. Put "
            "pictures into dataset/{class}/{id}.jpg, sentences into sentence/{class}/{id}.txt."
        )
    classes: Files = {}
    for class_folder in sorted(path for path in folders[0].iterdir() if path.is_dir()):
        files = classes.setdefault(class_folder.name, {})
        for path in sorted(class_folder.iterdir()):
            if path.name.startswith("."):
                continue
            match = re.fullmatch(pattern, path.name)
            if match is None:
                raise DatasetError(f"{path} is not a {endings} file. Remove it.")
            if match[1] in files:
                raise DatasetError(
                    f"{path} and {files[match[1]].name} have the same id. Keep one of them."
                )
            files[match[1]] = path
    return classes


def _check_partners(folder: Path, pictures: Files, sentences: Files) -> None:
    if not pictures:
        raise DatasetError(f"{folder} has no class: no folder dataset/{{class}}.")
    for side, partners, kind in (
        (pictures, sentences, "sentences"),
        (sentences, pictures, "picture"),
    ):
        for name, files in side.items():
            for image_id in sorted(files.keys() - partners.get(name, {}).keys()):
                raise DatasetError(
                    f"{files[image_id]} has no {kind} of class '{name}' with the id '{image_id}'. "
                    "Add the missing file, or remove this one."
                )
    for name, files in pictures.items():
        if len(files) < _MIN_PER_CLASS:
            raise DatasetError(
                f"{folder}: class '{name}' has {len(files)} pictures, too few for three splits "
                f"(at least {_MIN_PER_CLASS}, and {PER_CLASS} in the published set). Complete it, "
                "or remove it."
            )
