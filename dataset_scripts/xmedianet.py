"""Turns feature vectors of XMediaNet (Peng et al., 2018) into Parquet with noisy labels.

python dataset_scripts/xmedianet.py --data_dir xmedianet --out xm --configs clean sym_40
"""

from dataclasses import dataclass, field

from noisy_xmodal.data.builders import XMediaNet
from noisy_xmodal.data.builders.command import WriteArguments, main


@dataclass(kw_only=True)
class XMediaNetArguments(WriteArguments):
    data_dir: str = field(
        metadata={
            "help": "Folder with {train,val,test}_{image,text,labels}.npy and optionally "
            "classes.txt, or with .mat files of MRL or DSCMR."
        }
    )


if __name__ == "__main__":
    main(XMediaNet, XMediaNetArguments)
