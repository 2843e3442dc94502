"""The report of an audit: one self-contained HTML file."""

import base64
import io
import re
from collections.abc import Mapping

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from PIL import Image

from ..data.columns import IMAGE
from ..data.pictures import open_picture, stored_pictures
from .report_plot import NARROW, WIDE, histogram_svg, loss_histogram
from .result import AuditResult

_THUMBNAIL, _QUALITY = 200, 80  # pixels on the long side, and JPEG quality
GROUPS, MEMBERS = 8, 6  # of duplicates of each kind, and images of each group
#: Control characters, surrogates, and marks that reverse the displayed order of characters.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202d\u202e\ud800-\udfff]")


def report_html(result: AuditResult, facts: Mapping[str, str]) -> str:
    """The report as HTML with embedded thumbnails, without scripts or external resources.

    Args:
        result: What the audit found; all texts are escaped.
        facts: Facts of the run by name, for the end of the page.
    """
    pairs = result.rows.pairs
    pictures = stored_pictures(pairs.dataset) if pairs.visual == IMAGE else None

    def thumbnail(row: int) -> str | None:
        assert pictures is not None, "the template asks for thumbnails of pictures only"
        return thumbnail_uri(pictures[row][IMAGE])

    share = result.judgement.share
    drawn = share.high if share.share is None else share.share
    losses, random_losses = result.judgement.losses, result.judgement.random_losses
    bins = loss_histogram(losses, random_losses, result.judgement.clean_probability, drawn)
    figures = [base64.b64encode(histogram_svg(bins, size).encode()) for size in (WIDE, NARROW)]
    return template("report.html.jinja").render(
        result=result,
        options=result.options,
        judgement=result.judgement,
        share=share,
        drawn=drawn,
        losses={"low": losses.min(), "high": losses.max(), "median": np.median(losses)},
        random_median=np.median(random_losses),
        figures=[figure.decode() for figure in figures],
        worst=result.judgement.order[: result.options.shown].tolist(),
        row_of_pair=pairs.row_of_pair.tolist(),
        duplicates=_duplicates(result),
        thumbnail=thumbnail if pictures is not None else None,
        facts=facts,
    )


def template(name: str) -> Template:
    """A template of this folder, which escapes all texts and shows no control characters."""
    environment = Environment(
        loader=PackageLoader("noisy_xmodal.auditing", ""),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "probability": probability, "shorten": shorten}
    return environment.get_template(name)


def _duplicates(result: AuditResult) -> list[tuple[str | None, int, list[int]]]:
    """The repeated caption, or None for similar images, and number and first rows of the images."""
    groups = [(None, group) for group in result.rows.alike[:GROUPS]]
    return [
        (text, len(group), group[:MEMBERS].tolist())
        for text, group in (*groups, *result.repeated[:GROUPS])
    ]


def thumbnail_uri(stored: dict[str, object], size: int = _THUMBNAIL) -> str | None:
    """A `data:` URI of a small JPEG.

    Args:
        stored: A picture of any mode and size, as in a row of `stored_pictures`.
        size: Largest number of pixels of the long side.

    Returns:
        The URI, or None if the picture does not decode.
    """
    try:
        small = open_picture(stored).copy()
        small.thumbnail((size, size))
        file = io.BytesIO()
        # A new image, without EXIF data and colour profile.
        Image.fromarray(np.asarray(small)).save(file, "JPEG", quality=_QUALITY, optimize=True)
    except (OSError, SyntaxError, ValueError):  # raised by Pillow for damaged files
        return None
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def printable(value: object) -> object:
    """A text without control characters and marks that reverse what is shown; else the value."""
    is_text = isinstance(value, str) and not hasattr(value, "__html__")  # no output of a macro
    return _UNPRINTABLE.sub("\ufffd", str(value)) if is_text else value


def shorten(text: str, longest: int) -> str:
    """A text, cut after some characters with the number of those left out."""
    n_more = len(text) - longest
    return text if n_more <= 0 else f"{text[:longest]} … ({n_more:,} more characters)"


def percent(share: float, unit: bool = True) -> str:
    """A share in percent, with a second decimal if it is below 1 %."""
    digits = 2 if 0 < share < 0.01 else 1
    return f"{100 * share:.{digits}f}" + ("\N{NO-BREAK SPACE}%" if unit else "")


def probability(value: float) -> str:
    """A probability with three digits, never rounded to 0 or 1."""
    if 0 < value < 0.001:
        return "below 0.001"
    return "above 0.999" if 0.999 < value < 1 else f"{value:.3f}"
