"""Options of an audit, their checks, and the folder of its intermediate files."""

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
from .loading import AuditRows

#: Pairs with a lower clean probability are judged wrong.
THRESHOLD = 0.5


@dataclass(frozen=True)
class AuditOptions:
    """What to audit, the judge, and the output files.

    Attributes:
        dataset_name: Hub dataset, folder or file, as `load_pairs` takes it; "openmoji" for the
            embedded one.
        dataset_config_name: Its config, if it has several.
        split: Its split; None for the only one.
        image_column: See `load_pairs`, also for the next two.
        caption_column: The captions.
        id_column: The image ids.
        inject_noise: Noise to inject first, such as cmp_20, to test the audit.
        noise_seed: Seed of that noise.
        model_name_or_path: A model of pairs of this library, or a two-tower model of transformers;
            None to train small models on the data.
        vision_model_name_or_path: Vision model of the small models: one of transformers,
            "imagenet" for EfficientNet-Lite0 from the package index, "none" to learn from pixels;
            None for "imagenet" if it is installed, else "none".
        output: Table to write (`.parquet`); the report (`.html`) and summary (`.json`) beside it.
        clean: Folder to write the dataset without its wrong pairs to, or None.
        clean_weights: Keep all pairs there, with a column of clean probabilities.
        clean_threshold: Clean probability below which a pair is dropped there.
        recipe: How small models are trained.
        shown: Number of worst pairs in the report.
        device: Device of the models; None for a GPU if there is one.
        cache_dir: Folder for features of pictures; None for the cache of `datasets`.
        keep_work: Keep intermediate files.
        progress: Whether to show progress bars.
        command: The command line, for the report.
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
    """A signal stopped an audit.

    Args:
        number: The signal number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number, "")
        self.args = (
            f"Stopped by {signal.Signals(number).name}. Finished parts are kept: the same command "
            "resumes.",
        )


def check_outputs(options: AuditOptions) -> None:
    """Refuse output files that cannot be written, before any long work.

    Args:
        options: The options.

    Raises:
        DatasetError: The folder for the clean dataset is not empty or cannot be created.
        ValueError: The table has another suffix or cannot be written, or the threshold is not a
            probability.
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
                f"--output is {options.output}, and {beside}, which an audit writes too, is "
                "another kind of file: give another --output, or remove that file"
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


def work_folder(options: AuditOptions, rows: AuditRows) -> Path:
    """The folder of the intermediate files of an audit.

    Args:
        options: The options.
        rows: The rows to audit.

    Returns:
        A folder whose name is a digest of everything that its content depends on.
    """
    parts = [
        rows.scan.fingerprint(),
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
