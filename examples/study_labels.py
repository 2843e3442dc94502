"""Compare the methods for noisy class labels, or ablate DMCM, over noise rates and seeds.

    python examples/study_labels.py --dataset_name wikipedia --output_dir runs/methods
    python examples/study_labels.py --study ablation --dataset_name wikipedia --output_dir runs/dmcm
    python examples/study_labels.py --study parts --noise 60 --output_dir runs/parts
    python examples/study_labels.py --study lambda --noise 60 --output_dir runs/lambda

"methods" is DMCM's Table 2, "ablation" its Table 3 and "lambda" its Fig. 3; "parts" removes or
replaces every other part of DMCM.

Every run is a run of examples/train_dmcm.py; finished runs are not run again. The table has three
columns per direction: the last epoch, the best epoch on validation, and the best one on test, which
is an oracle. Further options are passed to the runs.
"""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from study import Study, plot_over_rows

METRICS = ("i2t_map", "t2i_map")

KNOWN = ["--noise_rate", "known"]


def all_methods() -> dict[str, list[str]]:
    """A row for each method for classes, and DMCM without the noise rate."""
    from noisy_xmodal.methods import LABEL_METHODS

    rows = {kind.title: ["--method", name] for name, kind in LABEL_METHODS.items()}
    rows["DMCM (rate estimated)"] = rows.pop("DMCM")
    return {**rows, "DMCM": KNOWN}


#: Options of the rows of each study, on top of those of all runs.
STUDIES: dict[str, dict[str, list[str]] | Callable[[], dict[str, list[str]]]] = {
    "methods": all_methods,
    "ablation": {
        "DMCM w/o MAE": [*KNOWN, "--class_loss", "ngce"],
        "DMCM w/o NGCE": [*KNOWN, "--class_loss", "mae"],
        "DMCM (lambda = 1)": [*KNOWN, "--mixing_weight", "1"],
        "DMCM": KNOWN,
    },
    "parts": {
        "DMCM": KNOWN,
        "lambda = 1": [*KNOWN, "--mixing_weight", "1"],
        "no warm-up": [*KNOWN, "--warmup_epochs", "0"],
        "no warm-up, lambda = 1": [*KNOWN, "--warmup_epochs", "0", "--mixing_weight", "1"],
        "beta = .7, as MRL has it": [*KNOWN, "--beta", "0.7"],
        "beta = .5": [*KNOWN, "--beta", "0.5"],
        "no contrastive loss": [*KNOWN, "--beta", "1"],
        "clean samples alone (lambda = 0)": [*KNOWN, "--mixing_weight", "0"],
        "mixture per batch": [*KNOWN, "--mixture_scope", "batch"],
        "raw posterior": [*KNOWN, "--method_options", '{"monotone": false}'],
        "rate estimated by a Gaussian mixture": ["--method_options", '{"mixture": "gaussian"}'],
        "rate estimated": [],
        "threshold .5": ["--clean_threshold", "0.5"],
        "Eq. 3 and 7 as printed": [
            *KNOWN,
            "--method_options",
            '{"class_loss_options": {"ngce_form": "expected", "mae_form": "l1"}, '
            '"self_similarity": true}',
        ],
        "MRL + warm-up": ["--method", "mrl_warmup"],
        "MRL + warm-up, beta = .85": ["--method", "mrl_warmup", "--beta", "0.85"],
        "MRL": ["--method", "mrl"],
    },
    "lambda": {
        f"lambda = {step / 10:g}": [*KNOWN, "--mixing_weight", f"{step / 10:g}"]
        for step in range(11)
    },
}


def draw(study: Study, args: Namespace, cells: list[dict]) -> None:
    """Draw the figures of a study."""
    out = Path(args.output_dir)
    if args.study == "lambda":
        plot_over_rows(out / "lambda.png", cells, METRICS, "mAP on test")
    elif any("oracle i2t_map" in cell for cell in cells):
        for noise in args.noise:
            plot_courses(out / f"{args.study}_{noise}.png", study, args, noise)


def plot_courses(path: Path, study: Study, args: Namespace, noise: str) -> None:
    """Plot mAP on test after every epoch, a line per row, like DMCM's Fig. 1; means over seeds."""
    import numpy as np
    from matplotlib.figure import Figure

    from noisy_xmodal.files import read_json
    from noisy_xmodal.training.curve import CURVE_NAME

    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for row in study.rows(args):
        folders = [study.folder_of(args, row, noise, seed) for seed in args.seeds]
        curves = [read_json(folder / CURVE_NAME) for folder in folders]
        epochs = [point["epoch"] for point in curves[0]]
        for axes, metric in zip(panels, METRICS, strict=True):
            values = [[point["test"][metric] for point in curve] for curve in curves]
            axes.plot(epochs, np.mean(values, axis=0), lw=1, label=row)
    for axes, metric in zip(panels, METRICS, strict=True):
        axes.set(xlabel="epoch", title=f"{metric}, test, {noise} % noise")
    panels[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=120)


STUDY = Study(
    script=__file__,
    description=__doc__.split("\n")[0],
    train="train_dmcm",
    tables=STUDIES,
    metrics=METRICS,
    choices={"last": "last", "best on validation": "best", "oracle": "best_on_test"},
    digits=3,
    noise_type="sym",
    noise=("20", "40", "60", "80"),
    label_free=("DCCA", "DCCAE"),
    draw=draw,
)

if __name__ == "__main__":
    STUDY.start()
