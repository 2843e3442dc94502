"""Turns the Wikipedia pairs (Rasiwasia et al., 2010) into Parquet with noisy labels.

python dataset_scripts/wikipedia.py --data_dir wikipedia --out wiki --configs clean sym_40
"""

from dataclasses import dataclass, field

from noisy_xmodal.arguments.datasets import LabelNoiseArguments
from noisy_xmodal.entry.command_line import answer_early


@dataclass(kw_only=True)
class WikipediaArguments(LabelNoiseArguments):
    data_dir: str = field(
        metadata={
            "help": "Folder with categories.list, trainset_txt_img_cat.list, "
            "testset_txt_img_cat.list, and raw_features.mat, roph_wiki.mat or vectors of your own: "
            "{train,test}_{image,text}.npy."
        }
    )


if __name__ == "__main__":
    answer_early(WikipediaArguments, description=__doc__)  # the imports below take seconds
    from noisy_xmodal.data.readers import Wikipedia
    from noisy_xmodal.data.readers.command import main

    main(Wikipedia, WikipediaArguments)
