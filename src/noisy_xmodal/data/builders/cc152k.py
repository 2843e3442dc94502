"""CC152K: image-text pairs from the web, of which an unknown part is wrong.

    CC152K(config_name="natural", data_dir="cc152k_precomp").download_and_prepare()

NCR (Huang et al., NeurIPS 2021) drew 150,000 pairs from the train split of Conceptual Captions
(Sharma et al., ACL 2018), and 1,000 each for dev and test from its validation split. Each picture
has one caption: its alt text, cleaned, in lower case, with names replaced by words such as
"person". An estimated 3 % to 20 % of the pairs are wrong. For each split of train, dev and test,
`data_dir` contains:

| file              | content                                                                     |
|-------------------|-----------------------------------------------------------------------------|
| {split}_caps.tsv  | one pair per line: image id, tab, caption                                   |
| {split}_ims.npy   | float16 or float32, (pairs, regions, dim), one row per line; alternatively: |
| images/, {split}/ | pictures, named by the image id, with or without a suffix                   |

The id may also be the path of the picture, relative to `data_dir`. NCR's repository links to
`cc152k_precomp`, which contains the first two, and to lists of links, {split}_caps_img_urls.csv
(id, caption, link; an id is a number and the CRC-32 of the link): rename such a list to
{split}_caps.tsv. Captions and links may be used for any purpose with attribution to Google; the
pictures belong to their owners.

See cc152k_files.py for the syntax of the lines.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import datasets

from ..card import CardText
from ..columns import IMAGE, IMAGE_ID, REGIONS, DatasetError
from ..protocol import NATURAL
from ..regions import region_feature
from .array_file import open_array
from .base import NoisyPairsBuilder
from .cc152k_files import IMAGE_FOLDER, SPLIT_FILES, CaptionFile, read_caption_files
from .clean_split import CleanSplit, split_lines
from .image_files import ImageSplit, check_splits
from .precomp_files import PrecompSplit

_SUFFIXES = ("", ".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


class CC152K(NoisyPairsBuilder):
    """Builder of CC152K; requires `data_dir`."""

    NATURALLY_NOISY = True
    DEFAULT_CONFIGS = (NATURAL,)
    SUMMARY = "CC152K: image-text pairs of Conceptual Captions with natural noise."
    HOMEPAGE = "https://github.com/XLearning-SCU/2021-NeurIPS-NCR"
    LICENSE = "Captions: any purpose, with attribution to Google LLC. Pictures: their owners'."
    CITATION = """@inproceedings{sharma2018conceptual,
  title={Conceptual Captions: A Cleaned, Hypernymed, Image Alt-text Dataset For Automatic Image
    Captioning},
  author={Sharma, Piyush and Ding, Nan and Goodman, Sebastian and Soricut, Radu},
  booktitle={Proceedings of ACL},
  year={2018}
}
@inproceedings{huang2021learning,
  title={Learning with Noisy Correspondence for Cross-modal Matching},
  author={Huang, Zhenyu and Niu, Guocheng and Liu, Xiao and Ding, Wenbiao and Xiao, Xinyan and
    Wu, Hua and Peng, Xi},
  booktitle={Advances in Neural Information Processing Systems},
  year={2021}
}"""

    def open_splits(self) -> dict[str, CleanSplit]:
        """Opens the splits and checks their features or pictures.

        Raises:
            DatasetError: `data_dir` is not set, or a file is invalid.
        """
        folder = self.data_folder
        captions = read_caption_files(folder)
        if any((folder / f"{file}_ims.npy").exists() for file in SPLIT_FILES.values()):
            return cast(dict[str, CleanSplit], open_features(folder, captions))
        skip = self.config.on_bad_image == "skip"
        splits = {
            name: open_pictures(folder, SPLIT_FILES[name], file, skip)
            for name, file in captions.items()
        }
        check_splits(splits, self.config.on_bad_image)
        return cast(dict[str, CleanSplit], splits)

    def row_features(self, splits: dict[str, CleanSplit]) -> dict[str, Any]:
        """Returns the types of the picture or its regions, and of the id."""
        split = next(iter(splits.values()))
        if isinstance(split, PrecompSplit):
            visual = {REGIONS: region_feature(split.dim, str(split.features.dtype))}
        else:
            visual = {IMAGE: datasets.Image()}
        return {**visual, IMAGE_ID: datasets.Value("string")}

    def card_text(self, splits: dict[str, CleanSplit]) -> CardText:
        """Returns the text of the card."""
        return CardText(
            title="CC152K: naturally noisy image-text pairs of Conceptual Captions",
            body=f"{_ABOUT.strip()}\n\n{split_lines(splits)}",
            credit=_CREDIT,
            license="other",
            language=("en",),
        )


def open_features(folder: Path, captions: dict[str, CaptionFile]) -> dict[str, PrecompSplit]:
    """Opens the feature files and checks them.

    Raises:
        DatasetError: A file is missing, does not match its captions or the others, or has NaN.
    """
    splits = {}
    for name, file in captions.items():
        features = open_array(folder / f"{SPLIT_FILES[name]}_ims.npy", dimensions=(2, 3))
        if len(features) != len(file.captions):
            raise DatasetError(
                f"{features.path} has {len(features):,} rows for the {len(file.captions):,} pairs "
                f"of {file.path.name}, not one per pair. The files do not match."
            )
        splits[name] = PrecompSplit(features, 1, file.image_ids, file.facts())
    kinds = {s.features.path.name: f"{s.dim} {s.features.dtype}" for s in splits.values()}
    if len(set(kinds.values())) > 1:
        raise DatasetError(
            f"The splits of {folder} differ in feature dimension or type: {kinds}. Extract or "
            "convert all in the same way."
        )
    for split in splits.values():
        split.features.check_finite()
    return splits


def open_pictures(folder: Path, split: str, captions: CaptionFile, skip: bool) -> ImageSplit:
    """Finds the pictures of one split.

    Args:
        folder: The data folder.
        split: The name of the split in file names ("dev").
        captions: Its pairs.
        skip: Whether to leave out pairs without a picture, because links may be dead.

    Raises:
        DatasetError: A picture has two files, or is missing and `skip` is false, or all are
            missing.
    """
    files_of = _list_pictures([folder / IMAGE_FOLDER, folder / split])
    paths, keep = [], []
    for line, image_id in zip(captions.lines, captions.image_ids, strict=True):
        path = folder / image_id
        files = [path] if os.path.isfile(path) else files_of.get(image_id, [])
        if len(files) > 1:
            raise DatasetError(
                f"{captions.path}, line {line}: '{image_id}' has two files, {files[0]} and "
                f"{files[1]}. Remove one."
            )
        paths.append(files[0] if files else path)
        keep.append(bool(files))
    pictures = ImageSplit(paths, captions.image_ids, captions.facts())
    n_missing = keep.count(False)
    if n_missing and (not skip or n_missing == len(keep)):
        row = keep.index(False)
        raise DatasetError(
            f"{captions.path}, line {captions.lines[row]}: no picture of "
            f"'{captions.image_ids[row]}' in {IMAGE_FOLDER}/ or {split}/ of {folder}, nor at that "
            f"path; {n_missing:,} of {len(keep):,} pairs have none. Add the pictures; or, if some "
            "are unavailable, leave their pairs out with --on_bad_image skip (in Python "
            f"on_bad_image='skip'). For features, add {split}_ims.npy."
        )
    if n_missing:
        pictures.keep_rows(keep)
        pictures.facts.notes.append(
            f"{n_missing:,} of {len(keep):,} pictures were missing; their pairs were left out"
        )
    return pictures


def _list_pictures(folders: Iterable[Path]) -> dict[str, list[Path]]:
    """Lists the files of folders by name, and pictures also by name without suffix."""
    files: dict[str, list[Path]] = {}
    for folder in folders:
        for entry in os.scandir(folder) if folder.is_dir() else ():
            stem, suffix = os.path.splitext(entry.name)
            for name in {entry.name, stem if suffix.lower() in _SUFFIXES else entry.name}:
                files.setdefault(name, []).append(folder / entry.name)
    return files


_ABOUT = """
The subset of Conceptual Captions of NCR (Huang et al., NeurIPS 2021): 150,000 pairs of its train
split, and 1,000 each for validation and test from its validation split. Each picture has one
caption: the alt text of a web page, cleaned, in lower case, with names replaced by words such as
"person".

**Noise.** The pairs have natural noise from the web: an estimated 3 % to 20 % are wrong, also in
the evaluation splits, and it is not known which.

**Converted** by `dataset_scripts/cc152k.py`, which was written for the layout of NCR's code; the
real files were not at hand.
"""

_CREDIT = """
Captions: [Conceptual Captions](https://github.com/google-research-datasets/conceptual-captions)
(Sharma et al., ACL 2018), which may be used for any purpose, with attribution to Google LLC and
without warranty. Subset: [NCR](https://github.com/XLearning-SCU/2021-NeurIPS-NCR). The pictures
belong to their owners; you are responsible if you share them, or features of them.
"""
