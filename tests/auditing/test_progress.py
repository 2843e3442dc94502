"""The line of progress counts all stages, and a rate of what was done since a stage began."""

from typing import Any

import pytest

from noisy_xmodal.auditing import progress
from noisy_xmodal.auditing.progress import (
    CLEANING,
    JUDGING,
    LOOKING,
    READING,
    TRAINING,
    AuditProgress,
)


class Bar:
    """Takes the place of tqdm."""

    def __init__(self, total: int, **_: Any) -> None:
        self.total, self.n, self.text = total, 0, ""

    def set_postfix_str(self, text: str, refresh: bool) -> None:
        self.text = text

    def update(self, n: float) -> None:
        self.n += n


def test_progress_of_a_resumed_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress, "tqdm", Bar)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    line = AuditProgress(n_shards=4, n_trainings=2, n_sample=30, cleans=True, hidden=False)
    bar: Any = line._bar
    line.begin(LOOKING)
    assert (bar.text, bar.n) == ("looking at other splits", 0)
    line.has_done(READING, 0, 10)
    line.begin(READING)
    assert bar.text == "reading shards, 1 of 4"
    clock[0] += 4
    line.has_done(READING, 1, 30)
    line.has_done(READING, 1, 30)
    assert bar.text == "reading shards, 2 of 4, 8 pairs/s"
    assert (bar.n, bar.total) == (40, 3 * 80 + 2 * 30)  # 80 pairs are expected
    line.has_done(READING, 2, 30)
    line.has_done(READING, 3, 30)
    line.begin(TRAINING)
    line.has_trained()
    assert bar.text == "training judges, 1 of 2"
    assert (bar.n, bar.total) == (100 + 30, 3 * 100 + 2 * 30)
    line.has_trained()
    line.has_done(JUDGING, 0, 10)
    line.begin(JUDGING)
    clock[0] += 2
    line.has_done(JUDGING, 1, 30)
    assert bar.text == "judging shards, 2 of 4, 15 pairs/s"
    line.has_done(JUDGING, 2, 30)
    line.has_done(JUDGING, 3, 30)
    assert (bar.n, bar.total) == (260, 360)
    line.begin(CLEANING)
    for number, n_pairs in enumerate((10, 30, 30, 30)):
        line.has_done(CLEANING, number, n_pairs)
    assert bar.n == bar.total == 360


def test_an_audit_that_cleans_nothing_has_a_stage_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "tqdm", Bar)
    line = AuditProgress(n_shards=1, n_trainings=0, n_sample=5, cleans=False, hidden=False)
    line.has_done(READING, 0, 5)
    line.has_done(JUDGING, 0, 5)
    bar: Any = line._bar
    assert bar.n == bar.total == 10
