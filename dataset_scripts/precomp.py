"""Turns the field's region-feature files into Parquet with noisy configs.

python dataset_scripts/precomp.py --data_dir f30k_precomp --out f30k --configs clean cmp_40
"""

from dataclasses import dataclass, field

from noisy_xmodal.arguments.datasets import (
    CAPTION_DEFAULT,
    CaptionNoiseArguments,
    configs_help,
)
from noisy_xmodal.entry.command_line import answer_early


@dataclass(kw_only=True)
class PrecompArguments(CaptionNoiseArguments):
    configs: list[str] | None = field(
        default=None,
        metadata=configs_help(("captions", "objects", "labels"), CAPTION_DEFAULT),
    )
    data_dir: str = field(
        metadata={
            "help": "Folder with {train,dev,test,testall}_ims.npy and _caps.txt, optionally "
            "_ids.txt and _labels.txt; any subset of the splits."
        }
    )


if __name__ == "__main__":
    answer_early(PrecompArguments, description=__doc__)  # the imports below take seconds
    from noisy_xmodal.data.readers import Precomp
    from noisy_xmodal.data.readers.command import main

    main(Precomp, PrecompArguments)
