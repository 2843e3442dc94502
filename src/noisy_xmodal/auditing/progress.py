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
        is_hidden: Likewise.
    """

    def __init__(self, n_shards: int, n_trainings: int, n_sample: int, hidden: bool) -> None:
        self.is_hidden = hidden
        self._stage = "reading shards"
        self._n_shards, self._n_trainings, self._n_sample = n_shards, n_trainings, n_sample
        self._read: dict[int, int] = {}
        self._judged: dict[int, int] = {}
        self._trained = 0
        self._since, self._before = time.monotonic(), 0
        self._bar = tqdm(total=1, desc="audit", bar_format=_FORMAT, disable=hidden)

    def begin(self, stage: str) -> None:
        """Begin a stage; what is done of it already does not count for its rate.

        Args:
            stage: "reading shards", "training judges" or "judging shards".
        """
        self._stage, self._since = stage, time.monotonic()
        done = self._judged if stage == "judging shards" else self._read
        self._before = sum(done.values())
        self._show()

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
        seconds = time.monotonic() - self._since
        n_new = (n_judged if self._stage == "judging shards" else n_read) - self._before
        numbers = {
            "reading shards": f"{len(self._read):,} of {self._n_shards:,}",
            "training judges": f"{self._trained:,} of {self._n_trainings:,}",
            "judging shards": f"{len(self._judged):,} of {self._n_shards:,}",
        }
        text = f"{self._stage}, {numbers[self._stage]}"
        if n_new > 0 and seconds > 0 and self._stage != "training judges":
            text += f", {n_new / seconds:,.0f} pairs/s"
        self._bar.total = max(done, round(2 * n_pairs + self._n_trainings * n_sample))
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(done - self._bar.n)
