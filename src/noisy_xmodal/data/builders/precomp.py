"""Datasets of region features in the "precomp" layout.

    Precomp(config_name="cmp_40", data_dir="f30k_precomp").download_and_prepare()

`write_dataset(Precomp, out, data_dir=...)` writes several configs as a Parquet folder; see
precomp_files.py for the layout. Such features were published for Flickr30K and MS-COCO with
SCAN (Lee et al., ECCV 2018; 36 regions of a Faster R-CNN, bottom-up attention), and for CC152K with
NCR (Huang et al., NeurIPS 2021). The terms of the pictures and captions apply to them.
"""

from typing import Any, cast

import datasets

from ..card import CardText
from ..columns import IMAGE_ID, REGIONS
from ..regions import region_feature
from .base import NoisyPairsBuilder
from .clean_split import CleanSplit, split_lines
from .precomp_files import PrecompSplit, open_precomp_splits


class Precomp(NoisyPairsBuilder):
    """Builder for the layout of `precomp_files`; requires `data_dir`."""

    FACTS = ("captions", "objects", "labels")
    SUMMARY = "Region features with captions, in the layout of SCAN and VSE++."

    def has_objects(self) -> bool:
        """Whether there is a file of labels."""
        return any(self.data_folder.glob("*_labels.txt"))

    def open_splits(self) -> dict[str, CleanSplit]:
        """Opens the splits and checks their features.

        Raises:
            DatasetError: `data_dir` is not set, or a file is invalid.
        """
        splits = open_precomp_splits(self.data_folder)
        for split in splits.values():
            split.features.check_finite()
        return cast(dict[str, CleanSplit], splits)

    def row_features(self, splits: dict[str, CleanSplit]) -> dict[str, Any]:
        """Returns the types of regions and id."""
        split = cast(PrecompSplit, next(iter(splits.values())))
        return {
            REGIONS: region_feature(split.dim, str(split.features.dtype)),
            IMAGE_ID: datasets.Value("string"),
        }

    def card_text(self, splits: dict[str, CleanSplit]) -> CardText:
        """Returns the text of the card."""
        return CardText(
            title="Image-caption pairs with region features",
            body="Region features and captions, converted by `dataset_scripts/precomp.py`.\n\n"
            + split_lines(splits),
            credit="The terms of the raw features and captions apply; state them here before "
            "sharing.",
        )
