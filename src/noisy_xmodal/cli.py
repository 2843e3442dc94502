"""The command line: `noisy-xmodal audit`, `noisy-xmodal review` and `noisy-xmodal search`.

Exit codes: 0 success, 1 an error (the line says whether it is a mistake or a bug), 2 a command line
that cannot be parsed, 128 + the signal number after a signal. With --json, standard output is one
JSON object, also for an error; everything else goes to standard error.
"""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .arguments.audit import AuditOptions
from .arguments.review import ReviewOptions
from .cli_output import answer, show_audit, show_review, show_search, typed_command
from .entry.door import Ending, tell
from .entry.limits import AUDIT, REVIEW, SEARCH
from .entry.options import Limits

#: Option names of the scripts in examples/, which the commands accept too.
_SAME = {
    "dataset-config-name": "config",
    "model-name-or-path": "model",
    "vision-model-name-or-path": "vision-model",
    "text-model-name-or-path": "text-model",
    "encoder-name-or-path": "encoder",
}


def _option_name(name: str) -> str:
    dashed = name.replace("_", "-")
    return _SAME.get(dashed, dashed)


#: The names in `entry.limits` of the parameters of the commands below.
NAMES = {_name.replace("-", "_"): _long.replace("-", "_") for _long, _name in _SAME.items()}
NAMES |= {"dataset": "dataset_name", "as_json": "json"}


class _Commands(TyperGroup):
    """The commands. A command line that cannot be parsed ends in one line, like other errors."""

    def main(self, args: Sequence[str] | None = None, *others: Any, **options: Any) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(words, *others, **(options | {"standalone_mode": False}))
        except Exception as error:
            if not hasattr(error, "format_message"):
                raise
            if not words:
                sys.exit(2)  # typer has printed the help
            command = getattr(error, "ctx", None)
            where = command.command_path if command else "noisy-xmodal"
            line = f"error: {error.format_message().rstrip('.')}. See {where} --help."
            tell(Ending(line, exit_code=2), "--json" in words)
            sys.exit(2)
        sys.exit(code or 0)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": _option_name},
    help="Image-text pairs that cannot be trusted: find the wrong ones, search the right ones.",
    epilog="Train models with the scripts in examples/, or from Python: `import noisy_xmodal`.",
)

Dataset = Annotated[
    str,
    typer.Argument(
        metavar="DATASET",
        help="Folder (pictures with a table of captions, Parquet, WebDataset shards), file (.csv, "
        ".tsv, .jsonl, .parquet, .tar), Hub dataset, or `openmoji`, which needs no download.",
    ),
]
Config = Annotated[
    str | None,
    typer.Option("--config", help="Its config, if it has several."),
]
Split = Annotated[str | None, typer.Option(help="Its split, if it has several.")]
ImageColumn = Annotated[
    str | None,
    typer.Option(
        "--image-column",
        help="Column of the image, if it is not detected.",
    ),
]
CaptionColumn = Annotated[
    str | None,
    typer.Option("--caption-column", help="Column of the captions, if it is not detected."),
]
IdColumn = Annotated[
    str | None,
    typer.Option("--id-column", help="Column of the image id, if it is not detected."),
]
Device = Annotated[
    str | None, typer.Option(help="Device of the models: cpu, cuda; a GPU if there is one.")
]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object, and nothing else.")
]


@app.callback()
def main() -> None:
    """Image-text pairs that cannot be trusted: find the wrong ones, search the right ones."""


#: The options of `audit`, by the panels of its help.
_AUDIT_PANELS: dict[str | None, tuple[str, ...]] = {
    "Judge": (
        *("model_name_or_path", "vision_model_name_or_path", "text_model_name_or_path"),
        *("encoder_name_or_path", "reviews"),
    ),
    "Output": (
        "output",
        "clean",
        "clean_weights",
        "clean_threshold",
        "clean_precision",
        "drop",
        "force_clean",
        "compare",
        "shown",
    ),
    "Training": ("folds", "rounds", "epochs", "max_seq_length", "seed", "inject_noise"),
    None: (
        *("dataset_config_name", "split", "image_column", "caption_column", "id_column"),
        *("sample", "device", "keep_work"),
    ),
}


#: Those of `review`.
_REVIEW_PANELS: dict[str | None, tuple[str, ...]] = {
    None: (
        *("dataset_config_name", "split", "reviews", "reviewer", "order", "among"),
        *("host", "port", "open_browser", "image_column", "caption_column", "id_column"),
    ),
}


