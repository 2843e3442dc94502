"""Turns Flickr8k, as pictures or region features, into Parquet with noisy configs.

python dataset_scripts/flickr8k.py --data_dir flickr8k --out f8k --configs clean cmp_40
"""

from dataclasses import dataclass, field

from noisy_xmodal.arguments.datasets import CaptionNoiseArguments, PictureArguments
from noisy_xmodal.entry.command_line import answer_early


@dataclass(kw_only=True)
class Flickr8kArguments(CaptionNoiseArguments, PictureArguments):
    data_dir: str = field(
        metadata={
            "help": "Folder with dataset_flickr8k.json, or Flickr8k.token.txt and the image lists, "
            "and the pictures (beside it, or in images or Flicker8k_Dataset), or with region "
            "features ({split}_ims.npy, _caps.txt)."
        }
    )


if __name__ == "__main__":
    answer_early(Flickr8kArguments, description=__doc__)  # the imports below take seconds
    from noisy_xmodal.data.readers import Flickr8k
    from noisy_xmodal.data.readers.command import main

    main(Flickr8k, Flickr8kArguments)
