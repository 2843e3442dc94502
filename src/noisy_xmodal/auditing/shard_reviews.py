"""What the decisions of people do in an audit by parts, see `known_pairs.py`.

The judges are trained with the reviewed pairs of the sample. Reviewed pairs of any shard are judged
once more before the parts are written, by models that have not seen them, so that the clean
probabilities of all pairs can be fitted to all reviews.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments.audit import THRESHOLD
from .judgement import Judgement
from .kept_shards import KeptShard
from .known_pairs import KnownPairs, calibration, decided, review_facts
from .reviews import Decision, Pair, ReviewFile, ReviewsError, read_reviews
from .shard_judge import ShardJudge


class ShardReviews:
    """Decisions about pairs in shards.

    Args:
        path: The file of reviews; None for none.
        shards: All shards, which need not be kept yet.

    Raises:
        ReviewsError: If it is not a file of reviews.
    """

    def __init__(self, path: Path | None, shards: Sequence[KeptShard]) -> None:
        self._path, self._shards = path, shards
        self._by_pair: Mapping[Pair, Decision] = {}
        if path is not None:
            read_reviews(path)  # fails early
            self._by_pair = ReviewFile(path).decisions()
        self.fitted: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None
        self.facts: dict[str, Any] = {}

    @property
    def digest(self) -> str:
        """A hash of the decisions."""
        lines = sorted(
            "\t".join([*pair, one.decision, one.new_caption or ""])
            for pair, one in self._by_pair.items()
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def of(self, shard: KeptShard) -> KnownPairs | None:
        """The decisions about the pairs of a shard or of the sample; None without reviews."""
        if self._path is None:
            return None
        return decided(self._by_pair, shard.image_ids, shard.pairs)

    @cached_property
    def known(self) -> dict[int, KnownPairs]:
        """The decisions about the pairs of each shard that has reviewed ones, by its number."""
        found = {}
        for number, shard in enumerate(self._shards):
            known = self.of(KeptShard(shard.folder)) if shard.info["n_pairs"] else None
            if known is not None and known.decisions:
                found[number] = known
        return found

    @cached_property
    def _found(self) -> set[Pair]:
        """The reviewed pairs that shards have."""
        return {
            (decision.image_id, decision.caption)
            for known in self.known.values()
            for decision in known.decisions.values()
        }

    @property
    def missing(self) -> list[Pair]:
        """The reviewed pairs that no shard has, ascending."""
        return sorted(set(self._by_pair) - self._found)

    def check(self, name: str) -> None:
        """Refuse the reviews of another dataset.

        Args:
            name: Name of the dataset.

        Raises:
            ReviewsError: If no shard has a reviewed pair.
        """
        if self._by_pair and not self._found:
            raise ReviewsError(
                f"{self._path} is of another dataset: none of its {len(self._by_pair):,} reviewed "
                f"pairs is in {name}. Give the reviews of this dataset, or none"
            )

    def fit(self, judge: ShardJudge, judgement: Judgement) -> None:
        """Judge the reviewed pairs, and fit clean probabilities to the reviews.

        Args:
            judge: Judges pairs of shards.
            judgement: That of the sample.
        """
        if self._path is None:
            return
        tails, cleans, targets = [np.zeros(0)], [np.zeros(0)], [np.zeros(0)]
        kinds: Counter[str] = Counter()
        for number, known in self.known.items():
            pairs = np.array(sorted(known.decisions))
            tail, clean = judge.judge_pairs(number, KeptShard(self._shards[number].folder), pairs)
            tails.append(tail)
            cleans.append(clean)
            targets.append(known.targets[pairs])
            kinds.update(decision.decision for decision in known.decisions.values())
        tail, target = np.concatenate(tails), np.concatenate(targets)
        if judgement.share.can_tell:
            self.fitted = calibration(judgement, tail, target)
        self.facts = review_facts(
            kinds, np.concatenate(cleans) < THRESHOLD, target == 0, self.fitted is not None
        )
        self.facts["missing"] = len(self.missing)

    def applied(self, judgement: Judgement, sample: KeptShard) -> NDArray[np.float64]:
        """Clean probabilities of the sample by the audit and by people, (n_pairs,)."""
        return self.clean(judgement.tail, judgement.clean_probability, self.of(sample))

    def clean(
        self, tail: NDArray[np.float64], clean: NDArray[np.float64], known: KnownPairs | None
    ) -> NDArray[np.float64]:
        """Clean probabilities of pairs by the audit and by people, (n_pairs,).

        Args:
            tail: See `Judgement`.
            clean: The clean probabilities by the audit.
            known: What people decided about these pairs.
        """
        clean = clean if self.fitted is None else self.fitted(tail)
        return clean if known is None else known.over(clean)
