"""Turns the Wikipedia pairs (Rasiwasia et al., 2010) into Parquet with noisy labels.

python dataset_scripts/wikipedia.py --data_dir wikipedia --out wiki --configs clean sym_40
"""

from dataclasses import dataclass, field

from noisy_xmodal.data.builders import Wikipedia
from noisy_xmodal.data.builders.command import WriteArguments, main


@dataclass(kw_only=True)
class WikipediaArguments(WriteArguments):
    data_dir: str = field(
        metadata={
            "help": "Folder with categories.list, trainset_txt_img_cat.list, "
            "testset_txt_img_cat.list, and raw_features.mat, roph_wiki.mat or vectors of your own: "
            "{train,test}_{image,text}.npy."
        }
    )


if __name__ == "__main__":
    main(Wikipedia, WikipediaArguments)
