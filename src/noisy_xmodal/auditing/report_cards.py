"""HTML of the worst pairs and the duplicates, with thumbnails."""

import math
from typing import Any

from .contents import DoubtfulPair, Duplicates
from .report_page import caption, decimal, image, items, name, probability
from .thumbnails import thumbnail_uri


def pair_card(pair: DoubtfulPair, rank: int) -> str:
    """A pair as a list item.

    Args:
        pair: The pair.
        rank: Its rank from 1, the worst.
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
        f"{caption(pair.caption, 'p', 'caption')}{bar}{numbers}{_suggestions(pair)}</div></li>"
    )


def _suggestions(pair: DoubtfulPair) -> str:
    entries = []
    if pair.suggested_caption is not None:
        entries.append("<dt>Suggested caption:</dt>" + caption(pair.suggested_caption, "dd"))
    if pair.suggested_image_id is not None:
        picture = ""
        if pair.suggested_image is not None:
            picture = _thumbnail(pair.suggested_image, pair.suggested_image_id)
        entries.append(
            '<dt>Suggested image for the caption:</dt><dd class="other">'
            f"{picture}{name(pair.suggested_image_id)}</dd>"
        )
    return f'<dl class="instead">{"".join(entries)}</dl>' if entries else ""


def duplicates_entry(group: Duplicates) -> str:
    """A group of duplicates as a list item."""
    if group.kind == "picture":
        title = f"{group.count:,} images look alike"
    else:
        title = f"One caption of {group.count:,} images"
    text = caption(group.what, "p", "caption") if group.what else ""
    entries = [name(image_id) for image_id in group.image_ids]
    if group.pictures:
        images = zip(group.pictures, group.image_ids, strict=True)
        entries = [_thumbnail(picture, image_id) + name(image_id) for picture, image_id in images]
    n_more = group.count - len(entries)
    if n_more > 0:
        entries.append(f"and {n_more:,} more")
    css_class = "strip" if group.pictures else "strip names"
    return f'<li class="card"><h3>{title}</h3>{text}{items(entries, css_class)}</li>'


def _thumbnail(picture: Any, image_id: str) -> str:
    uri = thumbnail_uri(picture)
    if uri is None:
        return "<span>(image does not decode)</span>"
    return image(uri, f"Image {image_id}")
