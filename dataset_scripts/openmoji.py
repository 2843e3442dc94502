"""Writes the OpenMoji dataset as Parquet with noisy configs; needs noisy-xmodal[demo].

python dataset_scripts/openmoji.py --out openmoji_pairs --configs clean cmp_40
"""

from noisy_xmodal.data.builders import OpenMoji
from noisy_xmodal.data.builders.command import CaptionNoiseArguments, main

if __name__ == "__main__":
    main(OpenMoji, CaptionNoiseArguments)
