"""One line of progress for all stages of an audit by parts."""

import time

from tqdm.auto import tqdm

_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {postfix}, {elapsed} passed, about {remaining} left"
LOOKING, READING = "looking at other splits", "reading shards"
TRAINING, JUDGING, CLEANING = "training judges", "judging shards", "cleaning shards"


class AuditProgress:
    """A bar over passes of pairs, of all processes together.

    Until all shards are read, their number of pairs is estimated from those read.

    Args:
        n_shards: Number of shards.
        n_trainings: Number of trainings.
        n_sample: Pairs of the sample.
        cleans: Whether shards are cleaned in the end.
        hidden: Whether nothing is shown.

    Attributes:
        is_hidden: Likewise.
    """

    def __init__(
        self, n_shards: int, n_trainings: int, n_sample: int, cleans: bool, hidden: bool
    ) -> None:
        self.is_hidden = hidden
        self._n_shards, self._n_trainings, self._n_sample = n_shards, n_trainings, n_sample
        stages = (READING, JUDGING, CLEANING) if cleans else (READING, JUDGING)
        self._done: dict[str, dict[int, int]] = {stage: {} for stage in stages}
        self._trained = 0
        self._stage, self._since, self._before = READING, time.monotonic(), 0
        self._bar = tqdm(total=1, desc="audit", bar_format=_FORMAT, disable=hidden)

    def begin(self, stage: str) -> None:
        """Begin a stage; what is done of it already does not count for its rate.

        Args:
            stage: One of the constants of this module.
        """
        self._stage, self._since = stage, time.monotonic()
        self._before = sum(self._done.get(stage, {}).values())
        self._show()

    def has(self, stage: str, number: int) -> bool:
        """Whether a shard counts as read, judged or cleaned."""
        return number in self._done[stage]

    def has_done(self, stage: str, number: int, n_pairs: int) -> None:
        """A shard is read, judged or cleaned.

        Args:
            stage: The stage.
            number: Number of the shard.
            n_pairs: Its number of pairs.
        """
        if number not in self._done[stage]:
            self._done[stage][number] = n_pairs
            self._show()

    def has_trained(self) -> None:
        """A judge is trained."""
        self._trained += 1
        self._show()

    def close(self) -> None:
        """Leave the line."""
        self._bar.close()

    def _show(self) -> None:
        sums = {stage: sum(shards.values()) for stage, shards in self._done.items()}
        n_pairs = sums[READING] * self._n_shards / max(1, len(self._done[READING]))
        n_sample = min(self._n_sample, n_pairs)
        done = sum(sums.values()) + self._trained * n_sample
        seconds = time.monotonic() - self._since
        text = self._stage
        if self._stage == TRAINING:
            text += f", {self._trained:,} of {self._n_trainings:,}"
        elif self._stage in sums:
            n_new = sums[self._stage] - self._before
            text += f", {len(self._done[self._stage]):,} of {self._n_shards:,}"
            text += f", {n_new / seconds:,.0f} pairs/s" if n_new > 0 and seconds > 0 else ""
        passes = len(sums) * n_pairs + self._n_trainings * n_sample
        self._bar.total = max(done, round(passes))
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(done - self._bar.n)
