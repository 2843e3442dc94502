"""The report of an audit: one self-contained HTML file."""

import base64
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..files import write_text
from .contents import AuditContents
from .report_cards import duplicates_entry, pair_card
from .report_page import count, decimal, escape_text, items, name, page, percent, section
from .report_plot import NARROW, WIDE, mixture_bins, mixture_svg

_MEASURES = (
    ("auroc", "AUROC", "1: every wrong pair has a larger loss than any right pair; 0.5: chance"),
    ("average_precision", "Average precision", "1: no right pair ranks before a wrong pair"),
    ("precision_at_100", "Precision at 100", "wrong pairs among the 100 worst"),
    ("precision_at_500", "Precision at 500", "wrong pairs among the 500 worst"),
)

_READING = (
    "The <b>loss</b> of a pair measures how badly image and caption match according to the judge. "
    "Losses are comparable within an audit, but not between audits.",
    "The <b>clean probability</b> compares a pair's loss with the losses of images with captions "
    "of other images, almost all of which are wrong. Below 0.5 a pair is more likely wrong than "
    "right.",
    "The <b>share of wrong pairs</b> is estimated from all losses together, so it may differ from "
    "the share of pairs judged wrong. It can be correct even if single judgements are not.",
    "A judge makes errors. Rare objects, foreign words and text inside images look wrong to it, "
    "and captions that match only loosely look right: check pairs before you delete them.",
    "A <b>suggestion</b> is the best match in this dataset according to the judge. It may still be "
    "wrong.",
)


def write_report(path: str | Path, contents: AuditContents) -> None:
    """Write the report atomically.

    Args:
        path: The HTML file; missing folders are created.
        contents: Contents of the report.
    """
    write_text(path, report_html(contents))


def report_html(contents: AuditContents) -> str:
    """The report as HTML with embedded thumbnails, without scripts or external resources.

    Args:
        contents: Contents of the report; all texts are escaped.

    Raises:
        ValueError: If the numbers of losses and clean probabilities differ.
    """
    if contents.losses.shape != contents.clean_probability.shape:
        raise ValueError(
            f"losses has shape {contents.losses.shape}, but clean_probability has shape "
            f"{contents.clean_probability.shape}: give both for every pair"
        )
    parts = (
        _answer(contents),
        _notes("Warnings", contents.warnings, "notes warnings"),
        _notes("Left out", contents.left_out, "notes"),
        _mixture(contents),
        _oracle(contents),
        _worst(contents),
        _duplicates(contents),
        section("How to read this page", items(list(_READING), "reading")),
        _facts(contents),
    )
    return page(f"Audit of {contents.dataset}", "\n".join(part for part in parts if part))


def _answer(contents: AuditContents) -> str:
    n_pairs = len(contents.losses)
    n_wrong = int((contents.clean_probability < 0.5).sum())
    low, high = contents.wrong_interval
    interval = basis = ""
    level = f"{100 * contents.confidence:.3g}\N{NO-BREAK SPACE}%"
    verb = "is" if n_pairs == 1 else "are"
    answer = (
        f"About <strong>{_share(contents)}</strong> of the {count(n_pairs, 'pair')} {verb} wrong"
    )
    if contents.wrong_share is None:
        answer = f"How many of the {count(n_pairs, 'pair')} are wrong is <strong>unknown</strong>"
        interval = f" <span>(at most {percent(high)})</span>"
        basis = '<p class="lead">The judge does not distinguish them from random pairs.</p>\n'
    elif math.isfinite(low) and math.isfinite(high):
        interval = f" <span>({percent(low, unit=False)} to {percent(high)})</span>"
        basis = f'<p class="lead">{level} interval; estimated from all losses together.</p>\n'
    answer += interval
    tiles = [
        f"<b>{n_wrong:,}</b>judged wrong (clean probability below 0.5)",
        f"<b>{n_pairs:,}</b>pairs of an image and a caption",
        f"<b>{contents.n_images:,}</b>images",
    ]
    return (
        f"<header>\n<h1>Audit of {name(contents.dataset)}</h1>\n"
        f'<p class="answer">{answer if n_pairs else "No pair was judged"}</p>\n'
        f"{basis if n_pairs else ''}"
        f'{items(tiles, "tiles")}\n<p class="judge">{escape_text(contents.judge)}</p>\n'
        f'<p class="how">{escape_text(contents.how)}</p>\n</header>'
    )


