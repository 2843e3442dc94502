"""The HTML page of the report: its style, and formatting of texts and numbers."""

import math
import unicodedata
from html import escape

LONGEST_TEXT, LONGEST_NAME = 400, 100  # characters of a caption, and of an image's name

_OVERRIDES = "\u202d\u202e"  # reverse the displayed order of characters

# Nothing may be loaded or run, whatever a caption contains.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_STYLE = """
:root { color-scheme: light dark;
  --page: #f5f6f8; --card: #fff; --ink: #1c2733; --soft: #56636f; --line: #dfe3e8;
  --tint: #eceff2; --wrong: #b3263b; --right: #2f7d55; --note: #fff6e0; --note-line: #d9a521;
  --bar: linear-gradient(90deg, #d1495b, #edc25e 50%, #4c9f70); }
@media (prefers-color-scheme: dark) { :root {
  --page: #13171c; --card: #1c2229; --ink: #e6eaee; --soft: #a5b1bc; --line: #313a44;
  --tint: #262e37; --wrong: #ff8e9b; --right: #7fd0a0; --note: #2d2716; --note-line: #b98c1d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: clamp(20px, 4vw, 56px) clamp(16px, 3vw, 40px); }
h1, h2, h3, p, ul, ol, dl, dd, figure { margin: 0; padding: 0; }
h1 { font-size: 1rem; font-weight: 600; color: var(--soft); }
h2 { font-size: 1.35rem; line-height: 1.3; letter-spacing: -.01em; margin: 0 0 6px; }
h3 { font-size: .85rem; font-weight: 600; color: var(--soft); }
section { margin-top: clamp(36px, 5vw, 60px); }
.lead, .how { color: var(--soft); max-width: 68ch; }
.lead { margin-bottom: 20px; }
.answer { font-size: clamp(1.75rem, 4.4vw, 3rem); line-height: 1.15; letter-spacing: -.022em;
  font-weight: 650; max-width: 24em; margin: 10px 0 6px; text-wrap: balance; }
.answer strong { color: var(--wrong); font-weight: inherit; white-space: nowrap; }
.answer span { color: var(--soft); font-weight: 450; font-size: .6em; letter-spacing: -.01em;
  white-space: nowrap; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 24px 0; list-style: none; }
.tiles li { flex: 1 1 140px; background: var(--card); border: 1px solid var(--line);
  border-radius: 14px; padding: 14px 18px; color: var(--soft); font-size: .9rem; }
.tiles b { display: block; font-size: 1.6rem; line-height: 1.25; color: var(--ink);
  font-weight: 620; font-variant-numeric: tabular-nums; }
.judge { max-width: 68ch; font-weight: 550; margin-bottom: 6px; }
.notes { list-style: none; display: grid; gap: 10px; }
.notes li { padding: 12px 16px; border-radius: 10px; background: var(--tint); max-width: 80ch; }
.notes.warnings li { background: var(--note); border-left: 4px solid var(--note-line); }
.panel { background: var(--card); border: 1px solid var(--line); border-radius: 16px;
  padding: clamp(12px, 2vw, 28px); }
.panel img { display: block; width: 100%; height: auto; max-width: 960px; margin: 0 auto; }
.panel.fitting { width: fit-content; max-width: 100%; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: 9px 0; border-bottom: 1px solid var(--line);
  vertical-align: baseline; }
tr:last-child > * { border-bottom: 0; }
th { font-weight: 550; }
thead th { color: var(--soft); font-size: .85rem; }
th + * { padding-left: 28px; }
td.value { font-variant-numeric: tabular-nums; font-weight: 620; white-space: nowrap; }
th small { display: block; color: var(--soft); font-size: .88rem; font-weight: 400; }
.cards { list-style: none; display: grid; gap: 18px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 270px), 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 16px;
  overflow: hidden; display: flex; flex-direction: column; min-width: 0; }
.photo { background: var(--tint); height: 210px; display: grid; place-items: center;
  color: var(--soft); font-size: .9rem; }
.photo img { width: 100%; height: 210px; object-fit: contain; }
.inside { padding: 14px 18px 18px; display: flex; flex-direction: column; gap: 10px; flex: 1; }
.inside h3 { display: flex; gap: 8px; align-items: baseline; }
.rank { flex: none; background: var(--tint); color: var(--ink); border-radius: 99px;
  padding: 1px 9px; font-variant-numeric: tabular-nums; }
.caption { font-size: 1.06rem; line-height: 1.42; font-weight: 520; }
.bar { height: 6px; border-radius: 3px; background: var(--bar); position: relative;
  margin: 6px 7px 0; }
.bar i { position: absolute; top: 50%; width: 14px; height: 14px; margin: -7px 0 0 -7px;
  border-radius: 50%; background: var(--ink); border: 3px solid var(--card); }
.numbers { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 4px 16px;
  font-size: .82rem; line-height: 1.4; font-variant-numeric: tabular-nums; }
.numbers dt { color: var(--soft); }
.numbers dd { font-weight: 620; font-size: .95rem; }
.instead { border-top: 1px solid var(--line); padding-top: 10px;
  font-size: .92rem; }
.instead dt { color: var(--soft); font-size: .82rem; }
.instead dd + dt { margin-top: 10px; }
.instead dd.other { display: flex; gap: 12px; align-items: center; }
.instead img { flex: none; width: 84px; height: 84px; object-fit: cover; border-radius: 8px;
  margin-top: 4px; }
.copies { list-style: none; display: grid; gap: 14px; }
.copies > li { padding: 16px 18px; }
.strip { list-style: none; display: flex; flex-wrap: wrap; gap: 12px; margin-top: 10px; }
.strip li { width: 120px; font-size: .8rem; line-height: 1.35; color: var(--soft); }
.strip.names li { width: auto; background: var(--tint); border-radius: 6px; padding: 2px 8px; }
.strip img { display: block; width: 120px; height: 120px; object-fit: cover; border-radius: 8px;
  margin-bottom: 4px; }
.facts { display: grid; grid-template-columns: minmax(90px, max-content) 1fr; gap: 6px 22px; }
.facts dt { color: var(--soft); }
.reading { display: grid; gap: 10px; max-width: 72ch; padding-left: 1.2em; }
.empty { font-style: italic; color: var(--soft); }
@media print { .card, .copies > li, .panel { break-inside: avoid; } }
"""


def page(title: str, body: str) -> str:
    """A whole HTML page.

    Args:
        title: Plain text.
        body: HTML.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def escape_text(text: object, longest: int | None = None) -> str:
    """Escape a text for HTML, without control characters or direction overrides.

    Args:
        text: Any text, possibly with tags.
        longest: Maximum number of characters, or None.
    """
    characters = str(text)
    n_more = 0 if longest is None else max(len(characters) - longest, 0)
    characters = characters[: len(characters) - n_more]
    printable = "".join("\ufffd" if _is_control(char) else char for char in characters)
    return escape(printable) + (f" … ({n_more:,} more characters)" if n_more else "")


def _is_control(char: str) -> bool:
    if char in _OVERRIDES:
        return True
    return unicodedata.category(char) in ("Cc", "Cs") and char not in "\t\n\r"


def caption(text: str, kind: str, css_class: str = "") -> str:
    """An element with a caption, in the direction of its script."""
    is_empty = not text.strip()
    css_class = f"{css_class} empty".strip() if is_empty else css_class
    attributes = f' class="{css_class}"' if css_class else ""
    content = "(empty)" if is_empty else escape_text(text, LONGEST_TEXT)
    return f'<{kind}{attributes} dir="auto">{content}</{kind}>'


def name(text: object) -> str:
    """The name of an image, with its text direction isolated from the surrounding text."""
    return f"<bdi>{escape_text(text, LONGEST_NAME)}</bdi>"


def image(uri: str, alternative: str) -> str:
    """An embedded image; `uri` is a `data:` URI made by `thumbnail_uri`."""
    return f'<img src="{uri}" alt="{escape_text(alternative)}">'


def section(heading: str, body: str, lead: str = "") -> str:
    """A section of the page; `heading` is plain text, the others are HTML."""
    lead = f'<p class="lead">{lead}</p>\n' if lead else ""
    return f"<section>\n<h2>{escape_text(heading)}</h2>\n{lead}{body}\n</section>"


def items(entries: list[str], css_class: str) -> str:
    """A list of HTML entries."""
    return f'<ul class="{css_class}">' + "".join(f"<li>{e}</li>" for e in entries) + "</ul>"


def percent(share: float, unit: bool = True) -> str:
    """A share in percent, with a second decimal if it is below 1 %."""
    if not math.isfinite(share):
        return "an unknown share"
    digits = 2 if 0 < share < 0.01 else 1
    return f"{100 * share:.{digits}f}" + ("\N{NO-BREAK SPACE}%" if unit else "")


def probability(value: float) -> str:
    """A probability with three digits, never rounded to 0 or 1."""
    if not math.isfinite(value):
        return "unknown"
    if 0 < value < 0.001:
        return "below 0.001"
    return "above 0.999" if 0.999 < value < 1 else f"{value:.3f}"


def decimal(value: float) -> str:
    """A number with three digits after the point."""
    return f"{value:.3f}" if math.isfinite(value) else "unknown"


def count(number: int, what: str) -> str:
    """A number with its noun, such as "1 pair" or "2,000 pairs"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
