"""Turns CC152K, naturally noisy pairs of Conceptual Captions, into Parquet.

python dataset_scripts/cc152k.py --data_dir cc152k_precomp --out cc152k
"""

from dataclasses import dataclass, field

from noisy_xmodal.data.builders import CC152K
from noisy_xmodal.data.builders.command import PictureArguments, main


@dataclass(kw_only=True)
class CC152KArguments(PictureArguments):
    data_dir: str = field(
        metadata={
            "help": "Folder with {train,dev,test}_caps.tsv (image id, tab, caption) and either "
            "{split}_ims.npy or pictures in images/ or {split}/; any subset of the splits."
        }
    )


if __name__ == "__main__":
    main(CC152K, CC152KArguments)
