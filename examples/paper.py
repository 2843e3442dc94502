"""Run a table or figure of the NCR, RCAR and DMCM papers, and write it beside the published one.

    python examples/paper.py ncr-table1 --data_dir data --output_dir runs/paper
    python examples/paper.py ncr-table1 --scale small --output_dir runs/small --cells ncr scan
    python examples/paper.py rcar-fig3 --scale small --dataset_name photos --output_dir runs/photos
    python examples/paper.py dmcm-table2 --scale small --seeds 0 1 2 --workers 2 \
        --output_dir runs/labels

Every cell (a system, a dataset, a noise and a seed) is a run of a training script. Finished cells
are not run again, interrupted ones go on, and several of these commands on one folder share the
cells. A cell that fails does not stop the others. Further options go to the training runs whose
scripts have them.
"""

import sys

from noisy_xmodal.arguments.papers import PaperOptions, with_table_option
from noisy_xmodal.entry.command_line import answer_early

if __name__ == "__main__":  # the imports below take seconds
    answer_early(PaperOptions, passes_on=True, words=with_table_option(sys.argv[1:]))

from pathlib import Path

from noisy_xmodal.papers.command import run_command
from noisy_xmodal.training.run import run_script


def main(argv: list[str] | None = None) -> None:
    """Run what is missing of a table, and write it."""
    argv = sys.argv[1:] if argv is None else argv
    run_command(with_table_option(argv), Path(__file__).parent)


if __name__ == "__main__":
    run_script(main, PaperOptions)
