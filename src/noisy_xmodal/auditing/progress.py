"""One line of progress for all stages of an audit by parts."""

import time

from tqdm.auto import tqdm

_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {postfix}, {elapsed} passed, about {remaining} left"


class AuditProgress:
    """A bar over passes of pairs: reading, training and judging, of all processes together.

    Until all shards are read, their number of pairs is estimated from those read.

    Args:
        n_shards: Number of shards.
        n_trainings: Number of trainings.
        n_sample: Pairs of the sample.
        hidden: Whether nothing is shown.

    Attributes:
        stage: What is done now.
    """

    def __init__(self, n_shards: int, n_trainings: int, n_sample: int, hidden: bool) -> None:
        self.stage = "reading shards"
        self._n_shards, self._n_trainings, self._n_sample = n_shards, n_trainings, n_sample
        self._read: dict[int, int] = {}
        self._judged: dict[int, int] = {}
        self._trained = 0
        self._started: tuple[str, float, int] | None = None
        self._bar = tqdm(total=1, desc="audit", bar_format=_FORMAT, disable=hidden)

    def has_read(self, number: int, n_pairs: int) -> None:
        """A shard is read."""
        if number not in self._read:
            self._read[number] = n_pairs
            self._show()

    def has_trained(self) -> None:
        """A judge is trained."""
        self._trained += 1
        self._show()

    def has_judged(self, number: int, n_pairs: int) -> None:
        """A shard is judged."""
        if number not in self._judged:
            self.stage = "judging shards"
            self._judged[number] = n_pairs
            self._show()

    def close(self) -> None:
        """Leave the line."""
        self._bar.close()

    def _show(self) -> None:
        n_read, n_judged = sum(self._read.values()), sum(self._judged.values())
        n_pairs = n_read * self._n_shards / max(1, len(self._read))
        n_sample = min(self._n_sample, n_pairs)
        done = n_read + n_judged + self._trained * n_sample
        now, stage_done = time.monotonic(), n_judged or n_read
        if self._started is None or self._started[0] != self.stage:
            self._started = self.stage, now, stage_done
        _, since, before = self._started
        numbers = {
            "reading shards": f"{len(self._read):,} of {self._n_shards:,}",
            "training judges": f"{self._trained:,} of {self._n_trainings:,}",
            "judging shards": f"{len(self._judged):,} of {self._n_shards:,}",
        }
        text = f"{self.stage}, {numbers[self.stage]}"
        if now > since and stage_done > before and self.stage != "training judges":
            text += f", {(stage_done - before) / (now - since):,.0f} pairs/s"
        self._bar.total = max(done, round(2 * n_pairs + self._n_trainings * n_sample))
        if self._bar.n == 0 and len(self._read) > 1 and not self._trained:
            self._bar.initial = self._bar.n
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(done - self._bar.n)
