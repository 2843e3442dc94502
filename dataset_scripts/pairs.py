"""Writes your own image-caption pairs as Parquet with noisy configs.

python dataset_scripts/pairs.py --source photos/captions.csv --out mine --configs clean cmp_40
"""

from dataclasses import dataclass, field

from noisy_xmodal.arguments.datasets import CaptionNoiseArguments, PictureArguments
from noisy_xmodal.entry.command_line import answer_early


@dataclass(kw_only=True)
class PairsArguments(CaptionNoiseArguments, PictureArguments):
    source: str = field(
        metadata={
            "help": "A Hub dataset, a folder (Parquet, pictures with a table of captions, "
            "WebDataset shards), or a file (.csv, .tsv, .jsonl, .parquet, .tar)."
        }
    )
    source_config: str | None = field(
        default=None, metadata={"help": "Its configuration, where it has several."}
    )
    image_column: str | None = field(
        default=None, metadata={"help": "Column of the image, where it is not found by itself."}
    )
    caption_column: str | None = field(
        default=None, metadata={"help": "Column of the captions, likewise."}
    )
    id_column: str | None = field(
        default=None, metadata={"help": "Column that names the image, likewise."}
    )


if __name__ == "__main__":
    answer_early(PairsArguments, description=__doc__)  # the imports below take seconds
    from noisy_xmodal.data.readers import OwnPairs
    from noisy_xmodal.data.readers.command import main

    main(OwnPairs, PairsArguments)
