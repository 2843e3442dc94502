"""What an audit is asked for, what is refused at once, and where it keeps its work."""

import hashlib
import json
import signal
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..data.builders.parquet_folder import check_out
from ..entry.outputs import check_output, check_writable, is_summary
from ..training.interruption import TrainingInterrupted
from .cross_fit import CrossFitRecipe
from .features import model_state
from .loading import LoadedRows

#: Pairs of lower clean probability are judged wrong.
THRESHOLD = 0.5


@dataclass(frozen=True)
class AuditOptions:
    """What to audit, by what, and where the answer goes.

    Attributes:
        dataset_name: Hub dataset, folder or file, as `load_pairs` takes it; "openmoji" for the
            embedded one.
        dataset_config_name: Its configuration, where it has several.
        split: Its split; the only one where there is one.
        image_column: See `load_pairs`, also for the next two.
        caption_column: The captions.
        id_column: What names the image.
        inject_noise: Noise to put into the pairs first, such as cmp_20, to see what is found.
        noise_seed: Seed of that noise.
        model_name_or_path: A model of pairs of this library, or a two-tower model of transformers;
            None to train small models on the data.
        vision_model_name_or_path: What small models see pictures with: a vision model of
            transformers, "imagenet" for EfficientNet-Lite0 of the package index, "none" to learn
            from pixels; None for "imagenet" where it is installed, else "none".
        output: Table to write (`.parquet`); the report (`.html`) and summary (`.json`) beside it.
        clean: Folder to write the dataset without its wrong pairs to, or None.
        clean_weights: Keep all pairs there, with a column of clean probabilities.
        clean_threshold: Clean probability below which a pair is dropped there.
        recipe: How small models are trained.
        shown: Worst pairs in the report.
        device: Where models run; None for a GPU where there is one.
        cache_dir: Where features of pictures are kept; None for the cache of `datasets`.
        keep_work: Keep what was made on the way.
        progress: Whether to show progress bars.
        command: The command line, for the record.
        force_clean: Write the clean dataset even if the judge cannot tell which pairs are wrong.
    """

    dataset_name: str
    dataset_config_name: str | None = None
    split: str | None = None
    image_column: str | None = None
    caption_column: str | None = None
    id_column: str | None = None
    inject_noise: str | None = None
    noise_seed: int = 0
    model_name_or_path: str | None = None
    vision_model_name_or_path: str | None = None
    output: Path = Path("audit.parquet")
    clean: Path | None = None
    clean_weights: bool = False
    clean_threshold: float = THRESHOLD
    recipe: CrossFitRecipe = field(default_factory=CrossFitRecipe)
    shown: int = 60
    device: str | None = None
    cache_dir: Path | None = None
    keep_work: bool = False
    progress: bool = True
    command: str = ""
    force_clean: bool = False


class AuditInterrupted(TrainingInterrupted):
    """An audit was stopped by a signal.

    Args:
        number: The signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number, "")
        self.args = (
            f"Stopped by {signal.Signals(number).name}. What is done is kept: the same command "
            "goes on from there.",
        )


def check_outputs(options: AuditOptions) -> None:
    """Refuse places that cannot be written, before any long work.

    Args:
        options: What is asked for.

    Raises:
        DatasetError: The folder for the clean dataset is not empty, or cannot be made.
        ValueError: The table has another ending or place than can be written, or the threshold is
            no probability.
    """
    if not 0 <= options.clean_threshold <= 1:
        raise ValueError(
            f"--clean_threshold is {options.clean_threshold}: give a probability from 0 to 1"
        )
    check_output(options.output, "--output", ".parquet", _is_table)
    summary, report = (options.output.with_suffix(ending) for ending in (".json", ".html"))
    is_second = options.output.exists() or is_summary(summary)
    for beside in (summary, report):
        if beside.exists() and not is_second:
            raise ValueError(
                f"--output is {options.output}, and {beside}, which would be written beside it, is "
                "not of an audit: give another --output, or remove that file"
            )
    if options.clean is not None:
        if options.clean.absolute() in {
            path.absolute() for path in (options.output, summary, report)
        }:
            raise ValueError(f"--clean and --output are both {options.clean}: give two places")
        if options.clean.is_dir() and any(options.clean.iterdir()):
            raise ValueError(
                f"--clean {options.clean} is not empty: give another folder, or remove it first"
            )
        check_out(options.clean, overwrite=False)
        check_writable(options.clean, "--clean")


def _is_table(path: Path) -> bool:
    """Whether a file is the table of an audit."""
    try:
        return {"pair_id", "clean_probability"} <= set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError):
        return False


def work_folder(options: AuditOptions, rows: LoadedRows) -> Path:
    """Where this very audit keeps what it makes on the way.

    Args:
        options: What is asked for.
        rows: What is audited.

    Returns:
        A folder whose name says all that its content depends on.
    """
    parts = [
        rows.seen.fingerprint(),
        hashlib.sha256("\0".join(rows.captions).encode()).hexdigest(),
        json.dumps(np.diff(rows.first_pairs).tolist()),
        *(
            model_state(name) if name else ""
            for name in (options.model_name_or_path, options.vision_model_name_or_path)
        ),
        json.dumps(asdict(options.recipe)),
    ]
    name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return options.output.absolute().with_suffix(".work") / name
