"""Kinds of trouble that need no judge: unusable pictures, captions that say nothing, leakage.

Each kind is a function from the rows of an audit to a mask over images or pairs. Its name and
description are in `arguments.audit.TROUBLES`.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments.audit import TROUBLES, AuditOptions
from ..noise.equal_texts import text_numbers
from .image_scan import FLAT
from .loading import AuditRows

Mask = NDArray[np.bool_]

_TINY, _LONG = 32, 5.0  # pixels, ratio of the sides
_PLACEHOLDER_IMAGES = 5  # copies of one picture with different captions
_REPEATS = 10  # images with the same caption
_N_EXAMPLES, _EXAMPLE_LENGTH = 5, 120

_FILE_NAME = re.compile(
    r"[\w\-. ()]+\.(jpe?g|png|gif|webp|bmp|tiff?|heic|svg|mp4|pdf)"
    r"|(img|dsc[nf]?|pict?|image|photo|screenshot|p)[-_ ]?\d{3,}[-_ ()\w]*"
    r"|[0-9a-f]{16,}(_\w{1,8})?",
    re.IGNORECASE,
)
_URL = re.compile(r"(https?://|www\.)\S+", re.IGNORECASE)
_MARKUP = re.compile(
    r"</?(a|b|i|u|p|br|div|span|img|h\d|li|ul|ol|td|tr|table|strong|em|font|script|style)\b[^>]*>"
    r"|&(nbsp|amp|lt|gt|quot|apos|#\d{1,5}|#x[0-9a-f]{1,4});"
    r"|\[/?(url|img|b|i)\]",
    re.IGNORECASE,
)
#: The language of a text is believed from three words on, or in another than the Latin script.
_LATIN_END = 0x250
_LANGUAGE_WORDS, _LANGUAGE_SURE, _COMMON_LANGUAGE = 3, 0.9, 0.05


@dataclass(frozen=True, eq=False)
class Trouble:
    """The pairs that have a kind of trouble.

    Attributes:
        name: A key of `TROUBLES`.
        has_it: (n_pairs,) bool.
        n_images: Number of their images.
        examples: Image id and caption of the first ones; for an image that is in another split,
            its name there.
    """

    name: str
    has_it: Mask
    n_images: int
    examples: Sequence[tuple[str, str]]

    @property
    def title(self) -> str:
        """What the kind is."""
        return TROUBLES[self.name]

    def summary(self) -> dict[str, object]:
        """The counts and the examples, ready for JSON."""
        counts = {"n_pairs": int(self.has_it.sum()), "n_images": self.n_images}
        return {"title": self.title, **counts, "examples": [list(one) for one in self.examples]}


def find_troubles(rows: AuditRows) -> list[Trouble]:
    """The kinds of trouble that pairs of a dataset have, those of most pairs first.

    Args:
        rows: The rows.
    """
    captions, row_of_pair = rows.pairs.captions(), rows.pairs.row_of_pair
    masks = {name: find(rows) for name, find in _IMAGE_FINDERS.items()}
    # Region features have no sizes and contrasts.
    masks = {name: mask[row_of_pair] for name, mask in masks.items() if len(mask)}
    masks |= {name: find(rows) for name, find in _PAIR_FINDERS.items()}
    troubles = []
    for name, has_it in masks.items():
        if not has_it.any():
            continue
        images, first_pairs = np.unique(row_of_pair[has_it], return_index=True)
        pairs = np.flatnonzero(has_it)[np.sort(first_pairs)][:_N_EXAMPLES]
        texts = captions
        if name == "leaked_images":
            texts = [rows.leaked_images.get(row, "") for row in row_of_pair.tolist()]
        examples = [
            (rows.image_ids[row_of_pair[pair]], texts[pair][:_EXAMPLE_LENGTH])
            for pair in pairs.tolist()
        ]
        troubles.append(Trouble(name, has_it, len(images), examples))
    return sorted(troubles, key=lambda trouble: -int(trouble.has_it.sum()))


def unchecked_kinds(options: AuditOptions) -> dict[str, str]:
    """The kinds that an audit does not look for, with the reason.

    Args:
        options: Options of the audit.

    Raises:
        ValueError: If `drop` names one of them.
    """
    unchecked = {}
    if options.split is not None:
        reason = "other splits are read only without --split"
        unchecked = {name: reason for name in TROUBLES if name.startswith("leaked_")}
    if not has_language_identifier():
        unchecked["other_language"] = "it needs pip install 'noisy-xmodal[language]'"
    for name in options.kinds_to_drop if options.drop != "all" else ():
        if name in unchecked:
            raise ValueError(
                f"--drop {name} would drop nothing, as this audit does not look for it: "
                f"{unchecked[name]}"
            )
    return unchecked


def is_file_name(caption: str) -> bool:
    """Whether a caption is a name of a file, such as IMG_2041.jpg, or a hash."""
    return _FILE_NAME.fullmatch(caption.strip()) is not None


def is_mostly_url(caption: str) -> bool:
    """Whether at least half of a caption is URLs."""
    text = caption.strip()
    return 2 * sum(len(match[0]) for match in _URL.finditer(text)) >= max(1, len(text))


def has_markup(caption: str) -> bool:
    """Whether a caption has tags or character references of HTML, or tags of forums."""
    return _MARKUP.search(caption) is not None


def is_mostly_digits(caption: str) -> bool:
    """Whether at least half of the characters of a caption, without white space, are digits."""
    characters = [character for character in caption if not character.isspace()]
    return 2 * sum(map(str.isdigit, characters)) >= max(1, len(characters))


def _captions(judge: Callable[[str], bool]) -> Callable[[AuditRows], Mask]:
    """A finder of captions by their text alone."""

    def find(rows: AuditRows) -> Mask:
        return np.fromiter(map(judge, rows.pairs.captions()), dtype=bool, count=len(rows.pairs))

    return find


def _tiny(rows: AuditRows) -> Mask:
    return rows.scan.sizes.min(axis=1, initial=_TINY) < _TINY


def _long(rows: AuditRows) -> Mask:
    return rows.scan.sizes.max(axis=1, initial=0) > _LONG * rows.scan.sizes.min(
        axis=1, initial=2**31
    )


def _flat(rows: AuditRows) -> Mask:
    return rows.scan.contrasts < FLAT


def _copies(rows: AuditRows) -> Mask:
    return rows.original != np.arange(rows.pairs.n_images)


def _placeholders(rows: AuditRows) -> Mask:
    """Copies of one image, at least five, if half of their first captions are different."""
    groups = np.unique(rows.original, return_inverse=True)[1]  # (n_images,)
    row_of_pair = rows.pairs.row_of_pair
    images, first_pairs = np.unique(row_of_pair, return_index=True)
    captions = rows.pairs.captions()
    texts = text_numbers(captions[pair] for pair in first_pairs.tolist())
    n_images = np.bincount(groups)
    group_of_text = np.unique(np.stack([groups[images], texts]), axis=1)[0]
    n_texts = np.bincount(group_of_text, minlength=len(n_images))
    return ((n_images >= _PLACEHOLDER_IMAGES) & (2 * n_texts >= n_images))[groups]


def _repeated(rows: AuditRows) -> Mask:
    texts, row_of_pair = text_numbers(rows.pairs.captions()), rows.pairs.row_of_pair
    n_images = np.bincount(np.unique(np.stack([texts, row_of_pair]), axis=1)[0])
    return n_images[texts] >= _REPEATS


def _leaked_images(rows: AuditRows) -> Mask:
    is_leaked = np.zeros(rows.pairs.n_images, dtype=bool)
    is_leaked[list(rows.leaked_images)] = True
    return is_leaked


def _leaked_captions(rows: AuditRows) -> Mask:
    is_leaked = np.zeros(len(rows.pairs), dtype=bool)
    is_leaked[list(rows.leaked_pairs)] = True
    return is_leaked


def _other_language(rows: AuditRows) -> Mask:
    captions = rows.pairs.captions()
    if not has_language_identifier():
        return np.zeros(len(captions), dtype=bool)
    return in_other_language(captions)


def has_language_identifier() -> bool:
    """Whether the package of the extra `language` is installed."""
    return find_spec("py3langid") is not None


def in_other_language(captions: Sequence[str]) -> Mask:
    """Whether each caption is in none of the common languages of all, (n_captions,).

    A language is common if at least 5 % of the captions are in it.

    Args:
        captions: The captions; those of one or two words in the Latin script are not judged.
    """
    identifier = _language_identifier()
    texts = list(dict.fromkeys(captions))
    guess = {text: identifier.classify(text) for text in texts if _has_language(text)}
    counts = Counter(
        guess[text][0] for text in captions if text in guess and guess[text][1] >= _LANGUAGE_SURE
    )
    common = {name for name, n in counts.items() if n >= _COMMON_LANGUAGE * counts.total()}

    def is_other(text: str) -> bool:
        if not common or text not in guess or guess[text][0] in common:
            return False
        if _is_latin(text):  # related languages share words, so a short text must be clear
            return guess[text][1] >= _LANGUAGE_SURE
        return sum(p for name, p in identifier.rank(text) if name in common) < 1 - _LANGUAGE_SURE

    others = {text for text in texts if is_other(text)}
    return np.array([text in others for text in captions], dtype=bool)


@cache
def _language_identifier() -> Any:
    """The language identifier, whose model takes a second to read."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _has_language(text: str) -> bool:
    n_words = sum(word.isalpha() for word in text.split())
    return n_words >= _LANGUAGE_WORDS or not _is_latin(text)


def _is_latin(text: str) -> bool:
    letters = [character for character in text if character.isalpha()]
    return 2 * sum(ord(character) < _LATIN_END for character in letters) >= len(letters)


_IMAGE_FINDERS: dict[str, Callable[[AuditRows], Mask]] = {
    "tiny_images": _tiny,
    "long_images": _long,
    "flat_images": _flat,
    "copied_images": _copies,
    "placeholder_images": _placeholders,
    "leaked_images": _leaked_images,
}
_PAIR_FINDERS: dict[str, Callable[[AuditRows], Mask]] = {
    "repeated_captions": _repeated,
    "leaked_captions": _leaked_captions,
    "file_names": _captions(is_file_name),
    "urls": _captions(is_mostly_url),
    "markup": _captions(has_markup),
    "digits": _captions(is_mostly_digits),
    "other_language": _other_language,
}
