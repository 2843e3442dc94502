"""The pairs of an audit's table in the order in which a person reviews them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .known_pairs import share_interval
from .reviews import CORRECTED, RIGHT, WRONG, Decision, Pair, ReviewFile, ReviewsError

#: Orders of the pairs: worst first, nearest to a clean probability of .5 first, at random.
WORST, TELLING, RANDOM = "worst first", "most telling first", "random"
ORDERS = (WORST, TELLING, RANDOM)
#: Which of them to show.
OPEN, REVIEWED, ALL = "not reviewed", "reviewed", "all"
SHOWN = (OPEN, REVIEWED, RIGHT, WRONG, CORRECTED, ALL)

_COLUMNS = ["image_id", "caption", "clean_probability", "suggested_caption", "suggested_image_id"]
_SHARD = "shard"  # in the table of an audit by parts


@dataclass(frozen=True)
class Choice:
    """Which pairs to review.

    Attributes:
        order: One of `ORDERS`.
        among: Number of pairs: the first ones in this order, or a random order of the worst ones.
        shown: One of `SHOWN`.
        search: Words that the caption contains, in any case; empty for all captions.
    """

    order: str = WORST
    among: int = 500
    shown: str = OPEN
    search: str = ""


@dataclass(frozen=True)
class AuditedPair:
    """A pair of the table.

    Attributes:
        rank: Its place in the table, from 0, the worst.
        image_id: Its image.
        caption: Its caption.
        clean_probability: The probability that it is right, by the audit.
        suggested_caption: A caption of another image that fits the image better, if there is one.
        suggested_image_id: Another image that fits the caption better, if there is one.
    """

    rank: int
    image_id: str
    caption: str
    clean_probability: float
    suggested_caption: str | None
    suggested_image_id: str | None

    @property
    def key(self) -> Pair:
        """The image and the caption."""
        return self.image_id, self.caption


class ReviewQueue:
    """The pairs of an audit's table, and what people decided about them.

    Args:
        table: The table of an audit.
        reviews: The decisions.

    Raises:
        ReviewsError: If the table is not one of an audit, the decisions are about other pairs, or
            an image cannot be told from that of another shard.
    """

    def __init__(self, table: Path, reviews: ReviewFile) -> None:
        self.path = table
        self.reviews = reviews
        if not table.exists():
            raise ReviewsError(f"{table} does not exist: give the audit.parquet of an audit")
        try:
            columns = [*_COLUMNS, _SHARD] if table.is_dir() else _COLUMNS
            self._table = pq.read_table(table, columns=columns).combine_chunks()
        except (pa.ArrowException, OSError) as error:
            raise ReviewsError(
                f"{table} is not the table of an audit: {error}. Give the audit.parquet that "
                "`noisy-xmodal audit` wrote"
            ) from error
        if not len(self._table):
            raise ReviewsError(f"{table} has no pairs: there is nothing to review")
        if table.is_dir():  # an audit by parts, each of them worst first
            self._check_names()
            order = np.argsort(self._table["clean_probability"].to_numpy(), kind="stable")
            self._table = self._table.drop_columns(_SHARD).take(order)
        self._probability = self._table["clean_probability"].to_numpy()
        self._slice = lru_cache(maxsize=8)(self._find_slice)
        decisions = reviews.decisions()
        if decisions and not self._is_of_table(decisions):
            image_id, caption = next(iter(decisions))
            raise ReviewsError(
                f"{reviews.path} has reviews of other pairs, such as image '{image_id[:80]}' with "
                f"the caption '{caption[:80]}': none of its {len(decisions):,} pairs is in {table}."
                " Give another file with --reviews"
            )

    def _check_names(self) -> None:
        """Refuse equal names of images of different shards."""
        shards = self._table.group_by("image_id").aggregate([(_SHARD, "count_distinct")])
        is_shared = pc.greater(shards[f"{_SHARD}_count_distinct"], 1)
        names = shards["image_id"].filter(is_shared)
        if len(names):
            raise ReviewsError(
                f"{len(names):,} names of images are in several shards of {self.path}, such as "
                f"'{names[0].as_py()[:80]}', so a decision would not tell which image it is about. "
                "Audit again with --id_column and a column of names that are unique"
            )

    def __len__(self) -> int:
        return len(self._table)

    def image_ids(self) -> set[str]:
        """The images of all pairs."""
        return set(pc.unique(self._table["image_id"]).to_pylist())

    def pair(self, rank: int) -> AuditedPair:
        """The pair at a place of the table.

        Args:
            rank: Its place, from 0, the worst.

        Raises:
            IndexError: If there is no such place.
        """
        if not 0 <= rank < len(self):
            raise IndexError(f"{rank} is none of the {len(self)} places of {self.path}")
        row: dict[str, Any] = self._table.slice(rank, 1).to_pylist()[0]
        return AuditedPair(rank, **row)

    def decision(self, pair: AuditedPair) -> Decision | None:
        """The decision that counts for a pair."""
        return self.reviews.decisions().get(pair.key)

    def step(self, choice: Choice, rank: int | None, back: bool = False) -> int | None:
        """The next pair, or the one before.

        Args:
            choice: Which pairs to review.
            rank: The pair that is shown, if there is one.
            back: Whether to go back.

        Returns:
            Its place in the table. After the last pair the first one follows; None if there is no
            other pair of this choice.
        """
        ranks, keys = self._slice(choice.order, choice.among, choice.search)
        place = int(np.flatnonzero(ranks == rank)[0]) if rank in ranks else (-1 if not back else 0)
        n, decisions = len(ranks), self.reviews.decisions()
        for distance in range(1, n + 1):
            at = (place - distance if back else place + distance) % n
            if ranks[at] != rank and _is_shown(decisions.get(keys[at]), choice.shown):
                return int(ranks[at])
        return None

    def position(self, choice: Choice, rank: int) -> tuple[int | None, int]:
        """The place of a pair in the chosen order, from 1, if it is there; and their number."""
        ranks = self._slice(choice.order, choice.among, choice.search)[0]
        places = np.flatnonzero(ranks == rank)
        return (int(places[0]) + 1 if len(places) else None), len(ranks)

    def count(self, choice: Choice) -> str:
        """What the reviews say about the chosen pairs, in a sentence.

        The interval is Wilson's. It holds for pairs like the reviewed ones; after reviews in random
        order these are all the chosen ones.
        """
        keys = self._slice(choice.order, choice.among, choice.search)[1]
        decisions = self.reviews.decisions()
        made = [decisions[key].decision for key in keys if key in decisions]
        among = {TELLING: f"{len(keys):,} nearest to .5"}.get(choice.order, f"worst {len(keys):,}")
        if choice.search:
            among += " with these words"
        if not made:
            return f"None of the {among} is reviewed yet."
        n_wrong = len(made) - made.count(RIGHT)
        low, high = share_interval(n_wrong, len(made))
        return (
            f"Of {len(made):,} reviewed among the {among}, {n_wrong / len(made):.0%} "
            f"({100 * low:.0f} to {100 * high:.0f}) were wrong."
        )

    def _find_slice(self, order: str, among: int, search: str) -> tuple[NDArray[Any], list[Pair]]:
        ranks = np.arange(len(self))
        if search:
            has_words = pc.match_substring(self._table["caption"], search, ignore_case=True)
            ranks = np.flatnonzero(has_words.to_numpy())
        if order == TELLING:
            doubt = np.abs(self._probability[ranks] - 0.5)
            ranks = ranks[np.argsort(doubt, kind="stable")]
        ranks = ranks[:among]
        if order == RANDOM:
            ranks = np.random.default_rng(0).permutation(ranks)
        chosen = self._table.select(["image_id", "caption"]).take(ranks)
        keys = zip(chosen["image_id"].to_pylist(), chosen["caption"].to_pylist(), strict=True)
        return ranks, list(keys)

    def _is_of_table(self, decisions: Mapping[Pair, Decision]) -> bool:
        """Whether one of the decisions is about a pair of the table."""
        is_known = pc.is_in(
            self._table["image_id"], value_set=pa.array({pair[0] for pair in decisions})
        )
        chosen = self._table.select(["image_id", "caption"]).filter(is_known)
        keys = zip(chosen["image_id"].to_pylist(), chosen["caption"].to_pylist(), strict=True)
        return any(key in decisions for key in keys)


def _is_shown(decision: Decision | None, shown: str) -> bool:
    if shown == ALL:
        return True
    if decision is None:
        return shown == OPEN
    return shown in (REVIEWED, decision.decision)
