"""MS-COCO: 123,287 photographs with five captions each (113,287 / 5,000 / 5,000).

    Coco(config_name="part_40", data_dir="coco").download_and_prepare()

Pictures (train2014, val2014) and annotations come from https://cocodataset.org: the annotations
under CC BY 4.0, the pictures under the terms of their owners on Flickr. The split file
`dataset_coco.json` is that of Karpathy and Li
(https://cs.stanford.edu/people/karpathy/deepimagesent/); its restval pictures count as train. See
karpathy.py for the forms of `data_dir`.

If `instances_{train,val}2014.json` are in `data_dir` or its folder annotations, pictures also have
sets of objects of 80 classes, which partial noise uses. Region features get objects if _ids.txt has
COCO ids and there is no _labels.txt.
"""

from .clean_split import CleanSplit
from .coco_objects import find_annotations, read_annotations
from .image_files import ImageSplit
from .karpathy import KARPATHY_CITATION, KarpathyBuilder
from .precomp_files import PrecompSplit


class Coco(KarpathyBuilder):
    """Builder of MS-COCO; partial noise requires object annotations, or `objects_from`."""

    DATASET = "coco"
    LISTINGS = ("dataset_coco.json", "dataset.json")
    MAX_CAPTIONS = 5  # 566,435 pairs in train and 25,000 in test, as in published results
    SIZES = (113_287, 5_000, 5_000)
    SUMMARY = "MS-COCO: photographs with five captions each, split as by Karpathy and Li."
    HOMEPAGE = "https://cocodataset.org"
    LICENSE = "Annotations: CC BY 4.0. Pictures: the terms of their owners on Flickr."
    CITATION = f"""@inproceedings{{lin2014microsoft,
  title = {{Microsoft COCO: Common Objects in Context}},
  author = {{Lin, Tsung-Yi and Maire, Michael and Belongie, Serge and Hays, James and Perona,
            Pietro and Ramanan, Deva and Doll{{\\'a}}r, Piotr and Zitnick, C. Lawrence}},
  booktitle = {{ECCV}},
  year = {{2014}}
}}
@article{{chen2015microsoft,
  title = {{Microsoft COCO Captions: Data Collection and Evaluation Server}},
  author = {{Chen, Xinlei and Fang, Hao and Lin, Tsung-Yi and Vedantam, Ramakrishna and Gupta,
            Saurabh and Doll{{\\'a}}r, Piotr and Zitnick, C. Lawrence}},
  journal = {{arXiv:1504.00325}},
  year = {{2015}}
}}
{KARPATHY_CITATION}"""
    TITLE = "MS-COCO captions"
    ABOUT = """
Photographs of everyday scenes with English captions. The splits are those of Karpathy and Li
(2015): 113,287 pictures for training (train and restval), 5,000 for validation and 5,000 for test.
Some pictures have six or seven captions; the first five are used, as in published results.
`image_id` is the id of MS-COCO.

The test pictures have the order of the split file: each block of 1,000 is one of the five folds of
"1K test" (`examples/evaluate.py --fold_size 1000`); all together are "5K test".

`objects`, if present, is the set of a picture's object classes in the instance annotations of 2014,
including crowds; a picture without annotations has an empty set.
"""
    PICTURE_FORM = """
**Form.** Captions and splits of the split file, in its order, with the unchanged bytes of the
picture files. The builder was written for the published layout of split file, pictures and instance
annotations; the real files were not at hand.
"""
    CREDIT = """
MS-COCO (Lin et al., ECCV 2014), https://cocodataset.org. The annotations are under
[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/). The pictures belong to their owners on
Flickr, whose terms apply. Splits: Karpathy and Li, CVPR 2015.
"""

    def has_objects(self) -> bool:
        """Whether there are instance annotations, or a file of labels."""
        return bool(find_annotations(self.data_folder)) or super().has_objects()

    def add_objects(self, splits: dict[str, CleanSplit]) -> None:
        """Adds the object classes of pictures, if there are annotations.

        Raises:
            DatasetError: An annotation file is invalid, or does not list a picture.
        """
        paths = find_annotations(self.data_folder)
        if not paths or any(split.facts.objects is not None for split in splits.values()):
            return
        annotations = read_annotations(paths)
        for split in splits.values():
            if isinstance(split, (ImageSplit, PrecompSplit)):
                split.facts = annotations.facts(split.facts, split.image_ids)
                n_empty = sum(not objects for objects in split.facts.objects or ())
                split.facts.notes.append(
                    f"objects from {annotations.files}, none for {n_empty:,} images"
                )
