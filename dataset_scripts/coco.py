"""Turns MS-COCO, as pictures or region features, into Parquet with noisy configs.

python dataset_scripts/coco.py --data_dir coco --out coco_pairs --configs clean cmp_40 part_40
"""

from dataclasses import dataclass, field

from noisy_xmodal.arguments.datasets import CaptionNoiseArguments, PictureArguments
from noisy_xmodal.entry.command_line import answer_early


@dataclass(kw_only=True)
class CocoArguments(CaptionNoiseArguments, PictureArguments):
    data_dir: str = field(
        metadata={
            "help": "Folder with dataset_coco.json, the pictures in train2014 and val2014 (or "
            "images/train2014, ...), and for part_N annotations/instances_{train,val}2014.json; "
            "or with region features ({split}_ims.npy, _caps.txt)."
        }
    )


if __name__ == "__main__":
    answer_early(CocoArguments, description=__doc__)  # the imports below take seconds
    from noisy_xmodal.data.readers import Coco
    from noisy_xmodal.data.readers.command import main

    main(Coco, CocoArguments)