def _with_options(
    kind: Any, panels: Mapping[str | None, Sequence[str]], limits: Mapping[str, Limits]
) -> Callable[[Any], Any]:
    """Give a command options of a dataclass, with their defaults, helps and limits.

    Args:
        kind: The dataclass.
        panels: Fields that become options, by the panels of the help.
        limits: The limits of the options.
    """
    by_name = {field.name: field for field in fields(kind)}
    options = []
    for panel, names in panels.items():
        for name in names:
            own = limits.get(name, Limits())
            option = typer.Option(
                f"--{_option_name(name)}",
                *(["-o"] if name == "output" else []),
                help=by_name[name].metadata["help"],
                min=own.least,
                max=own.most,
                rich_help_panel=panel,
            )
            options.append(
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=by_name[name].default,
                    annotation=Annotated[by_name[name].type, option],
                )
            )

    def decorate(command: Any) -> Any:
        *arguments, as_json, _ = inspect.signature(command).parameters.values()
        command.__signature__ = inspect.Signature([*arguments, *options, as_json])
        return command

    return decorate


@app.command("audit")
@_with_options(AuditOptions, _AUDIT_PANELS, AUDIT)
def audit_command(
    context: typer.Context, dataset: Dataset, *, as_json: Json = False, **options: Any
) -> None:
    """Find the wrong pairs of a dataset.

    Writes a table of all pairs, worst first, a one-page report with pictures, and a summary. Files
    that do not decode and empty captions are skipped and listed. The same command resumes an audit
    that was stopped.

        noisy-xmodal audit photos/

        noisy-xmodal audit photos/captions.csv --clean photos-clean

        noisy-xmodal audit org/pairs --model openai/clip-vit-base-patch32 --json
    """

    def run() -> dict[str, Any]:
        from .auditing.run import audit

        noise_seed = options["seed"]
        return audit(AuditOptions(dataset, noise_seed=noise_seed, **options), typed_command())

    answer(context, AUDIT, NAMES, run, show_audit)


@app.command("review")
@_with_options(ReviewOptions, _REVIEW_PANELS, REVIEW)
def review_command(
    context: typer.Context,
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="The audit.parquet that an audit wrote.")
    ],
    dataset: Dataset,
    *,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Judge the doubtful pairs of an audit in the browser.

    Every decision is saved at once. `noisy-xmodal audit DATASET --reviews reviews.parquet` learns
    from them.

        noisy-xmodal review audit.parquet photos/ --open-browser
    """

    def run() -> dict[str, Any]:
        from .auditing.review import review

        return review(ReviewOptions(table, dataset, **options))

    answer(context, REVIEW, NAMES, run, show_review)


@app.command("search")
def search_command(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Two-tower model: NCR or another of this library with a cosine head, or a CLIP or "
            "SigLIP of the Hub.",
        ),
    ],
    dataset: Dataset,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Text, or path of a picture.")],
    config: Config = None,
    split: Split = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="Number of results.")] = 10,
    direction: Annotated[
        str,
        typer.Option(help="auto (by the query), text_to_image or image_to_text."),
    ] = "auto",
    reranker: Annotated[
        str | None,
        typer.Option(help="RCAR model that re-ranks the best results."),
    ] = None,
    shortlist: Annotated[int, typer.Option(min=1, help="Number of results to re-rank.")] = 32,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Picture of the results; JSON is written beside it."),
    ] = Path("search.png"),
    image_column: ImageColumn = None,
    caption_column: CaptionColumn = None,
    id_column: IdColumn = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Search pictures by words, or captions by a picture.

    The first search of a dataset computes its vectors and keeps them; later ones take a second.

        noisy-xmodal search runs/ncr openmoji "running woman"

        noisy-xmodal search runs/ncr openmoji my-drawing.png --reranker runs/rcar
    """

    def run() -> dict[str, Any]:
        from .search import search

        return search(
            model,
            dataset,
            query,
            config_name=config,
            split=split,
            top_k=top_k,
            direction=direction,
            reranker=reranker,
            shortlist=shortlist,
            image_column=image_column,
            caption_column=caption_column,
            id_column=id_column,
            output=output,
            device=device,
        )

    answer(context, SEARCH, NAMES, run, show_search)


if __name__ == "__main__":
    app()
