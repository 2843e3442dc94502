"""Review the pairs of an audit in the browser.

    from noisy_xmodal.auditing.review import ReviewOptions, review

    review(ReviewOptions(Path("audit.parquet"), "photos/"))

A local page shows the doubtful pairs, and keeps every decision in a file at once
(`auditing/reviews.py`). The same call is the `app.py` of a Space of the Hub. The page is of gradio,
the extra `review`, which is imported here alone, when a page is made. It sends nothing anywhere,
serves no files, and its pictures are part of its HTML.
"""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..arguments.review import ReviewOptions
from ..entry.errors import Stopped
from ..entry.outputs import check_output
from .loading import load_splits
from .review_card import CardPrinter, Pictures
from .review_page import BUTTONS, CSS, HEAD
from .review_queue import ORDERS, SHOWN, Choice, ReviewQueue
from .review_session import (
    LONGEST_CAPTION,
    SUGGESTED,
    WRITTEN,
    ReviewSession,
    View,
)
from .reviews import CORRECTED, RIGHT, WRONG, ReviewFile


def review(options: ReviewOptions) -> dict[str, Any]:
    """Serve the page until Ctrl-C.

    Args:
        options: What to review.

    Returns:
        `reviews`, the file of the decisions, and `reviewed`, `right`, `wrong` and `corrected`, the
        numbers of pairs.

    Raises:
        ReviewsError: If the table or the reviews are not such files, or of different pairs.
        DatasetError: If the dataset cannot be read, or is not the audited one.
        ModuleNotFoundError: If gradio is not installed.
    """
    page, url = serve(options)
    file = options.reviews_file
    print(f"{url} shows the pairs; decisions go to {file}. Ctrl-C ends.", file=sys.stderr)
    try:
        threading.Event().wait()
    except Stopped:
        raise
    except KeyboardInterrupt:
        pass
    finally:
        page.close(verbose=False)
    made = [decision.decision for decision in ReviewFile(file).decisions().values()]
    counts = {kind: made.count(kind) for kind in (RIGHT, WRONG, CORRECTED)}
    return {"reviews": str(file), "reviewed": len(made), **counts}


def serve(options: ReviewOptions) -> tuple[Any, str]:
    """Serve the page in a thread.

    Args:
        options: What to review.

    Returns:
        The `gradio.Blocks`, whose `close` ends the server, and its address.

    Raises:
        ReviewsError: See `review`.
        DatasetError: See `review`.
        ModuleNotFoundError: See `review`.
    """
    gradio = _import_gradio()
    reviews = ReviewFile(check_output(options.reviews_file, "--reviews", ".parquet"))
    queue = ReviewQueue(Path(options.table), reviews)
    splits, split, _ = load_splits(options)
    pictures = Pictures(splits[split], f"{options.dataset_name} ({split})", queue.image_ids())
    page = _page(gradio, ReviewSession(queue, CardPrinter(pictures, len(queue))), options)
    _, url, _ = page.launch(
        server_name=options.host,
        server_port=options.port,
        inbrowser=options.open_browser,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        theme=gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        css=CSS,
        head=HEAD,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
    )
    return page, url


def _import_gradio() -> Any:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "The review page needs gradio, which is not installed: "
            "pip install 'noisy-xmodal[review]'"
        ) from error
    return gradio


def _page(gradio: Any, session: ReviewSession, options: ReviewOptions) -> Any:
    """The components of the page, and what they do."""
    n_pairs = len(session.queue)
    with gradio.Blocks(
        title="Review of an audit", analytics_enabled=False, fill_width=True
    ) as page:
        # Kept by the browser with what it shows, so that a decision is about the pair in sight.
        rank = gradio.Number(visible=False, precision=0)
        history = gradio.State([])
        progress = gradio.HTML(elem_id="progress")
        with gradio.Row(elem_id="decide"):
            buttons = {
                key: gradio.Button(f"{text} ({letter.upper()})", elem_id=key)
                for key, (letter, text) in BUTTONS.items()
            }
        with gradio.Row():
            with gradio.Column(scale=3, min_width=320):
                card = gradio.HTML(elem_id="card")
                with gradio.Row(elem_id="write"):
                    caption = gradio.Textbox(
                        label="Another caption (E to write, Enter to save)",
                        elem_id="new_caption",
                        max_length=LONGEST_CAPTION,
                        scale=5,
                        min_width=300,
                    )
                    save = gradio.Button("Save this caption", elem_id="save", min_width=160)
            with gradio.Column(scale=1, min_width=280):
                search = gradio.Textbox(
                    label="Captions with these words (/)", elem_id="search", max_length=200
                )
                shown = gradio.Radio(list(SHOWN), value=SHOWN[0], label="Show", elem_id="shown")
                order = gradio.Radio(
                    list(ORDERS), value=options.order, label="Order", elem_id="order"
                )
                among = gradio.Number(
                    value=min(options.among, n_pairs),
                    minimum=1,
                    maximum=n_pairs,
                    precision=0,
                    label="Among how many pairs",
                    elem_id="among",
                )
                reviewer = gradio.Textbox(
                    label="Your name, kept with each decision",
                    value=options.reviewer or "",
                    max_length=100,
                    elem_id="reviewer",
                )
        choice = [order, among, shown, search]
        outputs = [rank, progress, card, caption, buttons[SUGGESTED], history]

        def answers(work: Callable[..., View], n_others: int = 0) -> Callable[..., tuple[Any, ...]]:
            """A function of other values, and of those of `choice`."""

            def answer(*values: Any) -> tuple[Any, ...]:
                others, (order, among, shown, search) = values[:n_others], values[n_others:]
                number = int(among) if among and among >= 1 else options.among
                view = work(Choice(order, number, shown, (search or "").strip()), *others)
                suggested = gradio.update(interactive=view.has_suggestion)
                return (*view[:4], suggested, view.history)

            return answer

        common = {"outputs": outputs, "show_progress": "hidden", "api_visibility": "private"}
        written = [rank, history, caption, reviewer]

        def decide(kind: str) -> Callable[..., tuple[Any, ...]]:
            def work(choice: Choice, rank: int, history: Any, text: str, name: str) -> View:
                return session.decide(choice, rank, history, kind, text, name)

            return answers(work, len(written))

        for kind in (WRONG, RIGHT, SUGGESTED):
            buttons[kind].click(decide(kind), written + choice, **common)
        gradio.on([save.click, caption.submit], decide(WRITTEN), written + choice, **common)
        buttons["undo"].click(
            answers(session.undo, 3), [rank, history, reviewer, *choice], **common
        )

        def back(choice: Choice, rank: int, history: Any) -> View:
            return session.move(choice, rank, history, back=True)

        seen = [rank, history, *choice]
        buttons["next"].click(answers(session.move, 2), seen, **common)
        buttons["previous"].click(answers(back, 2), seen, **common)
        changes = [page.load, *(each.change for each in choice)]
        common["trigger_mode"] = "always_last"
        gradio.on(changes, answers(session.start, 1), [history, *choice], **common)
    return page


__all__ = ["ReviewOptions", "review", "serve"]
