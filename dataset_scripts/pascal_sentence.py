"""Turns Pascal Sentence (Rashtchian et al., 2010) into Parquet with noisy labels or captions.

python dataset_scripts/pascal_sentence.py --data_dir pascal --out ps --configs clean sym_40
"""

from dataclasses import dataclass, field

from noisy_xmodal.data.builders import PascalSentence
from noisy_xmodal.data.builders.command import CaptionNoiseArguments, PictureArguments, main


@dataclass(kw_only=True)
class PascalSentenceArguments(CaptionNoiseArguments, PictureArguments):
    data_dir: str = field(
        metadata={
            "help": "Folder with dataset/{class}/{id}.jpg and sentence/{class}/{id}.txt, or with "
            "vectors: {train,val,test}_{image,text,labels}.npy or .mat files of MRL or DSCMR."
        }
    )


if __name__ == "__main__":
    main(PascalSentence, PascalSentenceArguments)
