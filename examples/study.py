"""Runs of a training script over rows of options, noise and seeds; shared by the studies.

A study script defines its tables:

    STUDY = Study(__file__, __doc__.split("\\n")[0], train="train_dmcm", tables={...}, ...)
    STUDY.start()

Every run is a run of the training script with its own output folder. Finished runs are not run
again.
"""

import shutil
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from noisy_xmodal.entry.door import ending_of

# Functions import what takes seconds, so that --help is quick.


@dataclass(frozen=True)
class Study:
    """Tables over the runs of one training script.

    Args:
        script: File of the study script, which the workers run too.
        description: First line of its help.
        train: Name of the training script; its `main` takes options, and writes results.json.
        tables: By name, the options of each row on top of those of all runs; or a function that
            returns them.
        metrics: Metrics on test to put into the table.
        choices: By name, the key in the results of a run of each way to choose an epoch.
        digits: Decimals of the metrics in print.
        noise_type: Default prefix of the config names.
        noise: Default percentages.
        label_free: Rows that the noise does not reach: one noise rate stands for all.
        draw: Takes the study, its options and all cells when the table is written.
    """

    script: str
    description: str
    train: str
    tables: dict[str, dict[str, list[str]] | Callable[[], dict[str, list[str]]]]
    metrics: tuple[str, ...]
    choices: dict[str, str]
    digits: int
    noise_type: str
    noise: tuple[str, ...]
    label_free: tuple[str, ...] = ()
    draw: Callable[["Study", Namespace, list[dict]], None] | None = None

    def read_options(self, argv: list[str]) -> tuple[Namespace, list[str]]:
        """Options of the study, and those for its runs."""
        parser = ArgumentParser(
            description=self.description,
            epilog=f"All further options are those of {self.train}.py, and go to every run.",
            allow_abbrev=False,
        )
        names = list(self.tables)
        parser.add_argument("--study", choices=names, default=names[0], help="Table to create.")
        parser.add_argument("--noise", nargs="+", default=list(self.noise), help="Percentages.")
        parser.add_argument(
            "--noise_type", default=self.noise_type, help="Prefix of the config names."
        )
        parser.add_argument("--seeds", nargs="+", default=["0", "1", "2"], help="Training seeds.")
        parser.add_argument("--rows", nargs="+", help="Rows of the table; all by default.")
        parser.add_argument("--output_dir", required=True, help="Folder of the runs and the table.")
        parser.add_argument("--workers", type=int, default=1, help="Processes that share the runs.")
        parser.add_argument("--worker", type=int, help="Number of this process.")
        return parser.parse_known_args(argv)

    def table(self, args: Namespace) -> dict[str, list[str]]:
        """The options of each row of the selected table."""
        table = self.tables[args.study]
        return table() if callable(table) else table

    def rows(self, args: Namespace) -> list[str]:
        """The rows to run."""
        return args.rows or list(self.table(args))

    def folder_of(self, args: Namespace, row: str, noise: str, seed: str) -> Path:
        """Output folder of the run of a row, a noise rate and a seed."""
        name = "".join(char if char.isalnum() else "_" for char in row)
        source = args.noise[0] if row in self.label_free else noise
        return Path(args.output_dir) / "runs" / name / f"{args.noise_type}_{source}" / f"seed{seed}"

    def all_runs(self, args: Namespace) -> list[tuple[str, str, str]]:
        """Row, noise and seed of every run."""
        table = self.table(args)
        unknown = [row for row in self.rows(args) if row not in table]
        if unknown:
            raise ValueError(f"--rows has no {unknown[0]!r}; there are: {', '.join(table)}.")
        return [
            (row, noise, seed)
            for seed in args.seeds
            for noise in args.noise
            for row in self.rows(args)
            if row not in self.label_free or noise == args.noise[0]
        ]

    def work(self, args: Namespace, passed_on: list[str]) -> None:
        """Run the share of one worker."""
        import torch

        train = import_module(self.train).main
        torch.set_num_threads(1)
        for number, (row, noise, seed) in enumerate(self.all_runs(args)):
            if number % args.workers != args.worker:
                continue
            out = self.folder_of(args, row, noise, seed)
            config = f"{args.noise_type}_{noise}"
            options = [*passed_on, *self.table(args)[row], "--seed", seed]
            options += ["--dataset_config_name", config, "--output_dir", str(out)]
            options += ["--disable_tqdm", "True", "--plot_divisions", "False"]
            if (out / "results.json").is_file():
                check_same(out / "results.json", options)
                continue
            print(f"== {row}, {config}, seed {seed}", flush=True)
            shutil.rmtree(out, ignore_errors=True)
            try:
                train(options)
            except Exception as error:
                sys.exit(f"{ending_of(error).line} (in the run {row!r})")
            for checkpoint in out.glob("checkpoint-*"):
                shutil.rmtree(checkpoint)

    def collect(self, args: Namespace) -> list[dict]:
        """Mean and spread of every cell, from the runs' results."""
        return [self.cell(args, row, noise) for row in self.rows(args) for noise in args.noise]

    def cell(self, args: Namespace, row: str, noise: str) -> dict:
        """Mean and spread over the seeds, and how the first run was started."""
        import numpy as np

        from noisy_xmodal.files import read_json

        folders = [self.folder_of(args, row, noise, seed) for seed in args.seeds]
        runs = [read_json(folder / "results.json") for folder in folders]
        cell: dict = {"row": row, "noise": noise, "seeds": args.seeds}
        for choice, key in self.choices.items():
            if any(run[key] is None or "test" not in run[key] for run in runs):
                continue
            for metric in self.metrics:
                values = [run[key]["test"][metric] for run in runs]
                spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
                cell[f"{choice} {metric}"] = {
                    "mean": float(np.mean(values)),
                    "spread": spread,
                    "values": values,
                }
        cell["train_seconds"] = float(np.mean([run["train_seconds"] for run in runs]))
        cell["command"] = runs[0]["command"]
        return cell

    def as_markdown(self, args: Namespace, cells: list[dict]) -> str:
        """A table with a row for each row and noise rate."""
        columns = [name for name in cells[0] if name.endswith(self.metrics)]
        lines = ["| | noise | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
        for noise in args.noise:
            for cell in cells:
                if cell["noise"] == noise:
                    found = [self.written(cell[column]) for column in columns]
                    lines.append(f"| {cell['row']} | {noise} % | " + " | ".join(found) + " |")
        return "\n".join(lines) + "\n"

    def written(self, value: dict) -> str:
        """A mean with its spread over the seeds."""
        numbers = (value["mean"],) if value["spread"] is None else (value["mean"], value["spread"])
        return " ± ".join(f"{number:.{self.digits}f}" for number in numbers)

    def start(self) -> None:
        """Run the study as a command."""
        self.read_options(sys.argv[1:])  # answers --help before the import, which takes seconds
        from noisy_xmodal.training.run import run_script

        run_script(self.main)

    def main(self, argv: list[str] | None = None) -> None:
        """Run what is missing, then write the table."""
        argv = sys.argv[1:] if argv is None else argv
        args, passed_on = self.read_options(argv)
        if args.worker is not None:
            return self.work(args, passed_on)
        self.all_runs(args)  # refuses unknown rows before anything starts
        commands = [
            [sys.executable, self.script, *argv, "--worker", str(worker)]
            for worker in range(args.workers)
        ]
        processes = [subprocess.Popen(command) for command in commands]
        codes = [process.wait() for process in processes]
        if any(codes):
            sys.exit("A run failed, see above; the same command resumes.")
        from noisy_xmodal.files import write_json

        cells = self.collect(args)
        out = Path(args.output_dir)
        write_json(out / f"{args.study}.json", cells)
        (out / f"{args.study}.md").write_text(self.as_markdown(args, cells), encoding="utf-8")
        if self.draw is not None:
            self.draw(self, args, cells)
        print(self.as_markdown(args, cells))
        print(f"written to {out / args.study}.json and .md")
        return None


def check_same(path: Path, options: list[str]) -> None:
    """Refuse a finished run with other options."""
    from noisy_xmodal.files import read_json

    command = read_json(path)["command"]
    if command.split(" ", 2)[2] != " ".join(options):
        raise ValueError(
            f"{path} is of another run ({command}): give another --output_dir, or remove it."
        )


def plot_over_rows(path: Path, cells: list[dict], metrics: tuple[str, str], ylabel: str) -> None:
    """Two metrics of the last epoch over the number that the rows are named by, as "m = 2"."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    axes = figure.subplots()
    for noise in dict.fromkeys(cell["noise"] for cell in cells):
        found = [cell for cell in cells if cell["noise"] == noise]
        steps = [float(cell["row"].split("=")[1]) for cell in found]
        for metric, style in zip(metrics, ("o-", "s--"), strict=True):
            means = [cell[f"last {metric}"]["mean"] for cell in found]
            spreads = [cell[f"last {metric}"]["spread"] or 0 for cell in found]
            label = f"{metric}, {noise} %, last epoch"
            axes.errorbar(steps, means, spreads, fmt=style, capsize=2, lw=1, ms=3, label=label)
    axes.set(xlabel=cells[0]["row"].split(" =")[0], ylabel=ylabel)
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=120)
