"""Whether the optimizer and the schedule that the arguments name can be made."""

from transformers import Trainer, get_scheduler

#: A schedule is tried for so many steps, for nobody knows yet how many there are.
_SOME_STEPS = 1000


def check_optimizer(trainer: Trainer) -> None:
    """See that the optimizer and the schedule can be made, before any long work.

    Args:
        trainer: The trainer.

    Raises:
        ValueError: If a package is not installed, or an argument is missing or impossible.
    """
    args, own = trainer.args, trainer.optimizer
    try:
        optimizer = trainer.create_optimizer()
    except (ImportError, TypeError, ValueError) as error:
        name = getattr(args.optim, "value", args.optim)
        raise ValueError(f"`optim` {name} cannot be used: {error}") from error
    finally:
        trainer.optimizer = own
    if trainer.lr_scheduler is not None:
        return
    try:
        get_scheduler(
            args.lr_scheduler_type,
            optimizer,
            args.get_warmup_steps(_SOME_STEPS),
            _SOME_STEPS,
            scheduler_specific_kwargs=args.lr_scheduler_kwargs,
        )
    except (TypeError, ValueError) as error:
        name = getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type)
        raise ValueError(
            f"`lr_scheduler_type` {name} cannot be used with `lr_scheduler_kwargs` "
            f"{args.lr_scheduler_kwargs or {}}: {error}"
        ) from error
