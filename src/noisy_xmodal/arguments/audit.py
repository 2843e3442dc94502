"""Options of an audit: of `audit()`, of the command and of `examples/audit.py`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..entry.limits import AUDIT
from ..entry.options import OptionError, check_value

#: Pairs with a lower clean probability are judged wrong.
THRESHOLD = 0.5
#: The options of the training of the small models.
_RECIPE = ("folds", "rounds", "epochs", "batch_size", "learning_rate", "seed", "max_seq_length")

#: Kinds of trouble that need no judge, and what they are.
TROUBLES = {
    "tiny_images": "images whose shorter side has less than 32 pixels",
    "long_images": "images more than five times as long as wide, or as wide as long",
    "flat_images": "images of one colour",
    "copied_images": "images that look like an earlier one",
    "placeholder_images": "one picture at least five times, with different captions",
    "leaked_images": "images that look like one of another split",
    "repeated_captions": "captions that ten or more images have",
    "leaked_captions": "captions that another split has too",
    "file_names": "captions that are names of files",
    "urls": "captions that are mostly URLs",
    "markup": "captions with HTML",
    "digits": "captions that are mostly digits",
    "other_language": "captions in another language than most",
}


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class AuditOptions:
    """What to audit, the judge, and the output files; the help of each option says more.

    Raises:
        OptionError: If a number is out of range.
    """

    dataset_name: str = _option(
        "openmoji",
        "Folder (pictures with a table of captions, Parquet, WebDataset shards), file (.csv, .tsv, "
        ".jsonl, .parquet, .tar), Hub dataset, or `openmoji`, which needs no download.",
    )
    dataset_config_name: str | None = _option(None, "Its config, if it has several.")
    split: str | None = _option(None, "Its split; train, or the only one, by default.")
    image_column: str | None = _option(None, "Column of the image, if it is not detected.")
    caption_column: str | None = _option(None, "Column of the captions, if it is not detected.")
    id_column: str | None = _option(None, "Column of the image id, if it is not detected.")
    inject_noise: str | None = _option(
        None, "Try it out: inject noise such as cmp_20 first, and see what the audit finds."
    )
    noise_seed: int = _option(0, "Seed of that noise.")
    model_name_or_path: str | None = _option(
        None,
        "Judge with this model: one of this library, or a CLIP or SigLIP of the Hub, such as "
        "openai/clip-vit-base-patch32. Without it, small models are trained on the data, and each "
        "judges pairs that it has not seen.",
    )
    vision_model_name_or_path: str | None = _option(
        None,
        "Vision model of the small models: one of the Hub, `imagenet` (from the package index, the "
        "default if installed), or `none` to learn from pixels.",
    )
    text_model_name_or_path: str | None = _option(
        None,
        "Text model that the small models read captions with, beside words: one of the Hub, "
        "`minilm` (from the package index, the default if installed), or `none` for words alone.",
    )
    encoder_name_or_path: str | None = _option(
        None,
        "Two-tower model, such as openai/clip-vit-base-patch32, or a pair such as "
        "`imagenet+minilm`: the small models are trained on its image and text vectors, so that "
        "each still judges pairs that it has not seen.",
    )
    reviews: Path | None = field(
        default=None,
        metadata={
            "help": "Decisions of people, which `noisy-xmodal review` wrote: models are trained "
            "with them, and they are the result for the reviewed pairs."
        },
    )
    output: Path = field(
        default=Path("audit.parquet"),
        metadata={
            "help": "Table of all pairs, worst first; the report (.html) and a summary (.json) are "
            "written beside it."
        },
    )
    clean: Path | None = field(
        default=None,
        metadata={"help": "Write the dataset without its wrong pairs to this folder."},
    )
    clean_weights: bool = _option(
        False, "Keep all pairs there, with the column `clean_probability`."
    )
    clean_threshold: float = _option(THRESHOLD, "Drop pairs with a lower clean probability there.")
    clean_precision: float | None = _option(
        None,
        "Choose that threshold so that this share of the kept pairs, such as .99, is expected to "
        "be right.",
    )
    drop: str | None = _option(
        None,
        "Kinds of trouble whose pairs are dropped there too, separated by commas, or `all`: "
        f"{', '.join(TROUBLES)}.",
    )
    force_clean: bool = _option(
        False, "Write it even if the judge cannot tell which pairs are wrong."
    )
    compare: Path | None = field(
        default=None, metadata={"help": "Table of an earlier audit: say what has changed since."}
    )
    shown: int = _option(60, "Worst pairs in the report.")
    folds: int = _option(3, "Folds of the cross-fit.")
    rounds: int = _option(
        2,
        "Rounds of training; from the second on, pairs are weighted by their clean probability.",
    )
    epochs: int | None = _option(
        None,
        "Epochs of each training; by default as many as make 300 steps, or 600 with a text model "
        "for less than 10,000 pairs, 4 to 30.",
    )
    batch_size: int | None = _option(
        None, "Pairs of a mini-batch; by default 256, or 64 of less than 10,000 pairs."
    )
    learning_rate: float = _option(1e-3, "Highest learning rate, which falls by a cosine.")
    max_seq_length: int | None = _option(
        None, "Length of a caption in tokens; by default that of the longest one, at most 256."
    )
    seed: int = _option(0, "Random seed.")
    sample: int | None = _option(
        None,
        "Audit by parts, for sets too large for memory: train on about this many pairs, and judge "
        "shards (tars, Parquet files) one by one. The table is a folder of parts. The default "
        "under a launcher of several processes, with 100,000 pairs.",
    )
    device: str | None = _option(None, "Device of the models: cpu, cuda; a GPU if there is one.")
    cache_dir: Path | None = field(
        default=None,
        metadata={"help": "Folder of the features of pictures; by default that of `datasets`."},
    )
    keep_work: bool = _option(False, "Keep intermediate files.")
    disable_tqdm: bool = _option(False, "Hide progress bars.")

    def __post_init__(self) -> None:
        for name, limits in AUDIT.items():
            check_value(name, getattr(self, name), limits)
        unknown = set(self.kinds_to_drop) - set(TROUBLES)
        if unknown:
            raise OptionError(
                f"--drop has {', '.join(sorted(unknown))}: choose some of {', '.join(TROUBLES)}, "
                "separated by commas, or `all`"
            )

    @property
    def kinds_to_drop(self) -> list[str]:
        """The names that `drop` lists."""
        if self.drop == "all":
            return list(TROUBLES)
        return [name.strip() for name in (self.drop or "").split(",") if name.strip()]

    @property
    def report(self) -> Path:
        """The report beside the table."""
        return self.output.with_suffix(".html")

    @property
    def summary(self) -> Path:
        """The summary beside the table."""
        return self.output.with_suffix(".json")

    def recipe(self) -> dict[str, Any]:
        """How the small models are trained, for the summary."""
        return {name: getattr(self, name) for name in _RECIPE}
