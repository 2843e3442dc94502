"""Compare the methods for noisy class labels, or take DMCM apart, over noise rates and seeds.

    python examples/study_labels.py --dataset_name wikipedia --output_dir runs/methods
    python examples/study_labels.py --study ablation --dataset_name wikipedia --output_dir runs/dmcm
    python examples/study_labels.py --study parts --noise 60 --output_dir runs/parts
    python examples/study_labels.py --study lambda --noise 60 --output_dir runs/lambda

"methods" is DMCM's Table 2, "ablation" its Table 3 and "lambda" its Fig. 3; "parts" takes away or
replaces every further part of DMCM.

Every run is one of examples/train_dmcm.py and writes its results there; runs that are finished are
not run again. The table has three columns a direction: the last epoch, the epoch that is best on
validation, and, as an oracle that nobody has, the one that is best on test. Further options are
passed on to the runs.
"""

import shutil
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import torch
import train_dmcm
from huggingface_hub.errors import StrictDataclassError
from matplotlib.figure import Figure

from noisy_xmodal.training.curve import CURVE_NAME
from noisy_xmodal.training.files import read_json, write_json

KNOWN = ["--noise_rate", "known"]

#: Options of the rows of each study, on top of those of all runs.
STUDIES: dict[str, dict[str, list[str]]] = {
    "methods": {
        "CE": ["--method", "ce"],
        "DCCA": ["--method", "dcca"],
        "DCCAE": ["--method", "dccae"],
        "SDML": ["--method", "sdml"],
        "DSCMR": ["--method", "dscmr"],
        "LCN": ["--method", "lcn"],
        "MRL": ["--method", "mrl"],
        "MRL + warm-up": ["--method", "mrl_warmup"],
        "DMCM (rate estimated)": [],
        "DMCM": KNOWN,
    },
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

#: Rows that read no label: one noise rate stands for all.
LABEL_FREE = ("DCCA", "DCCAE")

#: Where a run's results hold the three ways to choose an epoch.
CHOICES = {"last": "last", "best on validation": "best", "oracle": "best_on_test"}


def read_options(argv: list[str]) -> tuple[Namespace, list[str]]:
    """Options of the study, and those for its runs."""
    parser = ArgumentParser(
        description=__doc__.split("\n")[0],
        epilog="All further options are those of train_dmcm.py, and go to every run.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--study", choices=list(STUDIES), default="methods", help="Which table to make."
    )
    parser.add_argument("--noise", nargs="+", default=["20", "40", "60", "80"], help="Percentages.")
    parser.add_argument("--noise_type", default="sym", help="Begin of the config names.")
    parser.add_argument("--seeds", nargs="+", default=["0", "1", "2"], help="Training seeds.")
    parser.add_argument("--rows", nargs="+", help="Rows of the study to run; all by default.")
    parser.add_argument("--output_dir", required=True, help="Folder of the runs and the table.")
    parser.add_argument("--workers", type=int, default=1, help="Processes that share the runs.")
    parser.add_argument("--worker", type=int, help="Be this one of them.")
    return parser.parse_known_args(argv)


def folder_of(args: Namespace, row: str, noise: str, seed: str) -> Path:
    """Output folder of one run."""
    name = "".join(char if char.isalnum() else "_" for char in row)
    return Path(args.output_dir) / "runs" / name / f"{args.noise_type}_{noise}" / f"seed{seed}"


def all_runs(args: Namespace) -> list[tuple[str, str, str]]:
    """Row, noise and seed of every run."""
    rows = args.rows or list(STUDIES[args.study])
    unknown = [row for row in rows if row not in STUDIES[args.study]]
    if unknown:
        sys.exit(f"no row {unknown[0]!r}; there are: {', '.join(STUDIES[args.study])}.")
    return [
        (row, noise, seed)
        for seed in args.seeds
        for noise in args.noise
        for row in rows
        if row not in LABEL_FREE or noise == args.noise[0]
    ]


def work(args: Namespace, passed_on: list[str]) -> None:
    """Do the share of one worker."""
    torch.set_num_threads(1)
    for number, (row, noise, seed) in enumerate(all_runs(args)):
        out = folder_of(args, row, noise, seed)
        if number % args.workers != args.worker:
            continue
        options = [*passed_on, *STUDIES[args.study][row], "--seed", seed]
        options += ["--dataset_config_name", f"{args.noise_type}_{noise}"]
        options += ["--output_dir", str(out), "--disable_tqdm", "True", "--plot_divisions", "False"]
        if (out / "results.json").is_file():
            check_same(out / "results.json", options)
            continue
        print(f"== {row}, {args.noise_type}_{noise}, seed {seed}", flush=True)
        shutil.rmtree(out, ignore_errors=True)
        try:
            train_dmcm.main(options)
        except (ValueError, OSError, StrictDataclassError) as error:
            sys.exit(f"error in the run {row!r}: {error}")
        for checkpoint in out.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)


