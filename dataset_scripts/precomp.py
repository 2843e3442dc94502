"""Turns the field's region-feature files into Parquet with noisy configs.

python dataset_scripts/precomp.py --data_dir f30k_precomp --out f30k --configs clean cmp_40
"""

import sys
from dataclasses import dataclass, field

from transformers import HfArgumentParser

from noisy_xmodal.data.builders.precomp import write_precomp


@dataclass
class PrecompArguments:
    data_dir: str = field(
        metadata={
            "help": "Folder with {train,dev,test}_ims.npy and _caps.txt, optionally _ids.txt and "
            "_labels.txt; any subset of the splits."
        }
    )
    out: str = field(metadata={"help": "Folder to write; load_dataset(OUT, CONFIG) opens it."})
    configs: list[str] | None = field(
        default=None,
        metadata={
            "help": "Configs to write: clean, cmp_N (captions move) or cmp_image_N (whole caption "
            "lists move) with N of 20 40 50 60 80, noise_index. Default: clean cmp_20 cmp_40 "
            "cmp_60; with --noise_index: clean noise_index."
        },
    )
    noise_index: str | None = field(
        default=None,
        metadata={
            "help": "Published noise-index file (.npy) to use for the one noisy config instead of "
            "drawing the noise."
        },
    )
    seed: int = field(default=0, metadata={"help": "Seed of the noise."})
    overwrite: bool = field(default=False, metadata={"help": "Replace OUT where it exists."})


def main() -> None:
    (arguments,) = HfArgumentParser(PrecompArguments).parse_args_into_dataclasses()
    try:
        splits = write_precomp(**vars(arguments))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    for name, split in splits.items():
        print(f"{name}: {len(split.captions)} images, {len(split.captions[0])} captions each")
        if split.copies > 1:
            print(
                f"  {split.path.name} repeats every image {split.copies} times (one row per "
                "caption): one row per image was kept"
            )
    config = (arguments.configs or ["clean"])[0]
    print(f'Load it with: datasets.load_dataset("{arguments.out}", "{config}")')


if __name__ == "__main__":
    main()
