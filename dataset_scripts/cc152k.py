"""Turns CC152K, naturally noisy pairs of Conceptual Captions, into Parquet.

python dataset_scripts/cc152k.py --data_dir cc152k_precomp --out cc152k
"""

from dataclasses import dataclass, field

from noisy_xmodal.arguments.datasets import PictureArguments
from noisy_xmodal.entry.command_line import answer_early


@dataclass(kw_only=True)
class CC152KArguments(PictureArguments):
    data_dir: str = field(
        metadata={
            "help": "Folder with {train,dev,test}_caps.tsv (image id, tab, caption) and either "
            "{split}_ims.npy or pictures in images/ or {split}/; any subset of the splits."
        }
    )


if __name__ == "__main__":
    answer_early(CC152KArguments, description=__doc__)  # the imports below take seconds
    from noisy_xmodal.data.readers import CC152K
    from noisy_xmodal.data.readers.command import main

    main(CC152K, CC152KArguments)
