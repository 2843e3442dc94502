"""Turns Flickr30K, as pictures or region features, into Parquet with noisy configs.

python dataset_scripts/flickr30k.py --data_dir flickr30k --out f30k --configs clean cmp_40
"""

from dataclasses import dataclass, field

from noisy_xmodal.arguments.datasets import CaptionNoiseArguments, PictureArguments
from noisy_xmodal.entry.command_line import answer_early


@dataclass(kw_only=True)
class Flickr30kArguments(CaptionNoiseArguments, PictureArguments):
    data_dir: str = field(
        metadata={
            "help": "Folder with dataset_flickr30k.json and the pictures (beside it, or in images "
            "or flickr30k-images), or with region features ({split}_ims.npy, _caps.txt)."
        }
    )


if __name__ == "__main__":
    answer_early(Flickr30kArguments, description=__doc__)  # the imports below take seconds
    from noisy_xmodal.data.readers import Flickr30k
    from noisy_xmodal.data.readers.command import main

    main(Flickr30k, Flickr30kArguments)
