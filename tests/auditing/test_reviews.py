"""Decisions in a file: what counts, what is kept after a kill, and what is refused."""

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noisy_xmodal.auditing.reviews import (
    CORRECTED,
    RIGHT,
    UNDO,
    WRONG,
    Decision,
    ReviewFile,
    ReviewsError,
    read_reviews,
)

DOG, CAT = ("1.jpg", "a dog"), ("2.jpg", "a cat")


def verdicts(reviews: ReviewFile) -> dict[tuple[str, str], str]:
    return {pair: one.decision for pair, one in reviews.decisions().items()}


def test_the_last_decision_of_a_pair_that_was_not_undone_counts(tmp_path: Path) -> None:
    reviews = ReviewFile(tmp_path / "new" / "reviews.parquet")
    assert reviews.decisions() == {}
    first, second = Decision(*DOG, WRONG, reviewer="Ann"), Decision(*DOG, RIGHT)
    better = Decision(*CAT, CORRECTED, "two cats ä\u202e<b>")
    for decision in (first, second, better):
        reviews.add(decision)
    assert verdicts(reviews) == {DOG: RIGHT, CAT: CORRECTED}
    assert reviews.decisions()[CAT] == better
    # Of two pages, the first undoes its own decision, although it is not the last one.
    reviews.add(Decision(*DOG, UNDO, undone_id=first.id))
    assert verdicts(reviews) == {DOG: RIGHT, CAT: CORRECTED}
    reviews.add(Decision(*DOG, UNDO, undone_id=second.id))
    assert verdicts(reviews) == {CAT: CORRECTED}
    assert verdicts(ReviewFile(reviews.path)) == {CAT: CORRECTED}
    rows = pq.read_table(reviews.path).to_pylist()
    assert [row["decision"] for row in rows] == [WRONG, RIGHT, CORRECTED, UNDO, UNDO]
    assert rows[0]["reviewer"] == "Ann"
    assert rows[2]["new_caption"] == "two cats ä\u202e<b>"
    assert abs((rows[0]["time"] - datetime.now(UTC)).total_seconds()) < 60


def test_each_reader_sees_what_others_add_and_replace(tmp_path: Path) -> None:
    path = tmp_path / "reviews.parquet"
    one, other = ReviewFile(path), ReviewFile(path)
    one.add(Decision(*DOG, WRONG))
    assert verdicts(other) == {DOG: WRONG}
    other.add(Decision(*CAT, RIGHT))
    assert verdicts(one) == verdicts(other) == {DOG: WRONG, CAT: RIGHT}
    path.unlink()
    assert verdicts(one) == {}
    for number in range(3):
        other.add(Decision(f"{number}.png", "new", RIGHT))
    assert set(verdicts(one)) == {(f"{number}.png", "new") for number in range(3)}


ADD = """
import sys
from noisy_xmodal.auditing.reviews import Decision, ReviewFile
reviews = ReviewFile(sys.argv[1])
for number in range(int(sys.argv[3])):
    decision = Decision(sys.argv[2], str(number), "wrong")
    reviews.add(decision)
    print(decision.id, flush=True)
"""


def adding(path: Path, name: str, number: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ADD, str(path), name, str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_and_threads_lose_nothing_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "reviews.parquet"
    other = adding(path, "process", 15)
    reviews = ReviewFile(path)
    while not path.exists() and other.poll() is None:
        time.sleep(0.01)

    def add(name: str) -> None:
        for number in range(15):
            reviews.add(Decision(name, str(number), RIGHT))

    threads = [threading.Thread(target=add, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert other.wait(timeout=60) == 0
    found = verdicts(reviews)
    assert len(found) == len(read_reviews(path)) == 45
    assert {pair[0] for pair in found} == {"process", "a", "b"}


def test_a_killed_writer_loses_nothing_that_it_reported(tmp_path: Path) -> None:
    path = tmp_path / "reviews.parquet"
    writer = adding(path, "x", 100_000)
    assert writer.stdout is not None
    reported = [writer.stdout.readline().strip() for _ in range(20)]
    writer.kill()
    reported += writer.stdout.read().split()
    writer.wait(timeout=60)
    kept = read_reviews(path)["id"].to_pylist()
    assert set(reported) <= set(kept)
    assert len(kept) - len(reported) in (0, 1)  # killed before it could report the last one
    ReviewFile(path).add(Decision(*DOG, RIGHT))  # the lock died with the writer
    assert len(read_reviews(path)) == len(kept) + 1


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "reviews.parquet"
    with pytest.raises(ReviewsError, match=r"reviews\.parquet does not exist"):
        read_reviews(path)
    path.write_text("no Parquet")
    with pytest.raises(ReviewsError, match="is not a file of reviews: "):
        read_reviews(path)
    pq.write_table(pa.table({"image_id": ["a"], "caption": ["b"]}), path)
    before = path.read_bytes()
    for use in (read_reviews, lambda path: ReviewFile(path).add(Decision(*DOG, RIGHT))):
        with pytest.raises(ReviewsError, match="lacks the columns decision, id, new_caption"):
            use(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("decision", "new_caption", "says"),
    [("maybe", None, "'maybe' is none of right"), (WRONG, "x", "'wrong' of image '1.jpg'")]
    + [(CORRECTED, text, "needs one") for text in (None, "")],
)
def test_decisions_that_mean_nothing_are_refused(
    tmp_path: Path, decision: str, new_caption: str | None, says: str
) -> None:
    with pytest.raises(ReviewsError, match=says):
        Decision(*DOG, decision, new_caption)
    reviews = ReviewFile(tmp_path / "reviews.parquet")
    reviews.add(Decision(*CAT, RIGHT))
    row = pq.read_table(reviews.path).to_pylist()[0] | {"decision": decision}
    rows = [row, row | {"new_caption": new_caption}]
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(reviews.path)), reviews.path)
    with pytest.raises(ReviewsError, match=r"reviews\.parquet, row [01]: "):
        ReviewFile(reviews.path).decisions()
