"""How a training script begins and ends, with everything in the output folder and on the Hub.

begin_run(args)  # before any long work
...
save_run(trainer, results)
...  # pictures that the card is to show
publish_run(trainer, results)
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
from datasets import Dataset, DatasetDict
from transformers import TrainingArguments, set_seed
from transformers.utils import logging

from ..data import LabelDataset, PairDataset, counted_noise
from ..entry.outputs import check_writable
from ..evaluation import calibrate_on
from ..files import write_json
from ..training import RobustTrainer
from ..training.curve import RIGHT_VALIDATION, best_by_oracle
from ..training.integrity import check_beginning
from ..training.script import Choice
from ..training.splits import dataset_label, validation_facts
from .eval_results import write_eval_results
from .model_card import hub_id, write_model_card
from .publish import check_can_publish, publish_folder


def begin_run(args: TrainingArguments) -> None:
    """See that a run can be written and pushed; set its seed and progress bars.

    Args:
        args: Options of the run.

    Raises:
        ValueError: If the output folder cannot be written.
        FileExistsError: If it holds checkpoints of another run.
        CheckpointError: If there is no checkpoint to resume from.
        PublishError: If nobody is logged in, or may not write to the repository.
    """
    if args.disable_tqdm:
        logging.disable_progress_bar()
        datasets.disable_progress_bars()
    if args.should_save:
        check_writable(Path(args.output_dir), "--output_dir", folder=True)
    check_beginning(args.output_dir, args.resume_from_checkpoint)
    reserve_repository(args)
    set_seed(args.seed)


def reserve_repository(args: TrainingArguments) -> None:
    """See that what `push_to_hub` asks for can be done; `hub_model_id` is a whole name then.

    Args:
        args: Options of the run. The name of the output folder stands for a `hub_model_id`.

    Raises:
        PublishError: If nobody is logged in, or may not write there.
    """
    if args.push_to_hub:
        name = args.hub_model_id or Path(args.output_dir).resolve().name
        args.hub_model_id = check_can_publish(name, args.hub_token, args.hub_private_repo)


def data_facts(name: str | None, config: str | None, train: Dataset) -> dict[str, Any]:
    """The id of a dataset on the Hub, and its licence, for the results.

    Args:
        name: What the dataset was loaded by; None for the embedded one.
        config: Its configuration.
        train: Its training split.
    """
    dataset_id = hub_id(name)
    home = (
        {}
        if dataset_id is None
        else {"dataset_id": dataset_id, "dataset_task": config or "default"}
    )
    return home | ({"data_license": train.info.license} if train.info.license else {})


def pair_results(
    trainer: RobustTrainer, choice: Choice, data: Any, dataset: DatasetDict, drops: bool
) -> dict[str, Any]:
    """What the results of a run on pairs with captions say of its method and its data.

    Args:
        trainer: The trainer.
        choice: The method and the recipe.
        data: `PairArguments`.
        dataset: The splits, before wrong pairs were dropped.
        drops: Whether the oracle's wrong pairs were dropped.
    """
    name, config = dataset_label(data)
    facts = _facts(trainer, choice, data, dataset, PairDataset(dataset["train"]))
    if drops and not trainer.method.drops_noisy_pairs:
        facts["method"] += ", noisy pairs dropped by the oracle"
    best = None  # a course in the folder may be an earlier run's
    if data.record_course:
        best = best_by_oracle(trainer.args.output_dir, RIGHT_VALIDATION, "rsum")
    networks = {"networks": trainer.method.n_networks}
    return facts | networks | {"dataset": name, "dataset_config": config, "best_on_clean": best}


def label_results(
    trainer: RobustTrainer, choice: Choice, data: Any, dataset: DatasetDict
) -> dict[str, Any]:
    """What the results of a run on pairs with classes say of its method and its data.

    Args:
        trainer: The trainer.
        choice: The method and the recipe.
        data: `LabelDataArguments`.
        dataset: The splits.
    """
    return {
        **_facts(trainer, choice, data, dataset, LabelDataset(dataset["train"])),
        "task": "classes",
        "dataset": Path(data.dataset_name).name if data.dataset_name else "openmoji categories",
        "dataset_config": data.inject_noise or data.dataset_config_name or "default",
        "best_on_test": best_by_oracle(trainer.args.output_dir, "test", "map"),
    }


def _facts(
    trainer: RobustTrainer, choice: Choice, data: Any, dataset: DatasetDict, samples: Any
) -> dict[str, Any]:
    title = trainer.method.run_title()
    return {
        **data_facts(data.dataset_name, data.dataset_config_name, dataset["train"]),
        **validation_facts(dataset),
        "method": title if trainer.audit is None else f"{title}, with an audit",
        "method_name": choice.name,
        "citation": trainer.method.citation,
        "noise": counted_noise(dataset["train"], samples),
        "recipe": choice.recipe,
    }


def save_run(trainer: RobustTrainer, results: Mapping[str, Any]) -> None:
    """Write the model, its processor and results.json into the output folder.

    Before that the model learns on the validation split what its score says of a pair, where its
    score is not the log-odds of a match already (see `calibrate_on`).

    Args:
        trainer: The trainer, with the model to keep.
        results: Facts of the run.
    """
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    if hasattr(model.config, "match_scale"):
        try:
            calibrate_on(model, trainer.saved_processor(), trainer.eval_dataset, trainer.args.seed)
        except ValueError as error:
            print(f"The model's scores are not calibrated: {error}.")
    trainer.save_model(trainer.args.output_dir)
    write_json(Path(trainer.args.output_dir) / "results.json", results)


def publish_run(trainer: RobustTrainer, results: Mapping[str, Any]) -> None:
    """Write the card, send the folder to the Hub where `push_to_hub` says so, and say how to load.

    Args:
        trainer: The trainer, after `save_run`.
        results: Facts of the run.

    Raises:
        PublishError: If the Hub refuses; everything is in the output folder all the same.
    """
    args, out = trainer.args, Path(trainer.args.output_dir)
    name = args.hub_model_id if args.push_to_hub else None
    write_model_card(out, results, name)
    write_eval_results(out, results)
    print(f"\nLoad it:  import noisy_xmodal; AutoModel.from_pretrained({str(out)!r})")
    if name is not None:
        url = publish_folder(
            out,
            name,
            private=args.hub_private_repo,
            token=args.hub_token,
            revision=args.hub_revision,
            commit_message=f"{results['method']} on {results['dataset']}",
        )
        print(f"Published at {url}, from where AutoModel.from_pretrained({name!r}) loads it.")
