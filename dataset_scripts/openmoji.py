"""Writes the OpenMoji dataset as Parquet with noisy configs; needs noisy-xmodal[demo].

python dataset_scripts/openmoji.py --out openmoji_pairs --configs clean cmp_40
"""

import sys
from dataclasses import dataclass, field

from transformers import HfArgumentParser

from noisy_xmodal.data.builders.openmoji import write_openmoji


@dataclass
class OpenMojiArguments:
    out: str = field(metadata={"help": "Folder to write; load_dataset(OUT, CONFIG) opens it."})
    configs: list[str] | None = field(
        default=None,
        metadata={
            "help": "Configs to write, of clean, cmp_20, cmp_40, cmp_60 (captions move), "
            "cmp_image_20, cmp_image_40, cmp_image_60 (whole caption lists move). Default: all."
        },
    )
    seed: int = field(default=0, metadata={"help": "Seed of the noise; the splits are fixed."})
    overwrite: bool = field(default=False, metadata={"help": "Replace OUT where it exists."})


def main() -> None:
    (arguments,) = HfArgumentParser(OpenMojiArguments).parse_args_into_dataclasses()
    try:
        splits = write_openmoji(**vars(arguments))
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")
    for name, split in splits.items():
        n_captions = sum(len(texts) for texts in split.captions)
        print(f"{name}: {len(split.captions)} pictures, {n_captions} captions")
    config = (arguments.configs or ["clean"])[0]
    print(f'Load it with: datasets.load_dataset("{arguments.out}", "{config}")')


if __name__ == "__main__":
    main()
