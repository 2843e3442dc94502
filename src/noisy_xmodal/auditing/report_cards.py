"""What the report shows with pictures: the worst pairs, and what stands in the data twice."""

import math
from typing import Any

from .contents import DoubtfulPair, Duplicates
from .report_page import caption, decimal, image, name, probability
from .thumbnails import thumbnail_uri


def pair_card(pair: DoubtfulPair, rank: int) -> str:
    """A pair as an entry of the list of cards.

    Args:
        pair: What to show.
        rank: From 1, the worst.
    """
    photo = ""
    if pair.image is not None:
        photo = f'<div class="photo">{_thumbnail(pair.image, pair.image_id)}</div>'
    value = pair.clean_probability
    place = 100 * min(max(value, 0.0), 1.0) if math.isfinite(value) else 50
    bar = f'<div class="bar" aria-hidden="true"><i style="left:{place:.1f}%"></i></div>'
    numbers = (
        f'<dl class="numbers"><div><dt>clean probability</dt><dd>{probability(value)}</dd></div>'
        f"<div><dt>loss</dt><dd>{decimal(pair.loss)}</dd></div>"
        f"<div><dt>pair</dt><dd>{pair.pair_id}</dd></div></dl>"
    )
    return (
        f'<li class="card">{photo}<div class="inside">'
        f'<h3><span class="rank">{rank}</span> {name(pair.image_id)}</h3>'
        f"{caption(pair.caption, 'p', 'caption')}{bar}{numbers}{_instead(pair)}</div></li>"
    )


def _instead(pair: DoubtfulPair) -> str:
    """What would fit better, as far as it is known."""
    entries = []
    if pair.suggested_caption is not None:
        entries.append("<dt>Perhaps it is:</dt>" + caption(pair.suggested_caption, "dd"))
    if pair.suggested_image_id is not None:
        picture = ""
        if pair.suggested_image is not None:
            picture = _thumbnail(pair.suggested_image, pair.suggested_image_id)
        entries.append(
            '<dt>The caption may belong to:</dt><dd class="other">'
            f"{picture}{name(pair.suggested_image_id)}</dd>"
        )
    return f'<dl class="instead">{"".join(entries)}</dl>' if entries else ""


def duplicates_entry(found: Duplicates) -> str:
    """A near-duplicate warning as an entry of their list."""
    if found.kind == "picture":
        title = f"{found.count:,} pictures look alike"
    else:
        title = f"One caption on {found.count:,} images"
    text = caption(found.what, "p", "caption") if found.what else ""
    entries = [name(image_id) for image_id in found.image_ids]
    if found.pictures:
        shots = zip(found.pictures, found.image_ids, strict=True)
        entries = [_thumbnail(picture, image_id) + name(image_id) for picture, image_id in shots]
    hidden = found.count - len(entries)
    if hidden > 0:
        entries.append(f"and {hidden:,} more")
    strip = "strip" if found.pictures else "strip names"
    listed = "".join(f"<li>{entry}</li>" for entry in entries)
    return f'<li class="card"><h3>{title}</h3>{text}<ul class="{strip}">{listed}</ul></li>'


def _thumbnail(picture: Any, image_id: str) -> str:
    uri = thumbnail_uri(picture)
    if uri is None:
        return "<span>(picture does not decode)</span>"
    return image(uri, f"Picture {image_id}")
