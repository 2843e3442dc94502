"""Train all methods for noisy pairs on the same data, network and budget, and compare them.

    python examples/study_pairs.py --output_dir runs/pairs --configs cmp_40 --seeds 0 1 2
    python examples/study_pairs.py --dataset_name photos --output_dir runs/photos \
        --cells ncr-cosine sir --ema_decay 0.99

It is the table `pairs` of `paper.py` at the scale `small` and with `--record_course True`, which
shows the best epoch by clean validation pairs too, and takes the same options: OpenMoji, or
`--dataset_name` with any pairs, noise by `--configs`, and further options for all runs. Finished
runs are not run again, and interrupted ones go on.
"""

import sys

from noisy_xmodal.arguments.papers import PaperOptions
from noisy_xmodal.entry.command_line import answer_early

PAIRS = ("--table", "pairs", "--scale", "small", "--record_course", "True")

if __name__ == "__main__":  # the imports below take seconds
    answer_early(PaperOptions, passes_on=True, words=[*PAIRS, *sys.argv[1:]])

from pathlib import Path

from noisy_xmodal.papers.command import run_command
from noisy_xmodal.training.run import run_script


def main(argv: list[str] | None = None) -> None:
    """Run what is missing of the table, and write it."""
    argv = sys.argv[1:] if argv is None else argv
    run_command([*PAIRS, *argv], Path(__file__).parent)


if __name__ == "__main__":
    run_script(main, PaperOptions)
