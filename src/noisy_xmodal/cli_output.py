"""What the commands print: for people, or as one JSON object."""

import json
import os
import shlex
import sys
import warnings
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

_ERRORS = Console(stderr=True)


def answer(
    run: Callable[[], dict[str, Any]], show: Callable[[dict[str, Any]], None], as_json: bool
) -> None:
    """Run a command; print what it found, or a line that says what is wrong.

    Args:
        run: The work.
        show: Prints its result for people.
        as_json: Print JSON instead, also of an error.

    Raises:
        typer.Exit: With 1 after an error that a person can mend, with 128 and the signal's number
            after a stop.
    """
    _quieten()
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import StrictDataclassError

    from .training.failures import RunError
    from .training.interruption import TrainingInterrupted

    try:
        found = run()
    except (TrainingInterrupted, KeyboardInterrupt) as stop:
        number = getattr(stop, "number", 2)
        _fail("Stopped. What is done is kept: the same command goes on from there.", as_json)
        raise typer.Exit(128 + number) from None
    except StrictDataclassError as error:
        _fail(str(error.__cause__), as_json)
        raise typer.Exit(1) from None
    except (ValueError, OSError, RunError, DatasetsError) as error:
        _fail("\n".join([str(error), *getattr(error, "__notes__", [])]), as_json)
        raise typer.Exit(1) from None
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        show(found)


def _quieten() -> None:
    """Leave standard output to the answer, and standard error to progress and errors."""
    import datasets
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", category=FutureWarning)


def _fail(message: str, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"error": message}, indent=2) + "\n")
    _ERRORS.print(f"error: {message}", markup=False, highlight=False, soft_wrap=True)


def typed_command() -> str:
    """The command line, for the record."""
    return shlex.join(["noisy-xmodal", *sys.argv[1:]])


def show_audit(found: dict[str, Any]) -> None:
    """Print the summary of an audit.

    Args:
        found: What `audit` returns.
    """
    console = Console()
    low, high = found["wrong_interval"]
    how_many = "At most" if found["is_upper_bound"] else "About"
    console.print(
        f"\n{how_many} [bold]{found['wrong_share']:.1%}[/bold] of the {found['n_pairs']:,} pairs "
        f"are wrong ({low:.1%} to {high:.1%}); {found['judged_wrong']:,} are more likely wrong "
        "than right.",
        highlight=False,
    )
    console.print(found["judge"], markup=False, highlight=False)
    for title, lines in (("Left out", found["left_out"]), ("Note", found["warnings"])):
        for line in lines[:10]:
            console.print(f"{title}: {line}", markup=False, highlight=False, soft_wrap=True)
        if len(lines) > 10:
            console.print(f"{title}: {len(lines) - 10} more, see the report", highlight=False)
    if found["oracle"]:
        oracle = {k: v for k, v in found["oracle"].items() if v is not None}
        table = Table("against the truth", "", box=None, pad_edge=False)
        for name, value in oracle.items():
            table.add_row(name.replace("_", " "), f"{value:.3f}")
        console.print(table)
    cleaned = found["cleaned"]
    if cleaned:
        console.print(
            f"{cleaned['folder']}: {cleaned['pairs_kept']:,} pairs kept, "
            f"{cleaned['pairs_dropped']:,} dropped (dropped.jsonl lists them), "
            f"{cleaned['images_dropped']:,} images with all of theirs.",
            markup=False,
            highlight=False,
        )
    for name in ("report", "table", "summary"):
        console.print(f"{name:8} {found[name]}", markup=False, highlight=False, soft_wrap=True)


def show_search(found: dict[str, Any]) -> None:
    """Print the answers to a query.

    Args:
        found: What `search` returns.
    """
    console = Console()
    table = Table("rank", "score", "image", "caption", box=None, pad_edge=False)
    for row in found["results"]:
        table.add_row(str(row["rank"]), f"{row['score']:.3f}", row["image_id"], row["caption"])
    console.print(table, markup=False, highlight=False)
    index = found["index"]
    console.print(f"{index['n']:,} vectors, {index['kind']} index", highlight=False)
    for name in ("grid", "json"):
        console.print(f"{name:8} {found[name]}", markup=False, highlight=False, soft_wrap=True)
