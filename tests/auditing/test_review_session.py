"""What a page answers: decisions, corrections, undoing, errors; texts and pictures in its HTML."""

import base64
import io
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from noisy_xmodal.auditing.loading import load_splits
from noisy_xmodal.auditing.review_card import CardPrinter, Pictures
from noisy_xmodal.auditing.review_queue import ALL, Choice, ReviewQueue
from noisy_xmodal.auditing.review_session import (
    NO_PAIR,
    SUGGESTED,
    WRITTEN,
    ReviewSession,
    View,
    one_line,
)
from noisy_xmodal.auditing.reviews import RIGHT, WRONG, ReviewFile, read_reviews
from noisy_xmodal.data import DatasetError
from review_pages import HOSTILE, hostile_audit


def session_of(folder: Path, **options: Any) -> ReviewSession:
    made = hostile_audit(folder, **options)
    queue = ReviewQueue(made.table, ReviewFile(made.reviews_file))
    rows = load_splits(made)[0]["train"]
    return ReviewSession(queue, CardPrinter(Pictures(rows, "data", queue.image_ids()), len(queue)))


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReviewSession:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return session_of(tmp_path)


CHOICE = Choice()


def test_decisions_are_kept_and_undone(session: ReviewSession) -> None:
    view = session.start(CHOICE, [])
    assert (view.rank, view.caption, view.has_suggestion) == (0, HOSTILE[0], True)
    view = session.decide(CHOICE, view.rank, view.history, WRONG, "", " Ann\n Lee ")
    view = session.decide(CHOICE, view.rank, view.history, WRITTEN, " a\n new\tone ", "")
    view = session.decide(CHOICE, view.rank, view.history, RIGHT, "", "")
    assert (view.rank, view.has_suggestion) == (3, False)
    rows = read_reviews(session.queue.reviews.path).to_pylist()
    assert [row["caption"] for row in rows] == HOSTILE[:3]
    assert [row["decision"] for row in rows] == ["wrong", "corrected", "right"]
    assert [row["new_caption"] for row in rows] == [None, "a new one", None]
    assert [row["reviewer"] for row in rows] == ["Ann Lee", None, None]
    for rank in (2, 1):
        view = session.undo(CHOICE, view.rank, view.history, "")
        assert view.rank == rank
        assert "Undone." in view.progress
    assert len(session.queue.reviews.decisions()) == 1
    # Another visit has no history: what is shown is undone.
    view = session.move(replace(CHOICE, shown=ALL), 1, [], back=True)
    assert "Reviewed: <b>wrong</b> by <bdi>Ann Lee</bdi>" in view.card
    view = session.undo(CHOICE, view.rank, [], "")
    assert session.queue.reviews.decisions() == {}
    assert "There is nothing to undo." in session.undo(CHOICE, view.rank, [], "").progress


def test_a_caption_must_be_another_one(session: ReviewSession) -> None:
    for kind, rank, text in ((WRITTEN, 0, "  "), (WRITTEN, 0, HOSTILE[0]), (SUGGESTED, 1, "x")):
        view = session.decide(CHOICE, rank, [], kind, text, "")
        assert view.rank == rank
        assert "Write another caption" in view.progress
    assert not session.queue.reviews.path.exists()
    view = session.decide(CHOICE, 0, [], SUGGESTED, "not this one", "")
    (decision,) = session.queue.reviews.decisions().values()
    assert decision.new_caption == HOSTILE[-1]
    assert one_line("a\ud800" * 9_999) == "a?" * 5_000


def test_a_decision_that_cannot_be_kept_is_reported(
    session: ReviewSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise OSError(28, "No space left <b>")

    monkeypatch.setattr(session.queue.reviews, "add", fail)
    view = session.decide(CHOICE, 0, [], WRONG, "", "")
    assert (view.rank, view.history) == (0, [])
    assert "NOT SAVED: [Errno 28] No space left &lt;b&gt;" in view.progress


def test_the_end(session: ReviewSession) -> None:
    view = session.start(CHOICE, [])
    for _ in HOSTILE:
        view = session.decide(CHOICE, view.rank, view.history, RIGHT, "", "")
    assert (view.rank, view.has_suggestion) == (NO_PAIR, False)
    assert "No pair is left here." in view.card
    assert "Of 7 reviewed among the worst 7, 0% (0 to 35) were wrong." in view.progress
    again = session.decide(CHOICE, view.rank, view.history, WRONG, "", "")
    assert again == view
    assert session.undo(CHOICE, view.rank, view.history, "").rank == 6


def test_texts_are_text_and_pictures_are_data(session: ReviewSession) -> None:
    views: list[View] = []
    for rank, text in enumerate(HOSTILE):
        views.append(session.move(replace(CHOICE, shown=ALL), rank - 1 if rank else 6, []))
        card = views[-1].card
        tags = set(re.findall(r"<(\w+)", card))
        assert tags <= {"article", "div", "p", "bdi", "b", "i", "img"}
        assert not re.search(r"\bon\w+=", re.sub(r'"[^"]*"', "", re.sub(r">[^<]*<", "><", card)))
        shown = unescape(card)
        assert text.replace("\u202e", "\ufffd") in shown
        assert "\u202e" not in card
        for source in re.findall(r'src="([^"]*)"', card):
            assert source.startswith("data:image/jpeg;base64,")
            picture = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
            assert picture.size == (30, 20)
    assert [view.card.count("<img ") for view in views] == [2, 1, 1, 1, 1, 1, 1]
    assert views[0].card.count("Suggested") == 2


def test_region_features_have_no_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    card = session_of(tmp_path, pictures=False).start(CHOICE, []).card
    assert "<img" not in card
    assert "The dataset has region features and no pictures." in card


def test_another_dataset_is_refused(session: ReviewSession, tmp_path: Path) -> None:
    rows = load_splits(hostile_audit(tmp_path))[0]["train"]
    with pytest.raises(DatasetError, match="none of the 1 images of the table, such as 'x'"):
        Pictures(rows, "data", {"x"})
