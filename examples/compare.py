"""Put the results of several training runs side by side.

python examples/compare.py runs/plain runs/ncr --output runs/comparison.json
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from transformers import HfArgumentParser

from noisy_xmodal.hub import CARD_KINDS
from noisy_xmodal.training.files import read_json, write_json


@dataclass
class ComparisonArguments:
    """Which runs to compare."""

    runs: list[str] = field(metadata={"help": "Output folders of examples/train_*.py."})
    output: str = field(
        default="comparison.json", metadata={"help": "JSON file that takes the table."}
    )


def read_results(folder: str) -> dict:
    """The results of one run."""
    path = Path(folder) / "results.json"
    if not path.is_file():
        sys.exit(f"{path} is missing: give output folders of finished training runs.")
    return read_json(path)


def main(argv: list[str] | None = None) -> None:
    """Print the table and write it."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and not argv[0].startswith("-"):
        argv = ["--runs", *argv]
    (args,) = HfArgumentParser(ComparisonArguments).parse_args_into_dataclasses(argv)
    runs = {folder: read_results(folder) for folder in args.runs}
    tasks = {results.get("task", "pairs") for results in runs.values()}
    if len(tasks) > 1:
        sys.exit("some runs retrieve pairs and some classes: compare them apart.")
    kind = CARD_KINDS[tasks.pop()]
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
    main()
