"""Which columns of a dataset hold the image, the captions and the image's name."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import datasets

from ..columns import IMAGE, IMAGE_ID, REGIONS, DatasetError
from ..feature_types import is_integer, is_picture, is_regions, is_string
from ..messages import quoted, quoted_list
from .captions import caption_reader, plain_name

# Names as `plain_name` gives them; earlier ones are preferred.
_CAPTION_NAMES = (
    *("captions", "caption", "text", "texts", "sentence", "sentences", "raw", "txt"),
    *("description", "descriptions", "alttext", "alt", "title", "comment", "comments", "json"),
    *("prompt", "prompts", "conversations", "conversation", "messages"),
)
_ID_NAMES = ("imageid", "imgid", "id", "cocoid", "__key__", "key", "filename", "imagename", "url")
_DOUBTFUL_IDS = ("id", "__key__", "key", "url")
_IMAGE_NAME = re.compile(
    r"(image|img|picture|photo|pic)(s|path|file|filename|filepath|name|bytes|data|base64|b64)?"
    r"|jpe?g|png|webp|gif|bmp|tiff?|file(name|path)?|path|bytes|base64|b64"
)
_SHOWN = 20  # columns in a message
_LONGEST_TYPE = 80
_NUMBERED = re.compile(r"(.*?)[\s_.-]*(?<!\d)(\d{1,18})$")


class NoPairsError(DatasetError):
    """Nothing was recognised as pictures or as captions; tables in the folder may say why."""


@dataclass(frozen=True)
class GivenColumns:
    """The column names that the user gave; None where they are to be found."""

    image: str | None = None
    caption: str | None = None
    id: str | None = None

    def named(self) -> list[str]:
        """The names that were given."""
        return [name for name in (self.image, self.caption, self.id) if name is not None]


@dataclass(frozen=True)
class PairColumns:
    """Where a dataset holds its pairs.

    Attributes:
        visual: The column of pictures or region features.
        captions: The caption column, or several numbered ones.
        image_id: The column that names the image, or None.
        names_image: Whether it does so for sure: an `id` may as well name the caption.
    """

    visual: str
    captions: tuple[str, ...]
    image_id: str | None
    names_image: bool


def find_columns(dataset: datasets.Dataset, given: GivenColumns, split: str) -> PairColumns:
    """Finds the columns by name and type, without reading a row.

    Args:
        dataset: One split.
        given: What the user said.
        split: Name of the split, for the messages.

    Raises:
        DatasetError: A column is missing, has a type that cannot be used, or several could be
            meant; the message lists them and says how to choose.
    """
    features = dict(dataset.features)
    visual = _visual(_without(features, given.caption), given, split)
    left = _without(features, visual)
    captions = _captions(_without(left, given.id), given.caption, split)
    left = _without(left, *captions)
    # A picture that is a path is its own name.
    image_id = None if given.id == visual else _image_id(left, given.id, split)
    sure = image_id is not None and (
        given.id is not None or plain_name(image_id) not in _DOUBTFUL_IDS
    )
    return PairColumns(visual, captions, image_id, sure)


def looks_like_pairs(names: Iterable[str], given: GivenColumns) -> bool:
    """Whether a table with these column names holds pairs, as far as names tell."""
    names = list(names)
    if any(name in names for name in given.named()):
        return True
    stems = {plain_name(_stem(name)) for name in names}
    return any(_IMAGE_NAME.fullmatch(plain_name(name)) for name in names) and any(
        name in stems for name in _CAPTION_NAMES
    )


def holds_text(name: str) -> bool:
    """Whether a column of this name holds captions or names, as far as its name tells."""
    plain = plain_name(_stem(name))
    return plain in (*_CAPTION_NAMES, *_ID_NAMES) or bool(_IMAGE_NAME.fullmatch(plain))


def _visual(features: dict[str, Any], given: GivenColumns, split: str) -> str:
    if given.image is not None:
        feature = _given(features, given.image, "image_column", split)
        if not is_picture(feature) and not is_regions(feature):
            raise DatasetError(
                f"Column '{given.image}' of split '{split}' is {_short(feature)}: no picture, "
                f"path, bytes or region features. Its columns are {quoted_list(features)}; name "
                "another with image_column=NAME."
            )
        return given.image
    if REGIONS in features:
        return REGIONS
    pictures = [name for name, feature in features.items() if is_picture(feature)]
    if IMAGE in pictures and given.id != IMAGE:
        return IMAGE
    found = [name for name in pictures if isinstance(features[name], datasets.Image)]
    found = found or [name for name in pictures if _IMAGE_NAME.fullmatch(plain_name(name))]
    found = [name for name in found if name != given.id] or found
    return _only(found, features, "the pictures", "image_column", split)


def _captions(features: dict[str, Any], given: str | None, split: str) -> tuple[str, ...]:
    readable = [name for name, feature in features.items() if caption_reader(feature) is not None]
    numbered = _numbered(name for name in readable if is_string(features[name]))
    if given is not None and given not in features and given in numbered:
        return numbered[given]
    if given is not None:
        feature = _given(features, given, "caption_column", split)
        if given not in readable:
            raise DatasetError(
                f"Column '{given}' of split '{split}' is {_short(feature)}: no string, list of "
                "strings or list of objects with a text. Columns with text are "
                f"{quoted_list(readable)}; name one with caption_column=NAME."
            )
        return (given,)
    best = _best([*readable, *(stem for stem in numbered if stem not in readable)], _CAPTION_NAMES)
    if len(best) == 1 and best[0] in readable:
        best += numbered.get(best[0], ())
    name = _only(best, features, "the captions", "caption_column", split)
    return (name,) if name in readable else numbered[name]


def _image_id(features: dict[str, Any], given: str | None, split: str) -> str | None:
    if given is None and IMAGE_ID in features:
        given = IMAGE_ID
    if given is not None:
        feature = _given(features, given, "id_column", split)
        if not _is_name(feature):
            raise DatasetError(
                f"Column '{given}' of split '{split}' is {_short(feature)}, not strings or whole "
                "numbers. Name another with id_column=NAME."
            )
        return given
    names = [name for name, feature in features.items() if _is_name(feature)]
    best = _best(names, _ID_NAMES)
    return _only(best, features, "the image's name", "id_column", split) if best else None


def _given(features: dict[str, Any], name: str, option: str, split: str) -> Any:
    if name not in features:
        raise DatasetError(
            f"Split '{split}' has no column '{name}' for {option}=; it can be one of "
            f"{quoted_list(features)}."
        )
    return features[name]


def _only(
    found: Sequence[str], features: dict[str, Any], what: str, option: str, split: str
) -> str:
    if len(found) == 1:
        return found[0]
    if found:
        raise DatasetError(
            f"Several columns of split '{split}' may hold {what}: {quoted_list(found)}. Say which "
            f"with {option}={quoted(found[0])}."
        )
    more = ""
    if option == "image_column":
        more = " A link is no picture: download the files first."
    elif option == "caption_column" and all(map(_is_class, features.values())):
        more = (
            f"{' A class is no caption.' if features else ''} Write captions into a table with the "
            "columns file_name and text, or into a .txt beside each picture."
        )
    shown = [f"{quoted(name)} ({_short(feature)})" for name, feature in features.items()]
    if len(shown) > _SHOWN:
        shown[_SHOWN:] = [f"... ({len(shown)} in all)"]
    types = ", ".join(shown)
    raise NoPairsError(
        f"No column of split '{split}' is known to hold {what}: it has {types or 'no other'}. "
        f"Name the column with {option}=NAME.{more}"
    )


def _best(names: Iterable[str], preferred: Sequence[str]) -> list[str]:
    """The names that stand first in `preferred`; several where they differ in spelling only."""
    found = defaultdict(list)
    for name in names:
        found[plain_name(name)].append(name)
    return next((found[name] for name in preferred if name in found), [])


def _numbered(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Groups `caption_0, caption_1, ...` by stem, in the order of their numbers."""
    groups = defaultdict(list)
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match and match[1]:
            groups[match[1]].append((int(match[2]), name))
    return {stem: tuple(name for _, name in sorted(group)) for stem, group in groups.items()}


def _stem(name: str) -> str:
    match = _NUMBERED.fullmatch(name)
    return match[1] if match else name


def _without(features: dict[str, Any], *names: str | None) -> dict[str, Any]:
    return {name: feature for name, feature in features.items() if name not in names}


def _is_name(feature: Any) -> bool:
    return is_string(feature) or is_integer(feature)


def _is_class(feature: Any) -> bool:
    return isinstance(feature, datasets.ClassLabel)


def _short(feature: Any) -> str:
    if isinstance(feature, datasets.Value):
        return feature.dtype
    shown = str(feature)
    return shown if len(shown) <= _LONGEST_TYPE else f"{shown[:_LONGEST_TYPE]}..."
