"""A whole run of a training script: train or resume, then measure the last and the best epoch."""

import gc
import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from accelerate.utils import broadcast

from ..data.messages import script_spelling
from ..entry.door import enter
from ..evaluation import machine_facts, query_cost, shared_evaluation
from ..files import read_json
from .failures import explain_failures
from .interruption import stop_on_signals
from .trainer import RobustTrainer

_RESUME = "--resume_from_checkpoint"
#: Recall among fewer images than these tells little.
_FEW_IMAGES = 100


def command_line(script: str, argv: Sequence[str]) -> str:
    """The command that repeats a run from its beginning, for its record; without access tokens.

    Args:
        script: The training script.
        argv: Its arguments.
    """
    words = []
    for before, word in zip(["", *argv], argv, strict=False):
        if _RESUME in (before, word) or word.startswith(f"{_RESUME}="):
            continue
        if re.fullmatch(r"--\w*token", before):
            word = "..."
        words.append(re.sub(r"(?s)(--\w*token=).*|\bhf_\w{16,}", r"\1...", word))
    return shlex.join(["python", script, *words])


def run_script(main: Callable[[], Any], *kinds: Any) -> None:
    """Run a training script; an error that the user can correct ends it with one line.

    Args:
        main: The script.
        kinds: The dataclasses of its options, for messages that name them.

    Raises:
        SystemExit: After an error, or with 128 and the signal's number if it was stopped by one.
    """

    def work() -> None:
        main()
        leave_processes()

    enter(work, spell=script_spelling(*kinds))


def leave_processes() -> None:
    """Leave the process group that a run made; without one, do nothing.

    What is left of a trainer can keep the group's threads alive beyond its end; a thread that
    outlives the interpreter aborts the process, now and then. So the trainer is collected first.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.destroy_process_group()


def train_and_evaluate(
    trainer: RobustTrainer, splits: Mapping[str, Any], command: str
) -> dict[str, Any]:
    """Train, then evaluate the last checkpoint and the one that was best on validation.

    Args:
        trainer: The trainer; `args.resume_from_checkpoint` may be "True" for the newest one.
        splits: Splits to evaluate on, by name, as the trainer's evaluator takes them.
        command: The command line, for the record.

    Returns:
        Facts of the run, ready for JSON: what was actually trained (`epochs`, `steps`, the number
        of `divisions`) and what was `asked`; `last` and `best` hold the metrics by split, equal
        ones where `best_epoch` is None, as no checkpoint was chosen on validation. `train_seconds`
        are those since `resumed_at`, the step that this process went on from; if it trained no
        step, they, `asked` and the command are those on record. `sizes` are the numbers of images
        of the splits, or of pairs with classes. `cost` is that of a query of the last split, see
        `query_cost`.

    Raises:
        RunError: If the output folder could not be written, or another process died.
        TrainingInterrupted: If a signal came; a checkpoint is saved then.
    """
    args = trainer.args
    started = time.perf_counter()
    with explain_failures(args.output_dir), stop_on_signals(trainer):
        trainer.train()
    seconds = time.perf_counter() - started
    with explain_failures(args.output_dir):
        metrics = _evaluate(trainer, splits)
        cost = _cost(trainer, splits) if splits and args.should_save else None
    epochs = round(float(trainer.state.epoch or 0), 4)
    options = ("num_train_epochs", "max_steps", "warmup_epochs", "robust")
    results = {
        "epochs": epochs,
        "warmup_epochs": min(args.warmup_epochs, epochs),
        "steps": trainer.state.global_step,
        "divisions": len(trainer.pair_state.divided_at),
        "asked": {name: getattr(args, name) for name in options},
        "best_epoch": trainer.best_epoch(),
        "last": metrics["last"],
        "best": metrics["best"],
        "train_pairs": len(trainer.train_dataset),
        "cut_texts": None if trainer.cut_texts is None else trainer.cut_texts.to_dict(),
        "train_seconds": round(seconds, 1),
        "resumed_at": trainer._initial_global_step or None,
        "machine": machine_facts(args.device),
        "cost": cost,
        "command": command,
        "sizes": {name: getattr(rows, "n_images", len(rows)) for name, rows in splits.items()},
    }
    record = Path(args.output_dir, "results.json")
    if 0 < trainer._initial_global_step == trainer.state.global_step and record.is_file():
        earlier = read_json(record)
        kept = ("asked", "train_seconds", "resumed_at", "command")
        results |= {name: earlier[name] for name in kept if name in earlier}
    return results


def _cost(trainer: RobustTrainer, splits: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters, and seconds of a query of the last split."""
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    return query_cost(model, trainer.saved_processor(), splits[list(splits)[-1]])


