"""Pascal Sentence: 1,000 photographs of 20 classes with five sentences each.

    PascalSentence(config_name="sym_40", data_dir="pascal").download_and_prepare()

Source: Rashtchian et al., "Collecting Image Annotations Using Amazon's Mechanical Turk", NAACL 2010
workshop; http://vision.cs.uiuc.edu/pascal-sentences/. The photographs are of PASCAL VOC 2008, taken
from Flickr, under its terms of use; no licence of the sentences is known.

`data_dir` holds feature vectors in the layout of modality_arrays.py (splits as given), or the
folders that programs which copy the page write:

| file                        | content                                                         |
|-----------------------------|-----------------------------------------------------------------|
| dataset/{class}/{id}.jpg    | a photograph; the folder may be `images`                        |
| sentence/{class}/{id}.txt   | its sentences, one a line; `sentences`, `text` or `texts`       |

One such program leaves out the dot ("2008_000008txt"), and that is read too.

Splits of pictures are made here, as the lists of the field are not published: in every class, by
sorted id, the first 80 % are train, the next 10 % validation and the rest test. Of 50 that is 40, 5
and 5, in all 800, 100 and 100. The vectors that DSCMR publishes (Zhen et al., CVPR 2019) also have
40 and 5 of every class in train and test, but which pictures they are is not said.

Written against the published layout: the real pictures and sentences were not at hand. Of real
vectors, DSCMR's test split and its training texts and labels were.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import datasets

from ..columns import IMAGE, IMAGE_ID, DatasetError
from ..labels import number_classes
from .clean_split import CleanSplit, Facts
from .image_files import ImageSplit, check_splits
from .modality_arrays import VectorBuilder
from .raw_files import read_lines

PICTURE_FOLDERS = ("dataset", "images")
SENTENCE_FOLDERS = ("sentence", "sentences", "text", "texts")
PER_CLASS, PER_PICTURE, N_CLASSES = 50, 5, 20

_PICTURES = (".jpg", ".jpeg", ".png")
_FEWEST = 10  # of a class, so that each split has one


class PascalSentence(VectorBuilder):
    """Builder of Pascal Sentence; `data_dir` is needed."""

    FACTS = ("captions", "labels")
    SUMMARY = "Pascal Sentence: photographs of 20 classes with five sentences each."
    HOMEPAGE = "http://vision.cs.uiuc.edu/pascal-sentences/"
    CITATION = """@inproceedings{rashtchian2010collecting,
  title = {Collecting Image Annotations Using Amazon's Mechanical Turk},
  author = {Rashtchian, Cyrus and Young, Peter and Hodosh, Micah and Hockenmaier, Julia},
  booktitle = {NAACL HLT Workshop on Creating Speech and Language Data with Amazon's Mechanical
               Turk},
  pages = {139--147},
  year = {2010}
}"""

    TITLE = "Pascal Sentence with noise"
    ABOUT = """
Photographs of PASCAL VOC 2008, 50 of each of 20 classes, with five sentences each that people wrote
for pay; converted by `dataset_scripts/pascal_sentence.py`. The converter was written against the
published layout; the real pictures and sentences were not at hand.

**Splits.** Pictures are split here, as the lists of the field are not published: in every class, by
sorted id, the first 80 % train, the next 10 % validation, the rest test (40, 5 and 5 of 50). So
the sizes are those of the field, the pictures are not. Feature vectors keep the splits of their
files.

**Noise.** `cmp_N` moves sentences and leaves classes alone; `sym_N` draws classes and leaves
sentences alone.
"""
    CREDIT = """
Rashtchian et al., *Collecting Image Annotations Using Amazon's Mechanical Turk*, NAACL HLT 2010
workshop on Creating Speech and Language Data with Amazon's Mechanical Turk. The photographs are of
[PASCAL VOC 2008](http://host.robots.ox.ac.uk/pascal/VOC/), from Flickr: its terms of use apply. No
licence of the sentences is known. Ask before sharing.
"""

    def open_folder(self, folder: Path) -> dict[str, CleanSplit]:
        """Opens pictures and sentences, or vectors."""
        if not any((folder / name).is_dir() for name in (*PICTURE_FOLDERS, *SENTENCE_FOLDERS)):
            return super().open_folder(folder)
        splits = open_pascal_splits(folder)
        check_splits(splits, self.config.on_bad_image)
        return cast(dict[str, CleanSplit], splits)

    def row_features(self, splits: dict[str, CleanSplit]) -> dict[str, Any]:
        """Returns the types of pictures or vectors, and ids."""
        if any(isinstance(split, ImageSplit) for split in splits.values()):
            return {IMAGE: datasets.Image(), IMAGE_ID: datasets.Value("string")}
        return super().row_features(splits)


@dataclass
class _Rows:
    """Rows of a split while they are gathered."""

    paths: list[Path] = field(default_factory=list)
    image_ids: list[str] = field(default_factory=list)
    captions: list[list[str]] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)


def open_pascal_splits(folder: Path) -> dict[str, ImageSplit]:
    """Opens pictures with their sentences, and cuts every class into splits.

    Args:
        folder: Holds a folder of pictures and one of sentences.

    Returns:
        The splits; pictures are not decoded yet.

    Raises:
        DatasetError: A picture has no sentences, or sentences no picture; or a class has too few.
    """
    pictures = _by_class(_one_folder(folder, PICTURE_FOLDERS), _picture_id)
    sentences = _by_class(_one_folder(folder, SENTENCE_FOLDERS), _sentence_id)
    _check_partners(folder, pictures, sentences)
    rows = _gather(pictures, sentences)
    classes = {split: found.classes for split, found in rows.items()}
    labels, names = number_classes(classes, str(folder), list(pictures))
    splits = {
        split: ImageSplit(
            found.paths,
            found.image_ids,
            Facts(captions=found.captions, labels=labels[split], class_names=names),
        )
        for split, found in rows.items()
    }
    splits["train"].facts.notes += _differences(pictures, rows)
    return splits


def _gather(
    pictures: dict[str, dict[str, Path]], sentences: dict[str, dict[str, Path]]
) -> dict[str, _Rows]:
    """Reads the sentences, and cuts every class: 80 %, 10 % and the rest of its sorted ids."""
    rows = {"train": _Rows(), "validation": _Rows(), "test": _Rows()}
    for name, found in pictures.items():
        n_train, n_validation = len(found) * 4 // 5, len(found) // 10
        for position, image_id in enumerate(sorted(found)):
            captions = read_lines(sentences[name][image_id])
            if not captions:
                raise DatasetError(f"{sentences[name][image_id]} is empty. Get the file again.")
            split = "train" if position < n_train else "validation"
            split = split if position < n_train + n_validation else "test"
            rows[split].paths.append(found[image_id])
            rows[split].image_ids.append(f"{name}/{image_id}")
            rows[split].captions.append(captions)
            rows[split].classes.append(name)
    return rows


def _differences(pictures: dict[str, dict[str, Path]], rows: dict[str, _Rows]) -> list[str]:
    """Says in what the folder is not the published set."""
    notes = [f"{len(pictures)} classes, not {N_CLASSES}"] if len(pictures) != N_CLASSES else []
    notes += [
        f"class '{name}' has {len(found)} pictures, not {PER_CLASS}"
        for name, found in pictures.items()
        if len(found) != PER_CLASS
    ]
    odd = sum(len(texts) != PER_PICTURE for found in rows.values() for texts in found.captions)
    if odd:
        notes.append(f"{odd} picture(s) without exactly {PER_PICTURE} sentences")
    return notes


def _one_folder(folder: Path, names: tuple[str, ...]) -> Path:
    found = [folder / name for name in names if (folder / name).is_dir()]
    if len(found) != 1:
        what = "none" if not found else " and ".join(path.name for path in found)
        raise DatasetError(
            f"{folder}: expected one of the folders {', '.join(names)}, but found {what}. Pictures "
            "lie in dataset/{class}/{id}.jpg, sentences in sentence/{class}/{id}.txt."
        )
    return found[0]


def _by_class(folder: Path, id_of: Any) -> dict[str, dict[str, Path]]:
    """Lists the files of each class folder by id; hidden files are passed over."""
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
        raise DatasetError(f"{path} is no {', '.join(_PICTURES)} file. Take it out.")
    return path.stem


def _sentence_id(path: Path) -> str:
    if not path.name.endswith("txt"):
        raise DatasetError(f"{path} is no .txt file. Take it out.")
    return path.name.removesuffix("txt").removesuffix(".")


def _check_partners(
    folder: Path, pictures: dict[str, dict[str, Path]], sentences: dict[str, dict[str, Path]]
) -> None:
    if not pictures:
        raise DatasetError(f"{folder} holds no class: no folder dataset/{{class}}.")
    for found, partners, what in (
        (pictures, sentences, "sentences"),
        (sentences, pictures, "picture"),
    ):
        for name, files in found.items():
            for image_id, path in files.items():
                if image_id not in partners.get(name, {}):
                    raise DatasetError(
                        f"{path} has no {what} of class '{name}' with the id '{image_id}'. Get "
                        "the missing file, or take this one out."
                    )
    for name, files in pictures.items():
        if len(files) < _FEWEST:
            raise DatasetError(
                f"{folder}: class '{name}' has {len(files)} pictures, too few for three splits "
                f"(at least {_FEWEST}, and {PER_CLASS} in the set). Complete it, or take it out."
            )
