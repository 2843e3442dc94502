"""Check of the optimizer and the learning-rate schedule."""

from transformers import Trainer, get_scheduler

#: Number of steps of the trial schedule; the actual number is not known yet.
_N_STEPS = 1000


def check_optimizer(trainer: Trainer) -> None:
    """Check before any long work that the optimizer and the schedule can be created.

    Args:
        trainer: The trainer.

    Raises:
        ValueError: If a package is not installed, or an argument is missing or invalid.
    """
    args, original = trainer.args, trainer.optimizer
    try:
        optimizer = trainer.create_optimizer()
    except (ImportError, TypeError, ValueError) as error:
        name = getattr(args.optim, "value", args.optim)
        raise ValueError(f"`optim` {name} cannot be used: {error}") from error
    finally:
        trainer.optimizer = original
    if trainer.lr_scheduler is not None:
        return
    try:
        get_scheduler(
            args.lr_scheduler_type,
            optimizer,
            args.get_warmup_steps(_N_STEPS),
            _N_STEPS,
            scheduler_specific_kwargs=args.lr_scheduler_kwargs,
        )
    except (TypeError, ValueError) as error:
        name = getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type)
        raise ValueError(
            f"`lr_scheduler_type` {name} cannot be used with `lr_scheduler_kwargs` "
            f"{args.lr_scheduler_kwargs or {}}: {error}"
        ) from error
