"""Turns Pascal Sentence (Rashtchian et al., 2010) into Parquet with noisy labels or captions.

python dataset_scripts/pascal_sentence.py --data_dir pascal --out ps --configs clean sym_40
"""

from dataclasses import dataclass, field

from noisy_xmodal.arguments.datasets import (
    LABEL_DEFAULT,
    CaptionNoiseArguments,
    PictureArguments,
    configs_help,
)
from noisy_xmodal.entry.command_line import answer_early


@dataclass(kw_only=True)
class PascalSentenceArguments(CaptionNoiseArguments, PictureArguments):
    configs: list[str] | None = field(
        default=None,
        metadata=configs_help(("captions", "labels"), LABEL_DEFAULT),
    )
    data_dir: str = field(
        metadata={
            "help": "Folder with dataset/{class}/{id}.jpg and sentence/{class}/{id}.txt, or with "
            "vectors: {train,val,test}_{image,text,labels}.npy or .mat files of MRL or DSCMR."
        }
    )


if __name__ == "__main__":
    answer_early(PascalSentenceArguments, description=__doc__)  # the imports below take seconds
    from noisy_xmodal.data.readers import PascalSentence
    from noisy_xmodal.data.readers.command import main

    main(PascalSentence, PascalSentenceArguments)
