"""Writes OpenMoji with its nine classes as Parquet with noisy labels; needs noisy-xmodal[demo].

python dataset_scripts/openmoji_labels.py --out openmoji_labels --configs clean sym_40
"""

from noisy_xmodal.data.builders import OpenMojiLabels
from noisy_xmodal.data.builders.command import WriteArguments, main

if __name__ == "__main__":
    main(OpenMojiLabels, WriteArguments)
