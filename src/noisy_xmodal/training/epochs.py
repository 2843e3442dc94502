"""Which epoch a run is in, whatever rounding has done to the Trainer's own fraction."""

from math import ceil

from transformers import TrainerState

_ROUNDING = 1e-6


def epoch_of(state: TrainerState) -> int:
    """The epoch, from 0, that begins or runs."""
    return int((state.epoch or 0) + _ROUNDING)


def ended_epoch(state: TrainerState) -> int:
    """The epoch, from 0, that ends; the last one of a run may be a part of one."""
    return ceil((state.epoch or 0) - _ROUNDING) - 1


def is_between_epochs(state: TrainerState) -> bool:
    """Whether the last step ended an epoch, or there was none; False in the middle of an epoch."""
    return abs((state.epoch or 0) - round(state.epoch or 0)) < _ROUNDING
