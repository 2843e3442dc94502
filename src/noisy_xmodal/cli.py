"""The command line: `noisy-xmodal audit` and `noisy-xmodal search`.

Exit codes: 0 done, 1 the data or an option does not fit (or the program is at fault, and says
so), 2 the command line cannot be read, 128 and the signal's number when stopped. With --json,
standard output holds one JSON object, also of an error, and everything else goes to standard error.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .cli_output import answer, show_audit, show_search, typed_command
from .entry.door import Ending, tell
from .entry.rules import AUDIT, SEARCH

#: Names that the scripts in examples/ have for the same; theirs are understood too.
_SAME = {
    "dataset-config-name": "config",
    "model-name-or-path": "model",
    "vision-model-name-or-path": "vision-model",
}


def _option_name(name: str) -> str:
    dashed = name.replace("_", "-")
    return _SAME.get(dashed, dashed)


#: What the tables of options call the parameters of the commands below.
NAMES = {_name.replace("-", "_"): _long.replace("-", "_") for _long, _name in _SAME.items()}
NAMES |= {"dataset": "dataset_name", "as_json": "json"}


class _Commands(TyperGroup):
    """The commands; a command line that cannot be read ends in a line, as other errors do."""

    def main(self, args: Sequence[str] | None = None, *others: Any, **options: Any) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(words, *others, **(options | {"standalone_mode": False}))
        except Exception as error:
            if not hasattr(error, "format_message"):
                raise
            if not words:
                sys.exit(2)  # the help is on the screen
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
    typer.Option("--config", help="Its configuration, where there are several."),
]
Split = Annotated[str | None, typer.Option(help="Its split, where there are several.")]
ImageColumn = Annotated[
    str | None,
    typer.Option(
        "--image-column",
        help="Column of the image, where it is not found by itself.",
    ),
]
CaptionColumn = Annotated[
    str | None,
    typer.Option("--caption-column", help="Column of the captions, likewise."),
]
IdColumn = Annotated[
    str | None,
    typer.Option("--id-column", help="Column that names the image, likewise."),
]
Device = Annotated[
    str | None, typer.Option(help="Where models run: cpu, cuda; a GPU where there is one.")
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
            help="Judge with this model: one trained here, or a CLIP or SigLIP of the Hub, such as "
            "openai/clip-vit-base-patch32. Without it, small models are trained on the data, each "
            "of which judges what it has not seen.",
            rich_help_panel="Who judges",
        ),
    ] = None,
    vision_model: Annotated[
        str | None,
        typer.Option(
            "--vision-model",
            help="What the small models see pictures with: a vision model of the Hub, `imagenet` "
            "(of the package index, the default where installed), or `none` to learn from pixels.",
            rich_help_panel="Who judges",
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Table of all pairs, worst first; the report (.html) and a summary (.json) are "
            "written beside it.",
            rich_help_panel="What comes out",
        ),
    ] = Path("audit.parquet"),
    clean: Annotated[
        Path | None,
        typer.Option(
            help="Write the dataset without its wrong pairs to this folder.",
            rich_help_panel="What comes out",
        ),
    ] = None,
    clean_weights: Annotated[
        bool,
        typer.Option(
            "--clean-weights",
            help="Keep all pairs there, with the column `clean_probability`.",
            rich_help_panel="What comes out",
        ),
    ] = False,
    clean_threshold: Annotated[
        float,
        typer.Option(
            "--clean-threshold",
            min=0,
            max=1,
            help="Drop pairs of a lower clean probability there.",
            rich_help_panel="What comes out",
        ),
    ] = 0.5,
    force_clean: Annotated[
        bool,
        typer.Option(
            "--force-clean",
            help="Write it even if the judge cannot tell which pairs are wrong.",
            rich_help_panel="What comes out",
        ),
    ] = False,
    shown: Annotated[
        int,
        typer.Option(min=1, help="Worst pairs in the report.", rich_help_panel="What comes out"),
    ] = 60,
    folds: Annotated[
        int, typer.Option(min=2, help="Parts of the cross-fit.", rich_help_panel="Training")
    ] = 3,
    rounds: Annotated[
        int,
        typer.Option(
            min=1,
            help="Rounds of training; from the second on, pairs count as much as they are "
            "believed.",
            rich_help_panel="Training",
        ),
    ] = 2,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Epochs of each training; by the size of the data if left out.",
            rich_help_panel="Training",
        ),
    ] = None,
    max_seq_length: Annotated[
        int | None,
        typer.Option(
            "--max-seq-length",
            min=3,
            help="Tokens that are read of a caption; as many as the longest has, at most 256, if "
            "left out.",
            rich_help_panel="Training",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(min=0, max=2**32 - 1, help="Seed of everything.", rich_help_panel="Training"),
    ] = 0,
    inject_noise: Annotated[
        str | None,
        typer.Option(
            "--inject-noise",
            help="Try it out: put noise such as cmp_20 into the pairs first and see what is found.",
            rich_help_panel="Training",
        ),
    ] = None,
    image_column: ImageColumn = None,
    caption_column: CaptionColumn = None,
    id_column: IdColumn = None,
    device: Device = None,
    keep_work: Annotated[
        bool, typer.Option("--keep-work", help="Keep what was made on the way.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Find the wrong pairs of a dataset.

    Writes a table of all pairs, worst first, a one-page report with pictures, and a summary. Files
    that do not decode and empty captions are left out and named. An audit that was stopped goes on
    when the same command is given again.

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
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Words, or the path of a picture.")],
    config: Config = None,
    split: Split = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="Answers.")] = 10,
    direction: Annotated[
        str,
        typer.Option(help="auto (by the query), text_to_image or image_to_text."),
    ] = "auto",
    reranker: Annotated[
        str | None,
        typer.Option(help="RCAR model that puts the best answers in order by joint passes."),
    ] = None,
    shortlist: Annotated[
        int, typer.Option(min=1, help="Answers that the reranker puts in order.")
    ] = 32,
    index: Annotated[
        str,
        typer.Option(help="auto (exact up to 200,000 vectors, cells beyond), exact, ivf or hnsw."),
    ] = "auto",
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Picture of the answers; JSON is written beside it."),
    ] = Path("search.png"),
    image_column: ImageColumn = None,
    caption_column: CaptionColumn = None,
    id_column: IdColumn = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Search pictures by words, or captions by a picture.

    The vectors of a dataset are made at the first search and kept; the next one takes a second.

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
            index=index,
            image_column=image_column,
            caption_column=caption_column,
            id_column=id_column,
            output=output,
            device=device,
        )

    answer(context, SEARCH, NAMES, run, show_search)


if __name__ == "__main__":
    app()
