"""Pascal Sentence: 1,000 photographs of 20 classes with five sentences each.

    PascalSentence(config_name="sym_40", data_dir="pascal").download_and_prepare()

Source: Rashtchian et al., "Collecting Image Annotations Using Amazon's Mechanical Turk", NAACL 2010
workshop; http://vision.cs.uiuc.edu/pascal-sentences/. The photographs are from PASCAL VOC 2008 and
Flickr, under its terms of use; no licence of the sentences is known.

`data_dir` contains feature vectors in the layout of modality_arrays.py, with their own splits, or
the folders written by scripts that download the page:

| file                        | content                                                         |
|-----------------------------|-----------------------------------------------------------------|
| dataset/{class}/{id}.jpg    | a photograph; the folder may be `images`                        |
| sentence/{class}/{id}.txt   | its sentences, one per line; `sentences`, `text` or `texts`     |

One such script omits the dot ("2008_000008txt"), which is accepted, too.

Papers do not publish their splits of pictures, so they are defined here: in every class, sorted by
id, the first 80 % are train, the next 10 % validation and the rest test. For 50 pictures that is
40, 5 and 5; 800, 100 and 100 in all. The vectors of DSCMR (Zhen et al., CVPR 2019) also have 40 and
5 of every class in train and test, but it is not known which pictures.

Implemented from the published layout and tested without the real pictures and sentences, but with
DSCMR's vectors: its test split, and the texts and labels of its training split.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..clean_split import CleanSplit, PictureFiles
from ..columns import CAPTIONS, IMAGE, IMAGE_FEATURES, IMAGE_ID, DatasetError
from ..labels import number_classes
from .image_files import check_pictures
from .modality_arrays import VectorBuilder
from .raw_files import read_lines

PICTURE_FOLDERS = ("dataset", "images")
SENTENCE_FOLDERS = ("sentence", "sentences", "text", "texts")
PER_CLASS, PER_PICTURE, N_CLASSES = 50, 5, 20

_PICTURES = (".jpg", ".jpeg", ".png")
_MIN_PER_CLASS = 10  # gives each split one picture


class PascalSentence(VectorBuilder):
    """Pascal Sentence; requires `data_dir`."""

    CARD = "pascal_sentence.md"
    FACTS = ("captions", "labels")

    def card_values(self) -> dict[str, Any]:
        """Returns whether the rows are vectors."""
        return {"has_vectors": IMAGE_FEATURES in self.splits["train"].columns}

    def read(self) -> dict[str, CleanSplit]:
        """Opens pictures and sentences, or vectors."""
        folder = self.data_folder
        if not any((folder / name).is_dir() for name in (*PICTURE_FOLDERS, *SENTENCE_FOLDERS)):
            return super().read()
        splits = open_pascal_splits(folder)
        check_pictures(splits, self.config.on_bad_image)
        return splits


@dataclass
class _Rows:
    """Rows of a split."""

    paths: list[Path] = field(default_factory=list)
    image_ids: list[str] = field(default_factory=list)
    captions: list[list[str]] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)


def open_pascal_splits(folder: Path) -> dict[str, CleanSplit]:
    """Opens pictures with their sentences, and divides every class into splits.

    Args:
        folder: Contains a folder of pictures and one of sentences.

    Returns:
        The splits; pictures are not decoded yet.

    Raises:
        DatasetError: A picture has no sentences, sentences have no picture, or a class is too
            small.
    """
    pictures = _by_class(_one_folder(folder, PICTURE_FOLDERS), _picture_id)
    sentences = _by_class(_one_folder(folder, SENTENCE_FOLDERS), _sentence_id)
    _check_partners(folder, pictures, sentences)
    rows = _read_rows(pictures, sentences)
    classes = {split: part.classes for split, part in rows.items()}
    labels, names = number_classes(classes, str(folder), list(pictures))
    splits = {
        split: CleanSplit(
            {IMAGE: PictureFiles(part.paths), IMAGE_ID: part.image_ids, CAPTIONS: part.captions},
            labels=labels[split],
            class_names=names,
        )
        for split, part in rows.items()
    }
    splits["train"].notes += _differences(pictures, rows)
    return splits


def _read_rows(
    pictures: dict[str, dict[str, Path]], sentences: dict[str, dict[str, Path]]
) -> dict[str, _Rows]:
    """Reads the sentences, and divides every class: 80 %, 10 % and the rest of its sorted ids."""
    rows = {"train": _Rows(), "validation": _Rows(), "test": _Rows()}
    for name, files in pictures.items():
        n_train, n_validation = len(files) * 4 // 5, len(files) // 10
        for position, image_id in enumerate(sorted(files)):
            captions = read_lines(sentences[name][image_id])
            if not captions:
                raise DatasetError(f"{sentences[name][image_id]} is empty. Get the file again.")
            split = "train" if position < n_train else "validation"
            split = split if position < n_train + n_validation else "test"
            rows[split].paths.append(files[image_id])
            rows[split].image_ids.append(f"{name}/{image_id}")
            rows[split].captions.append(captions)
            rows[split].classes.append(name)
    return rows


def _differences(pictures: dict[str, dict[str, Path]], rows: dict[str, _Rows]) -> list[str]:
    """Notes about differences from the published dataset."""
    notes = [f"{len(pictures)} classes, not {N_CLASSES}"] if len(pictures) != N_CLASSES else []
    notes += [
        f"class '{name}' has {len(files)} pictures, not {PER_CLASS}"
        for name, files in pictures.items()
        if len(files) != PER_CLASS
    ]
    n_other = sum(len(texts) != PER_PICTURE for part in rows.values() for texts in part.captions)
    if n_other:
        notes.append(f"{n_other} picture(s) without exactly {PER_PICTURE} sentences")
    return notes


def _one_folder(folder: Path, names: tuple[str, ...]) -> Path:
    folders = [folder / name for name in names if (folder / name).is_dir()]
    if len(folders) != 1:
        found = " and ".join(path.name for path in folders) or "none"
        raise DatasetError(
            f"{folder}: expected one of the folders {', '.join(names)}, but found {found}. Put "
            "pictures into dataset/{class}/{id}.jpg, sentences into sentence/{class}/{id}.txt."
        )
    return folders[0]


def _by_class(folder: Path, id_of: Any) -> dict[str, dict[str, Path]]:
    """Lists the files of each class folder by id, without hidden files."""
    classes: dict[str, dict[str, Path]] = {}
    for class_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = classes.setdefault(class_folder.name, {})
        for path in sorted(class_folder.iterdir()):
            if path.name.startswith("."):
                continue
            name = id_of(path)
            if name in files:
                raise DatasetError(
                    f"{path} and {files[name].name} have the same id. Keep one of them."
                )
            files[name] = path
    return classes


def _picture_id(path: Path) -> str:
    if path.suffix.lower() not in _PICTURES:
        raise DatasetError(f"{path} is not a {', '.join(_PICTURES)} file. Remove it.")
    return path.stem


def _sentence_id(path: Path) -> str:
    if not path.name.endswith("txt"):
        raise DatasetError(f"{path} is not a .txt file. Remove it.")
    return path.name.removesuffix("txt").removesuffix(".")


def _check_partners(
    folder: Path, pictures: dict[str, dict[str, Path]], sentences: dict[str, dict[str, Path]]
) -> None:
    if not pictures:
        raise DatasetError(f"{folder} has no class: no folder dataset/{{class}}.")
    for side, partners, kind in (
        (pictures, sentences, "sentences"),
        (sentences, pictures, "picture"),
    ):
        for name, files in side.items():
            for image_id, path in files.items():
                if image_id not in partners.get(name, {}):
                    raise DatasetError(
                        f"{path} has no {kind} of class '{name}' with the id '{image_id}'. Add the "
                        "missing file, or remove this one."
                    )
    for name, files in pictures.items():
        if len(files) < _MIN_PER_CLASS:
            raise DatasetError(
                f"{folder}: class '{name}' has {len(files)} pictures, too few for three splits "
                f"(at least {_MIN_PER_CLASS}, and {PER_CLASS} in the published set). Complete it, "
                "or remove it."
            )
