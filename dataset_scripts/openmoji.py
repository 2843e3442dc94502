"""Writes the OpenMoji dataset as Parquet with noisy configs; needs noisy-xmodal[demo].

python dataset_scripts/openmoji.py --out openmoji_pairs --configs clean cmp_40
"""

from dataclasses import dataclass, field

from noisy_xmodal.arguments.datasets import (
    CAPTION_DEFAULT,
    CaptionNoiseArguments,
    configs_help,
)
from noisy_xmodal.entry.command_line import answer_early


@dataclass(kw_only=True)
class OpenMojiArguments(CaptionNoiseArguments):
    configs: list[str] | None = field(
        default=None,
        metadata=configs_help(
            ("captions", "objects"), f"{CAPTION_DEFAULT} cmp_image_20 cmp_image_40 cmp_image_60"
        ),
    )


if __name__ == "__main__":
    answer_early(OpenMojiArguments, description=__doc__)  # the imports below take seconds
    from noisy_xmodal.data.readers import OpenMoji
    from noisy_xmodal.data.readers.command import main

    main(OpenMoji, OpenMojiArguments)
