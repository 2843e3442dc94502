"""The command line: `noisy-xmodal audit` and `noisy-xmodal search`.

Exit codes: 0 success, 1 an error (the line says whether it is a mistake or a bug), 2 a command line
that cannot be parsed, 128 + the signal number after a signal. With --json, standard output is one
JSON object, also for an error; everything else goes to standard error.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .cli_output import answer, show_audit, show_search, typed_command
from .entry.door import Ending, tell
from .entry.limits import AUDIT, SEARCH

#: Option names of the scripts in examples/, which the commands accept too.
_SAME = {
    "dataset-config-name": "config",
    "model-name-or-path": "model",
    "vision-model-name-or-path": "vision-model",
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


@app.command("audit")
def audit_command(
    context: typer.Context,
    dataset: Dataset,
    config: Config = None,
    split: Split = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Judge with this model: one of this library, or a CLIP or SigLIP of the Hub, such "
            "as openai/clip-vit-base-patch32. Without it, small models are trained on the data, "
            "and each judges pairs that it has not seen.",
            rich_help_panel="Judge",
        ),
    ] = None,
    vision_model: Annotated[
        str | None,
        typer.Option(
            "--vision-model",
            help="Vision model of the small models: one of the Hub, `imagenet` (from the package "
            "index, the default if installed), or `none` to learn from pixels.",
            rich_help_panel="Judge",
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Table of all pairs, worst first; the report (.html) and a summary (.json) are "
            "written beside it.",
            rich_help_panel="Output",
        ),
    ] = Path("audit.parquet"),
    clean: Annotated[
        Path | None,
        typer.Option(
            help="Write the dataset without its wrong pairs to this folder.",
            rich_help_panel="Output",
        ),
    ] = None,
    clean_weights: Annotated[
        bool,
        typer.Option(
            "--clean-weights",
            help="Keep all pairs there, with the column `clean_probability`.",
            rich_help_panel="Output",
        ),
    ] = False,
    clean_threshold: Annotated[
        float,
        typer.Option(
            "--clean-threshold",
            min=0,
            max=1,
            help="Drop pairs with a lower clean probability there.",
            rich_help_panel="Output",
        ),
    ] = 0.5,
    force_clean: Annotated[
        bool,
        typer.Option(
            "--force-clean",
            help="Write it even if the judge cannot tell which pairs are wrong.",
            rich_help_panel="Output",
        ),
    ] = False,
    shown: Annotated[
        int,
        typer.Option(min=1, help="Worst pairs in the report.", rich_help_panel="Output"),
    ] = 60,
    folds: Annotated[
        int, typer.Option(min=2, help="Folds of the cross-fit.", rich_help_panel="Training")
    ] = 3,
    rounds: Annotated[
        int,
        typer.Option(
            min=1,
            help="Rounds of training; from the second on, pairs are weighted by their clean "
            "probability.",
            rich_help_panel="Training",
        ),
    ] = 2,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Epochs of each training; depends on the size of the data by default.",
            rich_help_panel="Training",
        ),
    ] = None,
    max_seq_length: Annotated[
        int | None,
        typer.Option(
            "--max-seq-length",
            min=3,
            help="Length of a caption in tokens; by default that of the longest one, at most 256.",
            rich_help_panel="Training",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(min=0, max=2**32 - 1, help="Random seed.", rich_help_panel="Training"),
    ] = 0,
    inject_noise: Annotated[
        str | None,
        typer.Option(
            "--inject-noise",
            help="Try it out: inject noise such as cmp_20 first, and see what the audit finds.",
            rich_help_panel="Training",
        ),
    ] = None,
    image_column: ImageColumn = None,
    caption_column: CaptionColumn = None,
    id_column: IdColumn = None,
    device: Device = None,
    keep_work: Annotated[
        bool, typer.Option("--keep-work", help="Keep intermediate files.")
    ] = False,
    as_json: Json = False,
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
        from .audit import AuditOptions, audit
        from .auditing.cross_fit import CrossFitRecipe

        return audit(
            AuditOptions(
                dataset,
                config,
                split,
                image_column,
                caption_column,
                id_column,
                inject_noise,
                seed,
                model,
                vision_model,
                output,
                clean,
                clean_weights,
                clean_threshold,
                CrossFitRecipe(folds, rounds, epochs, seed=seed, max_seq_length=max_seq_length),
                shown,
                device,
                keep_work=keep_work,
                command=typed_command(),
                force_clean=force_clean,
            )
        )

    answer(context, AUDIT, NAMES, run, show_audit)


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
