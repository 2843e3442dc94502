"""Which pairs come in which order, and what the count says."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noisy_xmodal.auditing.review_queue import (
    ALL,
    OPEN,
    RANDOM,
    REVIEWED,
    TELLING,
    Choice,
    ReviewQueue,
)
from noisy_xmodal.auditing.reviews import (
    CORRECTED,
    RIGHT,
    WRONG,
    Decision,
    ReviewFile,
    ReviewsError,
)

PROBABILITIES = [0.0, 0.1, 0.3, 0.45, 0.52, 0.7, 0.8, 1.0]
CAPTIONS = ["a Dog", "dogs", "a cat", "ÄPFEL", "a dog", "", "50 % of it", "end"]


@pytest.fixture
def queue(tmp_path: Path) -> ReviewQueue:
    columns = {
        "pair_id": list(range(8)),
        "image_id": [f"{n % 5}.jpg" for n in range(8)],
        "caption": CAPTIONS,
        "clean_probability": PROBABILITIES,
        "loss": PROBABILITIES[::-1],
        "suggested_caption": ["better", *[None] * 7],
        "suggested_image_id": [None, "4.jpg", *[None] * 6],
    }
    pq.write_table(pa.table(columns), tmp_path / "audit.parquet")
    return ReviewQueue(tmp_path / "audit.parquet", ReviewFile(tmp_path / "reviews.parquet"))


def write_parts(folder: Path, names: dict[str, list[str]]) -> Path:
    """A table in two parts, each worst first: rows of the queue above in turn."""
    folder.mkdir()
    for part, (shard, image_ids) in enumerate(names.items()):
        rows = range(part, 8, 2)
        columns = {
            "image_id": image_ids,
            "caption": [CAPTIONS[row] for row in rows],
            "clean_probability": [PROBABILITIES[row] for row in rows],
            "suggested_caption": pa.nulls(4, pa.string()),
            "suggested_image_id": pa.nulls(4, pa.string()),
            "shard": [shard] * 4,
        }
        pq.write_table(pa.table(columns), folder / f"part-{part:05d}.parquet")
    return folder


def test_parts_are_put_together_worst_first(tmp_path: Path) -> None:
    table = write_parts(tmp_path / "audit", {"0.tar": list("aabb"), "1.tar": list("ccdd")})
    queue = ReviewQueue(table, ReviewFile(tmp_path / "reviews.parquet"))
    assert [queue.pair(rank).clean_probability for rank in range(8)] == PROBABILITIES
    assert [queue.pair(rank).image_id for rank in range(8)] == list("acacbdbd")
    assert walk(queue, Choice(among=3)) == [0, 1, 2]


def test_a_name_in_two_shards_is_refused(tmp_path: Path) -> None:
    table = write_parts(tmp_path / "audit", {"0.tar": list("aabb"), "1.tar": list("ccab")})
    with pytest.raises(ReviewsError, match=r"^2 names of images are in several shards"):
        ReviewQueue(table, ReviewFile(tmp_path / "reviews.parquet"))


def walk(queue: ReviewQueue, choice: Choice, back: bool = False) -> list[int]:
    """Every pair of a choice, once."""
    ranks: list[int] = []
    rank = queue.step(choice, None, back)
    while rank is not None and rank not in ranks:
        ranks.append(rank)
        rank = queue.step(choice, rank, back)
    return ranks


def decide(queue: ReviewQueue, **decisions: str) -> None:
    for rank, decision in decisions.items():
        new_caption = "new" if decision == CORRECTED else None
        pair = queue.pair(int(rank[1:]))
        queue.reviews.add(Decision(*pair.key, decision, new_caption))


def test_orders(queue: ReviewQueue) -> None:
    assert walk(queue, Choice()) == list(range(8))
    assert walk(queue, Choice(), back=True) == [7, 6, 5, 4, 3, 2, 1, 0]
    nearest = sorted(range(8), key=lambda rank: (abs(PROBABILITIES[rank] - 0.5), rank))
    assert walk(queue, Choice(TELLING)) == nearest
    assert walk(queue, Choice(TELLING, among=3)) == nearest[:3]
    mixed = walk(queue, Choice(RANDOM, among=6))
    assert sorted(mixed) == list(range(6)) != mixed
    assert walk(queue, Choice(RANDOM, among=6)) == mixed
    assert queue.position(Choice(TELLING, among=3), nearest[1]) == (2, 3)
    assert queue.position(Choice(TELLING, among=3), 7) == (None, 3)


@pytest.mark.parametrize(
    ("search", "ranks"),
    [("dog", [0, 1, 4]), ("äpfel", [3]), ("%", [6]), ("a.dog", []), ("(", []), ("a d", [0, 4])],
)
def test_search_is_for_words_as_they_are(queue: ReviewQueue, search: str, ranks: list[int]) -> None:
    assert walk(queue, Choice(search=search)) == ranks


def test_filters_follow_decisions(queue: ReviewQueue) -> None:
    decide(queue, _0=WRONG, _2=RIGHT, _3=CORRECTED)
    shown = {shown: walk(queue, Choice(shown=shown)) for shown in (OPEN, REVIEWED, ALL, CORRECTED)}
    assert shown == {
        OPEN: [1, 4, 5, 6, 7],
        REVIEWED: [0, 2, 3],
        ALL: list(range(8)),
        CORRECTED: [3],
    }
    assert queue.step(Choice(), 7) == 1  # after the last one the first, which was skipped
    assert queue.step(Choice(shown=CORRECTED), 3) is None
    decision = queue.decision(queue.pair(3))
    assert decision is not None
    assert decision.new_caption == "new"


def test_the_count_is_of_the_chosen_pairs(queue: ReviewQueue) -> None:
    assert queue.count(Choice(among=4)) == "None of the worst 4 is reviewed yet."
    decide(queue, _0=WRONG, _1=CORRECTED, _2=RIGHT, _7=RIGHT)
    # Wilson's interval of 2 of 3, by his formula.
    z, n, share = 1.959964, 3, 2 / 3
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    interval = f"({100 * (middle - half):.0f} to {100 * (middle + half):.0f})"
    assert interval == "(21 to 94)"
    line = queue.count(Choice(among=4))
    assert line == f"Of 3 reviewed among the worst 4, 67% {interval} were wrong."
    assert queue.count(Choice(RANDOM, among=4)) == line
    assert queue.count(Choice(shown=ALL)).startswith("Of 4 reviewed among the worst 8, 50% ")
    assert "Of 1 reviewed among the 4 nearest to .5, 0%" in queue.count(Choice(TELLING, among=4))
    assert "Of 2 reviewed among the worst 3 with these words, 100%" in queue.count(
        Choice(search="dog")
    )


def test_other_files_are_refused(queue: ReviewQueue, tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    for path in (tmp_path / "x.parquet", tmp_path / "nowhere.parquet"):
        with pytest.raises(
            ReviewsError, match=f"{path} (is not the table of an audit|does not exist)"
        ):
            ReviewQueue(path, queue.reviews)
    others = ReviewFile(tmp_path / "others.parquet")
    others.add(Decision("0.jpg", "of another image", RIGHT))
    with pytest.raises(ReviewsError, match="has reviews of other pairs, such as image"):
        ReviewQueue(queue.path, others)
    others.add(Decision("0.jpg", "a Dog", RIGHT))
    assert ReviewQueue(queue.path, others).count(Choice()).startswith("Of 1 reviewed")
    for rank in (-1, 8):
        with pytest.raises(IndexError, match="none of the 8 places"):
            queue.pair(rank)
