"""What happens in a review page, without the page itself."""

from html import escape
from typing import NamedTuple

from .report import printable
from .review_card import CardPrinter
from .review_queue import AuditedPair, Choice, ReviewQueue
from .reviews import CORRECTED, UNDO, Decision, ReviewsError

LONGEST_CAPTION, _LONGEST_NAME = 10_000, 100
#: The rank of no pair, in a page.
NO_PAIR = -1
#: A decision for the suggested caption, and for one that a person wrote.
SUGGESTED, WRITTEN = "suggested", "written"

#: The decisions of a visit that can be undone: the place of the pair, and the id of the decision.
History = list[tuple[int, str]]


class View(NamedTuple):
    """What a page shows.

    Attributes:
        rank: Place of the pair in the table, or `NO_PAIR`.
        progress: HTML of the count and a message.
        card: HTML of the pair.
        caption: The caption, to be edited.
        has_suggestion: Whether there is a suggested caption.
        history: What can be undone.
    """

    rank: int
    progress: str
    card: str
    caption: str
    has_suggestion: bool
    history: History


class ReviewSession:
    """Answers the events of pages. All that differs between pages comes with each event.

    Args:
        queue: The pairs and the decisions.
        printer: Prints pairs.
    """

    def __init__(self, queue: ReviewQueue, printer: CardPrinter) -> None:
        self.queue = queue
        self.printer = printer

    def start(self, choice: Choice, history: History) -> View:
        """Show the first pair of a choice."""
        return self._view(choice, self.queue.step(choice, None), history)

    def move(self, choice: Choice, rank: int, history: History, back: bool = False) -> View:
        """Show the next pair, or the one before; the same one if it is the only one."""
        following = self.queue.step(choice, rank, back)
        return self._view(choice, rank if following is None else following, history)

    def decide(
        self, choice: Choice, rank: int, history: History, kind: str, text: str, reviewer: str
    ) -> View:
        """Keep a decision, and show the next pair.

        Args:
            choice: Which pairs to review.
            rank: The pair that the page shows.
            history: What can be undone.
            kind: `RIGHT`, `WRONG`, `SUGGESTED` or `WRITTEN`.
            text: The caption that the person wrote.
            reviewer: Name of the person; may be empty.
        """
        pair = self._pair(rank)
        if pair is None:
            return self._view(choice, rank, history)
        new_caption = None
        if kind in (SUGGESTED, WRITTEN):
            new_caption = one_line(text if kind == WRITTEN else pair.suggested_caption)
            if new_caption in ("", one_line(pair.caption)):
                return self._view(choice, rank, history, "Write another caption than this one.")
        decision = CORRECTED if new_caption else kind
        made = Decision(*pair.key, decision, new_caption, _name(reviewer))
        if problem := self._problem(made):
            return self._view(choice, rank, history, problem)
        return self._view(choice, self.queue.step(choice, rank), [*history, (rank, made.id)])

    def undo(self, choice: Choice, rank: int, history: History, reviewer: str) -> View:
        """Undo the last decision of this visit, else the one about the pair that is shown."""
        undone_id = None
        if history:
            rank, undone_id = history[-1]
        pair = self._pair(rank)
        if pair is not None and undone_id is None:
            decision = self.queue.decision(pair)
            undone_id = None if decision is None else decision.id
        if pair is None or undone_id is None:
            return self._view(choice, rank, history, "There is nothing to undo.")
        undo = Decision(*pair.key, UNDO, reviewer=_name(reviewer), undone_id=undone_id)
        if problem := self._problem(undo):
            return self._view(choice, rank, history, problem)
        return self._view(choice, rank, history[:-1], "Undone.")

    def _pair(self, rank: int | None) -> AuditedPair | None:
        return None if rank is None or rank == NO_PAIR else self.queue.pair(rank)

    def _problem(self, decision: Decision) -> str | None:
        """Keep a decision; the reason if that failed."""
        try:
            self.queue.reviews.add(decision)
        except (OSError, ReviewsError) as error:
            return f"NOT SAVED: {error}"
        return None

    def _view(self, choice: Choice, rank: int | None, history: History, message: str = "") -> View:
        pair = self._pair(rank)
        lines = [f"<p class='count'>{escape(self.queue.count(choice))}</p>"]
        if pair is not None:
            position, n = self.queue.position(choice, pair.rank)
            where = f"{position:,} of {n:,}" if position else "not among the chosen pairs"
            lines.append(f"<p class='where'>{where}</p>")
        if message:
            text = escape(str(printable(message)))
            lines.append(f"<p class='message' role='status'>{text}</p>")
        progress = "".join(lines)
        if pair is None:
            card = "<article class='pair'><p class='nothing'>No pair is left here.</p></article>"
            return View(NO_PAIR, progress, card, "", False, history)
        decision = self.queue.decision(pair)
        caption = (decision and decision.new_caption) or pair.caption
        has_suggestion = pair.suggested_caption is not None
        card = self.printer.card(pair, decision)
        return View(pair.rank, progress, card, caption, has_suggestion, history)


def one_line(text: str | None) -> str:
    """A text on one line, of at most `LONGEST_CAPTION` characters that UTF-8 has."""
    return " ".join((text or "")[:LONGEST_CAPTION].encode("utf-8", "replace").decode().split())


def _name(reviewer: str) -> str | None:
    return one_line(reviewer)[:_LONGEST_NAME] or None