def _evaluate(trainer: RobustTrainer, splits: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Metrics of the best and of the last checkpoint by split, in all processes."""
    # Without the wrapper of mixed precision: a loaded model has none.
    best = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    with shared_evaluation(best):
        metrics = {"best": {name: trainer.evaluator(best, rows) for name, rows in splits.items()}}
    # All processes must run the same evaluations.
    is_last = trainer.best_epoch() in (None, trainer.state.epoch)
    if broadcast(torch.tensor(int(is_last), device=trainer.args.device)):
        return metrics | {"last": metrics["best"]}
    last = type(best).from_pretrained(trainer.last_checkpoint()).to(best.device)
    with shared_evaluation():
        scores = {name: trainer.evaluator(last, rows) for name, rows in splits.items()}
    return metrics | {"last": scores}


def evaluated_checkpoints(results: Mapping[str, Any]) -> tuple[str, ...]:
    """The checkpoints of the results tables: the last one, and the best one if one was chosen."""
    return ("last",) if results["best_epoch"] is None else ("last", "best")


def describe_sizes(sizes: Mapping[str, int]) -> str:
    """A line with the sizes of the evaluated splits, which says where they are small.

    Args:
        sizes: Number of images, or of pairs with classes, by split.
    """
    few = f", few: figures of fewer than {_FEW_IMAGES} tell little"
    return "; ".join(
        f"{name}: {size:,}{few if size < _FEW_IMAGES else ''}" for name, size in sizes.items()
    )


def print_retrieval_table(results: Mapping[str, Any]) -> None:
    """Print retrieval on every evaluated split, last epoch and best on validation.

    With a recorded course there is a row of the epoch that an oracle would choose, too.

    Args:
        results: Facts of the run, with the names of the method, the dataset and its configuration.
    """
    columns = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "rsum")
    best = results["best_on_clean"]
    oracle = {} if best is None else {"oracle: best epoch, test": best["test"]}
    _print_table(results, columns, 28, "9.1f", oracle)


def print_label_table(results: Mapping[str, Any]) -> None:
    """Print mean average precision on every evaluated split, and the best epoch on test.

    Args:
        results: See `print_retrieval_table`.
    """
    best = results["best_on_test"]
    oracle = {} if best is None else {"oracle: best epoch on test, test": best["test"]}
    _print_table(results, ("i2t_map", "t2i_map", "map"), 36, "9.3f", oracle)


def _print_table(
    results: Mapping[str, Any],
    columns: Sequence[str],
    width: int,
    form: str,
    further: Mapping[str, Any] | None = None,
) -> None:
    rows = {
        f"{checkpoint} epoch, {split}": metrics
        for checkpoint in evaluated_checkpoints(results)
        for split, metrics in results[checkpoint].items()
    }
    print(f"\n{results['method']} on {results['dataset']} {results['dataset_config']}")
    if sizes := results.get("sizes"):
        print(describe_sizes(sizes))
    print(" " * width + "".join(f"{column:>9}" for column in columns))
    for label, metrics in (rows | dict(further or {})).items():
        print(f"{label:{width}}" + "".join(f"{metrics[column]:{form}}" for column in columns))
