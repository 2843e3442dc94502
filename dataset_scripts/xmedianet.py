"""Turns feature vectors of XMediaNet (Peng et al., 2018) into Parquet with noisy labels.

python dataset_scripts/xmedianet.py --data_dir xmedianet --out xm --configs clean sym_40
"""

from dataclasses import dataclass, field

from noisy_xmodal.arguments.datasets import LabelNoiseArguments
from noisy_xmodal.entry.command_line import answer_early


@dataclass(kw_only=True)
class XMediaNetArguments(LabelNoiseArguments):
    data_dir: str = field(
        metadata={
            "help": "Folder with {train,val,test}_{image,text,labels}.npy and optionally "
            "classes.txt, or with .mat files of MRL or DSCMR."
        }
    )


if __name__ == "__main__":
    answer_early(XMediaNetArguments, description=__doc__)  # the imports below take seconds
    from noisy_xmodal.data.readers import XMediaNet
    from noisy_xmodal.data.readers.command import main

    main(XMediaNet, XMediaNetArguments)
