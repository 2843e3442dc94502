"""Learning rate schedules: those of transformers, a step, and one for each stage of a training."""

from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import get_scheduler
from transformers.optimization import get_wsd_schedule


def create_schedule(
    args: Any, optimizer: Optimizer, n_steps: int, epoch_steps: int, stages: Sequence[int] = (0,)
) -> LRScheduler:
    """Create the schedule of a training: in every stage the same one, over the stage's length.

    Args:
        args: The training arguments.
        optimizer: Optimizer whose learning rate it sets.
        n_steps: Steps of the training.
        epoch_steps: Steps of an epoch.
        stages: First epochs of the stages, from 0, ascending.

    Raises:
        ValueError: If there are several stages, and the schedule is no function of the step.
    """
    starts = [stage * epoch_steps for stage in stages if stage * epoch_steps < n_steps]
    if len(starts) < 2:
        return _one_schedule(args, optimizer, n_steps, epoch_steps)
    ends = [*starts[1:], n_steps]
    factors = []
    for start, end in zip(starts, ends, strict=True):
        schedule = _one_schedule(args, optimizer, end - start, epoch_steps)
        if not isinstance(schedule, LambdaLR):
            raise ValueError(
                f"--lr_scheduler_type {args.lr_scheduler_type} cannot begin anew with each of "
                f"{len(stages)} stages: choose another, such as cosine."
            )
        factors.append(schedule.lr_lambdas[0])

    def factor(step: int) -> float:
        stage = max(index for index, start in enumerate(starts) if start <= step)
        return float(factors[stage](step - starts[stage]))

    return LambdaLR(optimizer, factor)


def _one_schedule(args: Any, optimizer: Optimizer, n_steps: int, epoch_steps: int) -> LRScheduler:
    if args.lr_decay_epoch:
        return get_wsd_schedule(
            optimizer,
            num_warmup_steps=0,
            num_stable_steps=args.lr_decay_epoch * epoch_steps,
            num_decay_steps=0,
            min_lr_ratio=0.1,
        )
    schedule: LRScheduler = get_scheduler(
        args.lr_scheduler_type,
        optimizer=optimizer,
        num_warmup_steps=args.get_warmup_steps(n_steps),
        num_training_steps=n_steps,
        scheduler_specific_kwargs=args.lr_scheduler_kwargs,
    )
    return schedule
