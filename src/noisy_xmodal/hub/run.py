"""How a training script ends: everything in the output folder, and on the Hub where it was asked.

reserve_repository(args)  # before any long work
...
save_run(trainer, results)
...  # pictures that the card is to show
publish_run(trainer, results)
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import TrainingArguments

from ..evaluation import calibrate_on
from ..training import RobustTrainer
from ..training.files import write_json
from .eval_results import write_eval_results
from .model_card import hub_id, write_model_card
from .publish import check_can_publish, publish_folder


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
    """What the results say of data that has a home on the Hub, and of its licence.

    Args:
        name: What the dataset was loaded by; None for the embedded one.
        config: Its configuration.
        train: Its training split.
    """
    found = hub_id(name)
    home = {} if found is None else {"dataset_id": found, "dataset_task": config or "default"}
    return home | ({"data_license": train.info.license} if train.info.license else {})


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
