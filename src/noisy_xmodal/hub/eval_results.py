"""The result of a run as `.eval_results/*.yaml`, from which the Hub fills leaderboards.

An entry of this format is one number for one task of one benchmark: a dataset of the Hub whose
`eval.yaml` lists its tasks. A file is therefore only written for datasets with a name on the Hub,
and only for the split test. Results on the embedded OpenMoji data and on local folders are only in
the card's model index. The results are not verified: the format's token comes from evaluations that
the Hub ran itself.

Format: https://huggingface.co/docs/hub/eval-results
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.utils import yaml_dump

from ..files import write_text
from .model_card import CARD_KINDS, hub_id

EVAL_RESULTS = Path(".eval_results") / "noisy_xmodal.yaml"


def write_eval_results(folder: str | Path, results: Mapping[str, Any]) -> Path | None:
    """Write the test result of the best checkpoint atomically.

    If there is no entry, the file of an earlier run is removed.

    Args:
        folder: The folder of the run.
        results: Content of `results.json`. `dataset_id` is the dataset's name on the Hub,
            "org/name"; `dataset_task` the task in its `eval.yaml`, by default the configuration;
            `dataset_revision` its commit, if it is known.

    Returns:
        The file, or None if the dataset has no name on the Hub or no split test.
    """
    path = Path(folder) / EVAL_RESULTS
    entry = eval_result(results)
    if entry is None:
        path.unlink(missing_ok=True)
        return None
    write_text(path, yaml_dump(eval_result_entries_to_yaml([entry])))
    return path


def eval_result(results: Mapping[str, Any]) -> EvalResultEntry | None:
    """The entry of a run.

    Args:
        results: Content of `results.json`.

    Returns:
        The primary metric of the best checkpoint on test, or None, see `write_eval_results`.
    """
    dataset = results.get("dataset_id")
    if (
        dataset is None
        or "/" not in dataset
        or not hub_id(dataset)
        or "test" not in results["best"]
    ):
        return None
    kind = CARD_KINDS[results.get("task", "pairs")]
    notes = [f"{kind.primary} of {results['method']} on test, noise {results['dataset_config']}"]
    if results["best_epoch"] is not None:
        notes.append("checkpoint chosen on validation")
    if results["arguments"].get("shortlist_model_name_or_path"):
        notes.append("among the shortlists of another model")
    return EvalResultEntry(
        dataset_id=str(dataset),
        task_id=results.get("dataset_task", results["dataset_config"]),
        value=round(results["best"]["test"][kind.primary], kind.digits + 1),
        dataset_revision=results.get("dataset_revision"),
        notes="; ".join(notes),
    )
