"""Detection of the columns with the image, the text, the name of the image and the classes."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import datasets

from ..columns import (
    IMAGE,
    IMAGE_FEATURES,
    IMAGE_ID,
    IMAGE_LABEL,
    LABEL_COLUMNS,
    REGIONS,
    TEXT_FEATURES,
    TEXT_LABEL,
    TRUE_LABEL,
    DatasetError,
    missing_column_error,
    no_label_error,
)
from ..feature_types import is_integer, is_picture, is_regions, is_string, is_vector
from ..messages import quoted, quoted_list
from .captions import can_hold_captions, plain_name

# Names as returned by `plain_name`; earlier ones have priority.
_CAPTION_NAMES = (
    *("captions", "caption", "text", "texts", "sentence", "sentences", "raw", "txt"),
    *("description", "descriptions", "alttext", "alt", "title", "comment", "comments", "json"),
    *("prompt", "prompts", "conversations", "conversation", "messages"),
)
_LABEL = "label"  # one class for both sides
_ID_NAMES = ("imageid", "imgid", "id", "cocoid", "__key__", "key", "filename", "imagename", "url")
_AMBIGUOUS_IDS = ("id", "__key__", "key", "url")  # may name the caption instead
_IMAGE_NAME = re.compile(
    r"(image|img|picture|photo|pic)(s|path|file|filename|filepath|name|bytes|data|base64|b64)?"
    r"|jpe?g|png|webp|gif|bmp|tiff?|file(name|path)?|path|bytes|base64|b64"
)
_MAX_COLUMNS = 20  # in a message
_MAX_TYPE_LENGTH = 80
_NUMBERED = re.compile(r"(.*?)[\s_.-]*(?<!\d)(\d{1,18})$")


class NoPairsError(DatasetError):
    """No column of pictures or of captions was detected."""


@dataclass(frozen=True)
class ColumnOptions:
    """The user's names for the columns; None for automatic detection."""

    image: str | None = None
    caption: str | None = None
    id: str | None = None

    def names(self) -> list[str]:
        """The names without None."""
        return [name for name in (self.image, self.caption, self.id) if name is not None]


@dataclass(frozen=True)
class PairColumns:
    """The columns of pairs in a dataset.

    Attributes:
        visual: The column of pictures or region features.
        captions: The caption column, or several numbered ones.
        image_id: The column with the name of the image, or None.
        names_image: Whether `image_id` certainly names the image; an `id` may name the caption.
    """

    visual: str
    captions: tuple[str, ...]
    image_id: str | None
    names_image: bool


def find_columns(dataset: datasets.Dataset, options: ColumnOptions, split: str) -> PairColumns:
    """Finds the columns of a split by name and type, without reading a row.

    Raises:
        DatasetError: A column is missing, has an unsupported type, or is ambiguous; the message
            lists the candidates and the option to choose one.
    """
    features = dict(dataset.features)
    visual = _visual(_without(features, options.caption), options, split)
    rest = _without(features, visual)
    captions = _captions(_without(rest, options.id), options.caption, split)
    rest = _without(rest, *captions)
    # A picture that is a path is its own name.
    image_id = None if options.id == visual else _image_id(rest, options.id, split)
    names_image = image_id is not None and (
        options.id is not None or plain_name(image_id) not in _AMBIGUOUS_IDS
    )
    return PairColumns(visual, captions, image_id, names_image)


def find_sides(
    dataset: datasets.Dataset, options: ColumnOptions, split: str
) -> tuple[str, tuple[str, ...]]:
    """Finds the image and the text, as `find_columns` does, where each may be a vector.

    Returns:
        The column of vectors or pictures, and the columns of vectors or texts.
    """
    features = dict(dataset.features)
    image = options.image or (IMAGE_FEATURES if IMAGE_FEATURES in features else None)
    text = options.caption or (TEXT_FEATURES if TEXT_FEATURES in features else None)
    features = _without(features, *({*LABEL_COLUMNS} - {image, text}))
    if image is None:
        visual = _visual(_without(features, text), options, split)
    elif is_vector(features.get(image)):
        visual = image
    else:
        expected = "one vector or one picture per row"
        visual = _require(features, image, is_picture, expected, "image_column", split)
    if text is not None and is_vector(features.get(text)):
        return visual, (text,)
    return visual, _captions(_without(features, visual), text, split)


def find_labels(
    dataset: datasets.Dataset, both: str | None, image: str | None, text: str | None, split: str
) -> dict[str, str]:
    """Finds the source of each label column.

    Args:
        dataset: One split.
        both: The user's column with the class of both sides, or None.
        image: The user's column with the class of the image, or None.
        text: The user's column with the class of the text, or None.
        split: Name of the split, for the messages.

    Raises:
        DatasetError: A column is missing, or the options exclude each other.
    """
    if both is not None and (image is not None or text is not None):
        raise DatasetError(
            "label_column is the class of both sides: give it, or image_label_column and "
            "text_label_column, but not both."
        )
    names = dataset.column_names
    if not {IMAGE_LABEL, TEXT_LABEL} & {*names} and image is None and text is None:
        both = both or (_LABEL if _LABEL in names else None)
    sources = {IMAGE_LABEL: both or image or IMAGE_LABEL, TEXT_LABEL: both or text or TEXT_LABEL}
    for name in (both, image, text):
        if name is not None and name not in names:
            raise missing_column_error(dataset, name, split, "Name one of them.")
    missing = [name for name, source in sources.items() if source not in names]
    if missing:
        raise no_label_error(dataset, missing, split)
    return sources | ({TRUE_LABEL: TRUE_LABEL} if TRUE_LABEL in names else {})


