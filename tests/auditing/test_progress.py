"""The line of progress counts all stages, and a rate of what was done since a stage began."""

from typing import Any

import pytest

from noisy_xmodal.auditing import progress
from noisy_xmodal.auditing.progress import AuditProgress


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
    line = AuditProgress(n_shards=4, n_trainings=2, n_sample=30, hidden=False)
    bar: Any = line._bar
    line.has_read(0, 10)
    line.begin("reading shards")
    assert bar.text == "reading shards, 1 of 4"
    clock[0] += 4
    line.has_read(1, 30)
    line.has_read(1, 30)
    assert bar.text == "reading shards, 2 of 4, 8 pairs/s"
    assert (bar.n, bar.total) == (40, 2 * 80 + 2 * 30)  # 80 pairs are expected
    line.has_read(2, 30)
    line.has_read(3, 30)
    line.begin("training judges")
    line.has_trained()
    assert bar.text == "training judges, 1 of 2"
    assert (bar.n, bar.total) == (100 + 30, 2 * 100 + 2 * 30)
    line.has_trained()
    line.has_judged(0, 10)
    line.begin("judging shards")
    clock[0] += 2
    line.has_judged(1, 30)
    assert bar.text == "judging shards, 2 of 4, 15 pairs/s"
    line.has_judged(2, 30)
    line.has_judged(3, 30)
    assert bar.n == bar.total == 260
