"""The result of a run as `.eval_results/*.yaml`, from which the Hub fills leaderboards.

An entry of this format is one number for one task of one benchmark: a dataset of the Hub whose
`eval.yaml` lists its tasks. So a file is only written for data that has a name on the Hub, and only
for the split test. The embedded OpenMoji data and local folders have none; their figures stand in
the card's model index alone. Nothing here is verified: the format's token comes from evaluations
that the Hub ran itself.

Format: https://huggingface.co/docs/hub/eval-results
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.utils import yaml_dump

from .model_card import CARD_KINDS, hub_id

EVAL_RESULTS = Path(".eval_results") / "noisy_xmodal.yaml"


def write_eval_results(folder: str | Path, results: Mapping[str, Any]) -> Path | None:
    """Write what the best checkpoint measured on test, aside and then renamed.

    A file of an earlier run is removed where this run has nothing to say.

    Args:
        folder: The folder of the run.
        results: What the training script wrote to `results.json`. `dataset_id` is the dataset's
            name on the Hub, "org/name"; `dataset_task` the task in its `eval.yaml`, by default the
            configuration; `dataset_revision` its commit, if that is known.

    Returns:
        The file, or None where the format cannot be honest: the data has no name on the Hub, or
        there is no split test.
    """
    path = Path(folder) / EVAL_RESULTS
    entry = eval_result(results)
    if entry is None:
        path.unlink(missing_ok=True)
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    aside.write_text(yaml_dump(eval_result_entries_to_yaml([entry])), encoding="utf-8")
    os.replace(aside, path)
    return path


def eval_result(results: Mapping[str, Any]) -> EvalResultEntry | None:
    """The one entry of a run.

    Args:
        results: What the training script wrote to `results.json`.

    Returns:
        The metric that chooses checkpoints, of the best checkpoint on test, or None.
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
