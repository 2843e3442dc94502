"""Put the results of several training runs side by side.

python examples/compare.py runs/plain runs/ncr --output runs/comparison.json
"""

from dataclasses import dataclass, field

from noisy_xmodal.entry.command_line import answer_early


@dataclass
class ComparisonArguments:
    """The runs to compare."""

    runs: list[str] = field(metadata={"help": "Output folders of examples/train_*.py."})
    output: str = field(default="comparison.json", metadata={"help": "JSON file for the table."})


if __name__ == "__main__":
    answer_early(ComparisonArguments)  # the imports below take seconds

import sys
from pathlib import Path

from noisy_xmodal.entry.options import read_options
from noisy_xmodal.entry.outputs import check_output
from noisy_xmodal.files import read_json, write_json
from noisy_xmodal.hub import CARD_KINDS
from noisy_xmodal.training.run import run_script


def read_results(folder: str) -> dict:
    """The results of one run."""
    path = Path(folder) / "results.json"
    if not path.is_file():
        raise ValueError(f"{path} is missing: give output folders of finished training runs.")
    found = read_json(path)
    missing = [name for name in ("last", "best", "method", "train_seconds") if name not in found]
    if missing:
        raise ValueError(f"{path} has no {missing[0]!r}: it is not of a training run.")
    return found


def is_comparison(path: Path) -> bool:
    """Whether a file holds a table that this script wrote."""
    try:
        found = read_json(path)
    except ValueError:
        return False
    return isinstance(found, list) and all("run" in row for row in found)


def main(argv: list[str] | None = None) -> None:
    """Print the table and write it."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and not argv[0].startswith("-"):
        argv = ["--runs", *argv]
    args = read_options(ComparisonArguments, {}, argv)
    check_output(args.output, "--output", ".json", is_comparison)
    runs = {folder: read_results(folder) for folder in args.runs}
    kinds = [CARD_KINDS[results.get("task", "pairs")] for results in runs.values()]
    if len({kind.metrics for kind in kinds}) > 1:
        raise ValueError("some runs retrieve pairs and some classes: compare them separately.")
    kind = kinds[0]
    rows = []
    for folder, results in runs.items():
        for checkpoint in ("last", "best"):
            for split, metrics in results[checkpoint].items():
                row = {"run": folder, "method": results["method"], "checkpoint": checkpoint}
                row |= {"split": split, "seconds": results["train_seconds"]}
                rows.append(row | {metric: metrics[metric] for metric in kind.metrics})
    write_json(args.output, rows)
    header = "".join(f"{metric:>12}" for metric in kind.metrics)
    print(f"{'method':44}{'checkpoint':>11}{'split':>12}{header}")
    for row in sorted(rows, key=lambda row: (row["split"], row["checkpoint"])):
        print(
            f"{row['method']:44}{row['checkpoint']:>11}{row['split']:>12}"
            + "".join(f"{row[metric]:12.{kind.digits}f}" for metric in kind.metrics)
        )
    print(f"\nwritten to {args.output}")


if __name__ == "__main__":
    run_script(main, ComparisonArguments)
