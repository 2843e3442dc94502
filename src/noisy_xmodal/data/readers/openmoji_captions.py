"""English captions for emoji, from the `emoji` and `emojis` packages.

Captions are the Unicode CLDR name and natural short codes of the two packages ("running woman", but
not "clock130", "u7121", "bangbang"). Topic tags ("happy", "festival") apply to many pictures or
describe feelings, so they are tags, not captions. A short code that also names another emoji ("cat"
for the cat face) is dropped, so all captions are unique. An emoji with skin tones also gets the
captions of its base form ("running woman with dark skin").
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_CAPTIONS = 5

SKIN_TONES = {
    0x1F3FB: "light",
    0x1F3FC: "medium-light",
    0x1F3FD: "medium",
    0x1F3FE: "medium-dark",
    0x1F3FF: "dark",
}

_VARIATION_SELECTOR = 0xFE0F
_REGIONAL_INDICATORS = range(0x1F1E6, 0x1F200)
_FULLY_QUALIFIED = 2

# Vulgar, romanised Japanese, or unclear outside of chats.
_NOT_CAPTIONS = frozenset(
    (
        *("shit", "hankey", "fu", "harambe", "hocho", "koko", "moyai", "bangbang", "facepunch"),
        *("mag", "mag right", "mega", "metal", "zap", "tada", "dash", "boom", "joy", "date"),
        *("ng woman", "ng man", "no good", "sassy woman", "sassy man", "information desk person"),
        *("fuelpump", "busstop", "bullettrain side", "bullettrain front", "mens", "womens"),
        *("accept", "flags", "iphone", "calling", "chart", "symbols", "stars", "beginner", "hash"),
        *("compression", "heartpulse", "gift heart", "put litter in its place", "flipper"),
        *("arrow forward", "arrow backward", "couplekiss", "hotsprings", "new", "free", "secret"),
    )
)

CodePoints = tuple[int, ...]


@dataclass(frozen=True)
class Emoji:
    """The name, captions, tags and category of one emoji.

    Attributes:
        name: The CLDR name.
        captions: 1 to 5 captions, starting with the name.
        tags: Topic words.
        category: The group in the Unicode chart; empty if the packages do not have it.
    """

    name: str
    captions: tuple[str, ...]
    tags: tuple[str, ...]
    category: str


def code_points(characters: Iterable[int]) -> CodePoints:
    """Drops the variation selector, which files and packages use inconsistently."""
    return tuple(c for c in characters if c != _VARIATION_SELECTOR)


def n_tones(points: CodePoints) -> int:
    """Counts the skin tones in an emoji."""
    return sum(c in SKIN_TONES for c in points)


def emoji_table() -> dict[CodePoints, Emoji]:
    """Creates captions, tags and categories of all emoji in the packages.

    Returns:
        Emoji by code points without variation selectors, in the order of code points.
    """
    import emoji
    from emojis.db.db import EMOJI_DB

    entries = {
        code_points(map(ord, text)): entry
        for text, entry in emoji.EMOJI_DATA.items()
        if entry["status"] == _FULLY_QUALIFIED
    }
    records = {code_points(map(ord, record.emoji)): record for record in EMOJI_DB}
    names = {points: _words(entry["en"]) for points, entry in sorted(entries.items())}
    short_codes = {
        points: [
            *entries[points].get("alias", []),
            *(records[points].aliases if points in records else ()),
        ]
        for points in names
    }
    plain = _name_captions(names, short_codes)
    table = {}
    for points, name in names.items():
        base = code_points(c for c in points if c not in SKIN_TONES)
        record = records.get(points) or records.get(base)
        category = record.category if record else _category_of_parts(base, records)
        topics = [*(record.tags if record else ()), *re.findall(r"[a-z]+", category.lower())]
        table[points] = Emoji(
            name=name,
            captions=_with_tones(points, base, plain),
            tags=tuple(dict.fromkeys(topics)),
            category=category,
        )
    return table


def same(caption: str) -> str:
    """Normalizes the spelling of a caption: "Running-shirt" and "running shirt" are the same."""
    return re.sub(r"[^\w#*]|_", "", caption.casefold())


def _name_captions(
    names: Mapping[CodePoints, str], short_codes: Mapping[CodePoints, list[str]]
) -> dict[CodePoints, list[str]]:
    """Captions without skin tones: the name, and the unique short codes."""
    candidates = {
        points: _distinct([*_flag(points, name), *map(_words, short_codes[points])])
        for points, name in names.items()
    }
    reserved = {same(name) for name in names.values()}
    uses = Counter(same(c) for captions in candidates.values() for c in captions)
    return {
        points: [
            caption
            for i, caption in enumerate(captions)
            if i == 0
            or (uses[same(caption)] == 1 and same(caption) not in reserved and _is_caption(caption))
            or (points[0] in _REGIONAL_INDICATORS and same(caption) == same(names[points]))
        ]
        for points, captions in candidates.items()
    }


def _flag(points: CodePoints, name: str) -> list[str]:
    """The name, preceded by "flag of ..." for the flag of a country."""
    if points[0] in _REGIONAL_INDICATORS and len(points) == 2:
        return [f"flag of {name}", name]
    return [name]


def _is_caption(short_code: str) -> bool:
    return (
        len(short_code) > 2
        and not re.search(r"\d", short_code)
        and short_code not in _NOT_CAPTIONS
        and not short_code.startswith(("flag for ", "couplekiss "))
    )


def _with_tones(
    points: CodePoints, base: CodePoints, plain: Mapping[CodePoints, list[str]]
) -> tuple[str, ...]:
    tones = [SKIN_TONES[c] for c in points if c in SKIN_TONES]
    if not tones or base not in plain:
        return tuple(plain[points][:MAX_CAPTIONS])
    skin = " and ".join(dict.fromkeys(tones))
    toned = [f"{caption} with {skin} skin" for caption in plain[base]]
    return tuple(_distinct([*plain[points], *toned])[:MAX_CAPTIONS])


def _category_of_parts(base: CodePoints, records: Mapping[CodePoints, Any]) -> str:
    """The category of an unknown sequence: that of its first character."""
    record = records.get(base[:1])
    return str(record.category) if record else ""


def _distinct(captions: Iterable[str]) -> list[str]:
    by_spelling: dict[str, str] = {}
    for caption in captions:
        by_spelling.setdefault(same(caption), caption)
    return list(by_spelling.values())


def _words(short_code: str) -> str:
    return re.sub(r"\s+", " ", short_code.strip(":").replace("_", " ").replace("’", "'")).strip()
