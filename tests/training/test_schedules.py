"""A schedule of several stages is the schedule of each stage, one after the other."""

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import LRScheduler

from noisy_xmodal.training import RobustTrainingArguments
from noisy_xmodal.training.schedules import create_schedule

RATES = (0.1, 0.01)


def optimizer() -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in RATES]
    return torch.optim.SGD(groups)


def rates_of(schedule: LRScheduler, n_steps: int) -> list[list[float]]:
    rates = []
    for _ in range(n_steps):
        rates.append(schedule.get_last_lr())
        schedule.optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize(
    "options",
    [
        {"lr_scheduler_type": "cosine", "warmup_steps": 0.25},
        {"lr_scheduler_type": "linear"},
        {"lr_scheduler_type": "constant"},
        {"lr_decay_epoch": 1, "lr_scheduler_type": "constant"},
    ],
)
def test_every_stage_has_the_schedule_of_its_length(tmp_path, options):
    args = RobustTrainingArguments(output_dir=str(tmp_path), use_cpu=True, **options)
    staged = rates_of(create_schedule(args, optimizer(), 20, 3, stages=(0, 2, 4, 9)), 20)
    parts = [rates_of(create_schedule(args, optimizer(), n, 3), n) for n in (6, 6, 8)]
    np.testing.assert_allclose(staged, np.concatenate(parts))


def test_a_schedule_that_follows_a_metric_has_no_stages(tmp_path):
    args = RobustTrainingArguments(
        output_dir=str(tmp_path), use_cpu=True, lr_scheduler_type="reduce_lr_on_plateau"
    )
    with pytest.raises(ValueError, match="cannot begin anew with each of 2 stages"):
        create_schedule(args, optimizer(), 20, 3, stages=(0, 2))
