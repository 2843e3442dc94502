"""Find the wrong pairs of a dataset: `noisy-xmodal audit` with the option names of this folder.

    python examples/audit.py --dataset_name photos/ --output audit.parquet
    python examples/audit.py --model_name_or_path runs/ncr --dataset_name DIR \
        --dataset_config_name cmp_40 --split train --output audit.parquet

The table has the columns pair_id, image_id, caption, clean_probability and loss, worst first, and
suggested captions and images; the report (.html) and a summary (.json) are written beside it.
"""

from dataclasses import dataclass, field

from noisy_xmodal.entry.quick_help import answer_help


@dataclass
class AuditArguments:
    """The data, the judge and the output files."""

    dataset_name: str = field(
        default="openmoji",
        metadata={"help": "Hub dataset, folder or file; OpenMoji by default."},
    )
    dataset_config_name: str | None = field(
        default=None, metadata={"help": "Its config, if it has several."}
    )
    split: str | None = field(
        default=None, metadata={"help": "Its split; train, or the only one, by default."}
    )
    image_column: str | None = field(
        default=None, metadata={"help": "Column of the image, if it is not detected."}
    )
    caption_column: str | None = field(
        default=None, metadata={"help": "Column of the captions, if it is not detected."}
    )
    id_column: str | None = field(
        default=None, metadata={"help": "Column of the image id, if it is not detected."}
    )
    inject_noise: str | None = field(
        default=None,
        metadata={"help": "Noise to inject first, such as cmp_20, to test the audit."},
    )
    noise_seed: int = field(default=0, metadata={"help": "Seed of that noise."})
    model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Model that judges: one of this library, a CLIP or a SigLIP. Without it, small "
            "models are trained on the data, and each judges pairs that it has not seen."
        },
    )
    vision_model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Vision model of the small models: one of transformers, imagenet (from the "
            "package index, the default if installed), or none to learn from pixels."
        },
    )
    output: str = field(default="audit.parquet", metadata={"help": "Table to write."})
    clean: str | None = field(
        default=None, metadata={"help": "Folder for the dataset without its wrong pairs."}
    )
    clean_weights: bool = field(
        default=False, metadata={"help": "Keep all pairs there, with their clean probability."}
    )
    clean_threshold: float = field(
        default=0.5, metadata={"help": "Clean probability below which a pair is dropped there."}
    )
    force_clean: bool = field(
        default=False,
        metadata={"help": "Write it even if the judge cannot tell which pairs are wrong."},
    )
    folds: int = field(default=3, metadata={"help": "Folds of the cross-fit."})
    rounds: int = field(default=2, metadata={"help": "Rounds of training."})
    epochs: int | None = field(
        default=None,
        metadata={"help": "Epochs of each training; by default from the data size."},
    )
    max_seq_length: int | None = field(
        default=None,
        metadata={
            "help": "Length of a caption in tokens; by default of the longest one, at most 256."
        },
    )
    seed: int = field(default=0, metadata={"help": "Random seed, except of the noise."})
    shown: int = field(default=60, metadata={"help": "Worst pairs in the report."})
    device: str | None = field(
        default=None, metadata={"help": "Device of the models; a GPU if there is one."}
    )
    keep_work: bool = field(default=False, metadata={"help": "Keep intermediate files."})
    disable_tqdm: bool = field(default=False, metadata={"help": "Hide progress bars."})


if __name__ == "__main__":
    answer_help(AuditArguments)  # the imports below take seconds

import sys
from pathlib import Path
from typing import Any

import datasets
from transformers.utils import logging

from noisy_xmodal.audit import AuditOptions, audit
from noisy_xmodal.auditing.cross_fit import CrossFitRecipe
from noisy_xmodal.entry.limits import AUDIT
from noisy_xmodal.entry.options import read_options
from noisy_xmodal.entry.terminal import plain_values
from noisy_xmodal.training.run import command_line, run_script


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Audit, and print the result and its files."""
    argv = sys.argv[1:] if argv is None else argv
    args = read_options(AuditArguments, AUDIT, argv)
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    found = audit(
        AuditOptions(
            args.dataset_name,
            args.dataset_config_name,
            args.split,
            args.image_column,
            args.caption_column,
            args.id_column,
            args.inject_noise,
            args.noise_seed,
            args.model_name_or_path,
            args.vision_model_name_or_path,
            Path(args.output),
            Path(args.clean) if args.clean else None,
            args.clean_weights,
            args.clean_threshold,
            CrossFitRecipe(
                args.folds,
                args.rounds,
                args.epochs,
                seed=args.seed,
                max_seq_length=args.max_seq_length,
            ),
            args.shown,
            args.device,
            keep_work=args.keep_work,
            progress=not args.disable_tqdm,
            command=command_line("examples/audit.py", argv),
            force_clean=args.force_clean,
        )
    )
    show(plain_values(found))
    return found


def show(found: dict[str, Any]) -> None:
    """Print the wrong share and the output files."""
    low, high = found["wrong_interval"]
    share, pairs = found["wrong_share"], f"{found['n_pairs']:,} pairs"
    if share is None:
        print(f"How many of {pairs} are wrong is unknown (at most {high:.1%}).")
    else:
        print(f"About {share:.1%} of {pairs} are wrong ({low:.1%} to {high:.1%}).")
    print(*found["left_out"], *found["warnings"], sep="\n")
    print(*(f"{name:8} {found[name]}" for name in ("report", "table", "summary")), sep="\n")


if __name__ == "__main__":
    run_script(main, AuditArguments)
