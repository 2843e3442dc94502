"""Options of `paper.py`: which table, on which data, which cells of it, by how many workers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

SCALES = ("paper", "small")


@dataclass
class PaperOptions:
    """A table or figure of a paper."""

    table: str = field(
        metadata={
            "help": "Its name, also without the option's: ncr-table1 to 4, ncr-fig3a to c, "
            "rcar-table1 to 4, rcar-fig3 to 7, dmcm-table2, dmcm-table3, dmcm-fig1, dmcm-fig3, "
            "dmcm-parts."
        }
    )
    output_dir: str = field(metadata={"help": "Folder of the runs and of what is written."})
    data_dir: str | None = field(
        default=None,
        metadata={
            "help": "Folder of the datasets as dataset_scripts/ write them, by name: flickr30k, "
            "coco, cc152k, wikipedia, pascal, xmedianet."
        },
    )
    dataset_name: str | None = field(
        default=None,
        metadata={"help": "One dataset in place of all of them: any pairs, as for training."},
    )
    scale: str = field(
        default="paper",
        metadata={
            "help": "paper: the published recipes. small: the recipe for small models, on "
            "--dataset_name or the embedded OpenMoji."
        },
    )
    configs: list[str] | None = field(
        default=None,
        metadata={
            "help": "Noise in place of the table's, such as clean cmp_40. What the data has no "
            "config for is injected into its clean pairs."
        },
    )
    cells: list[str] | None = field(
        default=None,
        metadata={
            "help": "Cells to run, by ROW/DATA/NOISE/seedN or parts of it with * and ?, such as "
            "ncr scan/*/cmp_40; all by default."
        },
    )
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "Training seeds."})
    workers: int = field(default=1, metadata={"help": "Runs at the same time."})
    list_cells: bool = field(
        default=False, metadata={"help": "Only print the commands of the cells that are missing."}
    )

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f"--scale is {self.scale!r}: give {' or '.join(SCALES)}.")
        if self.workers < 1:
            raise ValueError(f"--workers is {self.workers}: give at least 1.")
        if self.data_dir is not None and self.dataset_name is not None:
            raise ValueError("--data_dir does nothing beside --dataset_name: leave one out.")
        if self.data_dir is not None and self.scale == "small":
            raise ValueError("--data_dir does nothing at --scale small: give --dataset_name.")


def with_table_option(words: Sequence[str]) -> list[str]:
    """A command line with `--table` before the name of a table that stands first without it."""
    is_named = bool(words) and not words[0].startswith("-")
    return ["--table", *words] if is_named else list(words)
