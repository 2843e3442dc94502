"""Ablate RCAR, or vary its m, over noise rates and seeds.

    python examples/study_rcar.py --dataset_name f30k --output_dir runs/rcar
    python examples/study_rcar.py --study m --dataset_name f30k --output_dir runs/rcar

"ablation" is RCAR's Table 3, and "m", the epochs before the refurbisher starts, its Fig. 3.

Every run is a run of examples/train_rcar.py; finished runs are not run again. The table has R@1 in
both directions and rSum on test, for the last epoch and for the best one on validation. Further
options are passed to the runs.
"""

from argparse import Namespace
from pathlib import Path

from study import Study, plot_over_rows

#: Values of m that the study of it tries; the small recipe has 16 epochs.
VALUES_OF_M = (2, 4, 6, 8, 10, 12)

#: Options of the rows of each study, on top of those of all runs.
STUDIES: dict[str, dict[str, list[str]]] = {
    "ablation": {
        "ITM": ["--robust", "False", "--mlm_epochs", "0"],
        "ITM + MLM": ["--robust", "False"],
        "ITM + refurbisher": ["--mlm_epochs", "0"],
        "RCAR": [],
    },
    "m": {f"m = {m}": ["--warmup_epochs", str(m)] for m in VALUES_OF_M},
}


def draw(study: Study, args: Namespace, cells: list[dict]) -> None:
    """R@1 over m."""
    if args.study == "m":
        path = Path(args.output_dir) / "m.png"
        plot_over_rows(path, cells, ("i2t_r1", "t2i_r1"), "R@1 on test")


STUDY = Study(
    script=__file__,
    description=__doc__.split("\n")[0],
    train="train_rcar",
    tables=STUDIES,
    metrics=("i2t_r1", "t2i_r1", "rsum"),
    choices={"last": "last", "best on validation": "best"},
    digits=1,
    noise_type="cmp",
    noise=("40",),
    draw=draw,
)

if __name__ == "__main__":
    STUDY.start()