def _share(contents: AuditContents) -> str:
    """The share of wrong pairs, or that it is unknown."""
    return "unknown" if contents.wrong_share is None else percent(contents.wrong_share)


def _notes(heading: str, notes: Sequence[str], css_class: str) -> str:
    entries = [escape_text(note) for note in notes]
    return section(heading, items(entries, css_class)) if entries else ""


def _mixture(contents: AuditContents) -> str:
    losses = contents.losses
    finite = losses[np.isfinite(losses)]
    if not len(finite):
        return ""
    share = contents.wrong_share
    drawn = contents.wrong_interval[1] if share is None else share
    bins = mixture_bins(losses, contents.random_losses, contents.clean_probability, drawn)
    wide, narrow = (_svg_uri(mixture_svg(bins, size)) for size in (WIDE, NARROW))
    alternative = (
        f"Histogram of the losses of {count(len(finite), 'pair')}, from {finite.min():.3g} to "
        f"{finite.max():.3g}, median {np.median(finite):.3g}"
    )
    random = contents.random_losses[np.isfinite(contents.random_losses)]
    lead = "The lower line is the mean clean probability of the pairs with that loss."
    if len(random):
        alternative += f"; median of random re-pairings {np.median(random):.3g}"
        lead = (
            f"Red: the losses of {len(random):,} random re-pairings, almost all of which are "
            f"wrong, scaled to {'at most ' if share is None else ''}{percent(drawn)} of the pairs. "
            f"Green: the rest of the losses of all pairs. {lead}"
        )
    picture = (
        f'<div class="panel"><picture><source media="(max-width: 640px)" srcset="{narrow}">'
        f'<img src="{wide}" alt="{escape_text(alternative)}."></picture></div>'
    )
    return section("Losses of right and wrong pairs", picture, lead)


def _svg_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _oracle(contents: AuditContents) -> str:
    """Evaluation of the judgement, if the truth is known."""
    rows = []
    for key, title, meaning in _MEASURES:
        if key in contents.oracle:
            value = contents.oracle[key]
            rows.append((title, meaning, "too few pairs" if value is None else decimal(value)))
    true_share = contents.oracle.get("true_share")
    if true_share is not None:
        rows.append(("True share of wrong pairs", "from the truth", percent(true_share)))
        rows.append(("Estimated share", "without the truth", _share(contents)))
    if not rows:
        return ""
    body = "".join(
        f'<tr><th scope="row">{title}<small>{meaning}</small></th>'
        f'<td class="value">{value}</td></tr>'
        for title, meaning, value in rows
    )
    head = '<tr><th scope="col">Measure</th><th scope="col">Value</th></tr>'
    table = f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
    lead = "The dataset has the truth about these pairs. The judge did not use it."
    return section("Comparison with the truth", f'<div class="panel fitting">{table}</div>', lead)


def _worst(contents: AuditContents) -> str:
    if not contents.worst:
        return ""
    cards = "\n".join(pair_card(pair, rank) for rank, pair in enumerate(contents.worst, 1))
    n_worst = len(contents.worst)
    heading = "The worst pair" if n_worst == 1 else f"The {n_worst:,} worst pairs"
    lead = "Worst first. The mark on the bar is the clean probability, from 0 to 1."
    return section(heading, f'<ol class="cards">\n{cards}\n</ol>', lead)


def _duplicates(contents: AuditContents) -> str:
    if not contents.duplicates:
        return ""
    entries = "\n".join(duplicates_entry(group) for group in contents.duplicates)
    lead = (
        "Copies of one image with different captions make each other look wrong, and a caption of "
        "many images says little about each of them."
    )
    return section("Duplicates", f'<ul class="copies">\n{entries}\n</ul>', lead)


def _facts(contents: AuditContents) -> str:
    if not contents.facts:
        return ""
    entries = "".join(
        f"<dt>{escape_text(key)}</dt><dd>{escape_text(value)}</dd>"
        for key, value in contents.facts.items()
    )
    return section("Facts", f'<dl class="facts panel">{entries}</dl>')
