"""Writes OpenMoji with its nine classes as Parquet with noisy labels; needs noisy-xmodal[demo].

python dataset_scripts/openmoji_labels.py --out openmoji_labels --configs clean sym_40
"""

from noisy_xmodal.arguments.datasets import LabelNoiseArguments
from noisy_xmodal.entry.command_line import answer_early

if __name__ == "__main__":
    answer_early(LabelNoiseArguments, description=__doc__)  # the imports below take seconds
    from noisy_xmodal.data.readers import OpenMojiLabels
    from noisy_xmodal.data.readers.command import main

    main(OpenMojiLabels, LabelNoiseArguments)