def check_same(path: Path, options: list[str]) -> None:
    """Refuse a finished run that had other options."""
    command = read_json(path)["command"]
    if command.split(" ", 2)[2] != " ".join(options):
        sys.exit(f"{path} is of another run ({command}): give another --output_dir, or remove it.")


def collect(args: Namespace) -> list[dict]:
    """Mean and spread of every cell, from the runs' results."""
    rows = args.rows or list(STUDIES[args.study])
    cells = []
    for row in rows:
        for noise in args.noise:
            source = args.noise[0] if row in LABEL_FREE else noise
            runs = [
                read_json(folder_of(args, row, source, seed) / "results.json")
                for seed in args.seeds
            ]
            cell: dict = {"row": row, "noise": noise, "seeds": args.seeds}
            for choice, key in CHOICES.items():
                if any(run[key] is None or "test" not in run[key] for run in runs):
                    continue
                for metric in ("i2t_map", "t2i_map"):
                    values = [run[key]["test"][metric] for run in runs]
                    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
                    cell[f"{choice} {metric}"] = {
                        "mean": float(np.mean(values)),
                        "spread": spread,
                        "values": values,
                    }
            cell["train_seconds"] = float(np.mean([run["train_seconds"] for run in runs]))
            cell["command"] = runs[0]["command"]
            cells.append(cell)
    return cells


def as_markdown(args: Namespace, cells: list[dict]) -> str:
    """A table with a row for each row and noise rate."""
    columns = [name for name in cells[0] if name.endswith("_map")]
    lines = ["| | noise | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for noise in args.noise:
        for cell in cells:
            if cell["noise"] == noise:
                found = [written(cell[column]) for column in columns]
                lines.append(f"| {cell['row']} | {noise} % | " + " | ".join(found) + " |")
    return "\n".join(lines) + "\n"


def written(value: dict) -> str:
    """A mean with its spread over the seeds."""
    text = f"{value['mean']:.3f}"
    return text if value["spread"] is None else f"{text} ± {value['spread']:.3f}"


def plot_lambda(path: Path, cells: list[dict]) -> None:
    """mAP over lambda, one line a direction and choice."""
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    axes = figure.subplots()
    for noise in dict.fromkeys(cell["noise"] for cell in cells):
        found = [cell for cell in cells if cell["noise"] == noise]
        steps = [float(cell["row"].split("=")[1]) for cell in found]
        for metric, style in (("i2t_map", "o-"), ("t2i_map", "s--")):
            means = [cell[f"last {metric}"]["mean"] for cell in found]
            spreads = [cell[f"last {metric}"]["spread"] or 0 for cell in found]
            label = f"{metric}, {noise} %, last epoch"
            axes.errorbar(steps, means, spreads, fmt=style, capsize=2, lw=1, ms=3, label=label)
    axes.set(xlabel="lambda", ylabel="mAP on test")
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=120)


def plot_courses(path: Path, args: Namespace, noise: str) -> None:
    """mAP on test after every epoch, a line a row, as in DMCM's Fig. 1; means over the seeds."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for row in args.rows or STUDIES[args.study]:
        source = args.noise[0] if row in LABEL_FREE else noise
        folders = [folder_of(args, row, source, seed) for seed in args.seeds]
        curves = [read_json(folder / CURVE_NAME) for folder in folders]
        epochs = [point["epoch"] for point in curves[0]]
        for axes, metric in zip(panels, ("i2t_map", "t2i_map"), strict=True):
            values = [[point["test"][metric] for point in curve] for curve in curves]
            axes.plot(epochs, np.mean(values, axis=0), lw=1, label=row)
    for axes, metric in zip(panels, ("i2t_map", "t2i_map"), strict=True):
        axes.set(xlabel="epoch", title=f"{metric}, test, {noise} % noise")
    panels[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=120)


def main(argv: list[str] | None = None) -> None:
    """Run what is missing, then write the table."""
    argv = sys.argv[1:] if argv is None else argv
    args, passed_on = read_options(argv)
    if args.worker is not None:
        return work(args, passed_on)
    all_runs(args)  # refuses unknown rows before anything starts
    commands = [
        [sys.executable, __file__, *argv, "--worker", str(worker)] for worker in range(args.workers)
    ]
    processes = [subprocess.Popen(command) for command in commands]
    codes = [process.wait() for process in processes]
    if any(codes):
        sys.exit("a run failed, see above; the same command goes on with what is missing.")
    cells = collect(args)
    out = Path(args.output_dir)
    write_json(out / f"{args.study}.json", cells)
    (out / f"{args.study}.md").write_text(as_markdown(args, cells), encoding="utf-8")
    if args.study == "lambda":
        plot_lambda(out / "lambda.png", cells)
    elif any("oracle i2t_map" in cell for cell in cells):
        for noise in args.noise:
            plot_courses(out / f"{args.study}_{noise}.png", args, noise)
    print(as_markdown(args, cells))
    print(f"written to {out / args.study}.json and .md")
    return None


if __name__ == "__main__":
    main()