def looks_like_pairs(names: Iterable[str], options: ColumnOptions) -> bool:
    """Whether the column names suggest a table of pairs."""
    names = list(names)
    if any(name in names for name in options.names()):
        return True
    stems = {plain_name(_stem(name)) for name in names}
    return any(_IMAGE_NAME.fullmatch(plain_name(name)) for name in names) and any(
        name in stems for name in _CAPTION_NAMES
    )


def holds_text(name: str) -> bool:
    """Whether the name of a column suggests captions or names of images."""
    plain = plain_name(_stem(name))
    return plain in (*_CAPTION_NAMES, *_ID_NAMES) or bool(_IMAGE_NAME.fullmatch(plain))


def _visual(features: dict[str, Any], options: ColumnOptions, split: str) -> str:
    if options.image is not None:
        expected = "a picture, path, bytes or region features"
        return _require(features, options.image, _is_visual, expected, "image_column", split)
    if REGIONS in features:
        return REGIONS
    pictures = [name for name, feature in features.items() if is_picture(feature)]
    if IMAGE in pictures and options.id != IMAGE:
        return IMAGE
    names = [name for name in pictures if isinstance(features[name], datasets.Image)]
    names = names or [name for name in pictures if _IMAGE_NAME.fullmatch(plain_name(name))]
    names = [name for name in names if name != options.id] or names
    return _only(names, features, "the pictures", "image_column", split)


def _captions(features: dict[str, Any], option: str | None, split: str) -> tuple[str, ...]:
    readable = [name for name, feature in features.items() if can_hold_captions(feature)]
    numbered = _numbered(name for name in readable if is_string(features[name]))
    if option is not None and option not in features and option in numbered:
        return numbered[option]
    if option is not None:
        expected = "a string, list of strings or list of objects with a text"
        return (_require(features, option, can_hold_captions, expected, "caption_column", split),)
    best = _best([*readable, *(stem for stem in numbered if stem not in readable)], _CAPTION_NAMES)
    if len(best) == 1 and best[0] in readable:
        best += numbered.get(best[0], ())
    name = _only(best, features, "the captions", "caption_column", split)
    return (name,) if name in readable else numbered[name]


def _image_id(features: dict[str, Any], option: str | None, split: str) -> str | None:
    if option is None and IMAGE_ID in features:
        option = IMAGE_ID
    if option is not None:
        return _require(features, option, _is_name, "strings or integers", "id_column", split)
    names = [name for name, feature in features.items() if _is_name(feature)]
    best = _best(names, _ID_NAMES)
    return _only(best, features, "the image's name", "id_column", split) if best else None


def _require(
    features: dict[str, Any],
    name: str,
    is_usable: Callable[[Any], bool],
    expected: str,
    option: str,
    split: str,
) -> str:
    """Checks the column that the user names with `option`."""
    if name not in features:
        raise DatasetError(
            f"Split '{split}' has no column '{name}' for {option}=; choose one of "
            f"{quoted_list(features)}."
        )
    if not is_usable(features[name]):
        usable = [other for other, feature in features.items() if is_usable(feature)]
        raise DatasetError(
            f"Column '{name}' of split '{split}' is {_short(features[name])}, not {expected}. "
            f"Usable columns are {quoted_list(usable)}; name one with {option}=NAME."
        )
    return name


def _only(
    names: Sequence[str], features: dict[str, Any], role: str, option: str, split: str
) -> str:
    """The only candidate for a role, such as "the captions"."""
    if len(names) == 1:
        return names[0]
    if names:
        raise DatasetError(
            f"Several columns of split '{split}' may hold {role}: {quoted_list(names)}. Choose one "
            f"with {option}={quoted(names[0])}."
        )
    more = ""
    if option == "image_column":
        more = " A link is not a picture: download the files first."
    elif option == "caption_column" and all(
        isinstance(f, datasets.ClassLabel) for f in features.values()
    ):
        more = (
            f"{' A class is not a caption.' if features else ''} Write captions into a table with "
            "the columns file_name and text, or into a .txt file next to each picture."
        )
    columns = [f"{quoted(name)} ({_short(feature)})" for name, feature in features.items()]
    if len(columns) > _MAX_COLUMNS:
        columns[_MAX_COLUMNS:] = [f"... ({len(columns)} in all)"]
    if not columns:
        raise NoPairsError(f"Split '{split}' has no column that could be {role}.{more}")
    raise NoPairsError(
        f"No column of split '{split}' is recognized as {role}: it has {', '.join(columns)}. "
        f"Name the column with {option}=NAME.{more}"
    )


def _best(names: Iterable[str], priority: Sequence[str]) -> list[str]:
    """The names that are first in `priority`; several if they differ only in spelling."""
    spellings = defaultdict(list)
    for name in names:
        spellings[plain_name(name)].append(name)
    return next((spellings[name] for name in priority if name in spellings), [])


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


def _is_visual(feature: Any) -> bool:
    return is_picture(feature) or is_regions(feature)


def _is_name(feature: Any) -> bool:
    return is_string(feature) or is_integer(feature)


def _short(feature: Any) -> str:
    if isinstance(feature, datasets.Value):
        return feature.dtype
    text = str(feature)
    return text if len(text) <= _MAX_TYPE_LENGTH else f"{text[:_MAX_TYPE_LENGTH]}..."
