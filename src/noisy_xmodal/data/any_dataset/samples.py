"""The samples of a tar in the WebDataset layout: grouping of members, and reading of their texts.

Members with the same key form a sample: `a/0001.jpg` and `a/0001.txt` have the key `a/0001`. The
suffix starts after the first dot of the file name. The order of members does not matter.
"""

import io
import json
import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .archives import TarReader, inner_name, is_side_file
from .captions import captions_in, string_list
from .columns import ColumnOptions
from .picture_files import PICTURE_SUFFIXES

#: In order of priority.
CAPTION_SUFFIXES = ("captions", "caption", "text", "txt", "cap", "json")
_LABEL_SUFFIX = "cls"
_SAMPLE = "sample"
_N_NAMES = 3  # in messages
#: Larger members are not read.
MAX_BYTES = 2**28


class Findings:
    """Counts of what cannot be used in shards, by kind, with the first names of each kind.

    Attributes:
        suffixes: The suffixes of the members, with counts.
        fields: The fields of their JSON.
    """

    def __init__(self) -> None:
        self.suffixes = Counter[str]()
        self.fields = dict[str, None]()
        self._counts = Counter[tuple[str, str]]()
        self._names = defaultdict[tuple[str, str], list[str]](list)

    def add(self, kind: str, name: str, unit: str = _SAMPLE) -> None:
        """Counts a sample that cannot be used, or another unit that is not needed."""
        self._counts[unit, kind] += 1
        if len(self._names[unit, kind]) < _N_NAMES:
            self._names[unit, kind].append(name)

    def messages(self, faults: bool) -> list[str]:
        """One message per kind of faults, which are samples, or of other units."""
        messages = []
        for (unit, kind), names in self._names.items():
            if (unit == _SAMPLE) == faults:
                messages.append(_message(self._counts[unit, kind], unit, kind, names))
        return messages


_MESSAGE = re.compile(
    r"(?s)([\d,]+) (sample|member|key|picture|row)s? (.+?): (.*?)(?: and ([\d,]+) more)?"
)


def merged_messages(lines: Iterable[str]) -> list[str]:
    """Joins messages about the same kind of fault in several shards, see `Findings.messages`.

    Args:
        lines: Messages; those of another form stay as they are, in order.
    """
    joined: dict[tuple[str, str], tuple[int, list[str]]] = {}
    for line in lines:
        parts = _MESSAGE.fullmatch(line)
        unit, kind = (parts[2], parts[3]) if parts else ("", line)
        n, names = joined.setdefault((unit, kind), (0, []))
        if parts:
            names += parts[4].split(", ")[: max(0, _N_NAMES - len(names))]
            joined[unit, kind] = n + int(parts[1].replace(",", "")), names
    return [
        _message(n, unit, kind, names) if unit else kind
        for (unit, kind), (n, names) in joined.items()
    ]


def _message(n: int, unit: str, kind: str, names: Sequence[str]) -> str:
    more = f" and {n - len(names):,} more" if n > len(names) else ""
    return f"{n:,} {unit}{'s' if n > 1 else ''} {kind}: {', '.join(names)}{more}"


class Part(NamedTuple):
    """A member of a sample: its suffix in lower case, and its position in the tar."""

    suffix: str
    offset: int
    size: int

    @property
    def kind(self) -> str:
        """The last part of the suffix: `jpg` of `left.jpg`."""
        return self.suffix.rsplit(".", 1)[-1]

    @property
    def is_picture(self) -> bool:
        """Whether it has the suffix of a picture format."""
        return f".{self.kind}" in PICTURE_SUFFIXES

    @property
    def is_array(self) -> bool:
        """Whether it has the suffix of an array, which may stand for a picture."""
        return self.kind == "npy"

    @property
    def stem(self) -> str:
        """The suffix without its last part: `left` of `left.jpg`, empty for `jpg`."""
        return self.suffix.rpartition(".")[0]


class Sample(NamedTuple):
    """The members of a sample: its key in the shard, its picture or array, the other members."""

    key: str
    picture: Part | None
    others: Sequence[Part]


@dataclass
class SampleTexts:
    """The texts of a sample.

    Attributes:
        captions: Its captions that are not empty.
        problem: The reason if there are none.
        json: The text of its JSON.
        fields: Its JSON, if that is an object.
        name: The value of the user's `id` option.
        label: Its class number.
    """

    captions: list[str] = field(default_factory=list)
    problem: str = "without a caption"
    json: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    name: str | None = None
    label: int | None = None


def find_samples(
    tar: TarReader, shard: str, options: ColumnOptions, findings: Findings
) -> Iterator[Sample]:
    """Groups the members of a tar to samples, without reading their content.

    If there are several pictures, `options.image` is the suffix of the right one. The array of a
    sample without a picture stands for it.

    Yields:
        The samples in the order of their first members; a repeated key is named `0`, `0#2`.
    """
    for key, parts in _parts(tar, shard, findings).items():
        visual = _visual(parts, options.image)
        for part in parts:
            is_known = part.is_picture or part.kind in (*CAPTION_SUFFIXES, _LABEL_SUFFIX)
            if not is_known and part not in visual:
                findings.add("of an unsupported kind", f"{key}.{part.suffix} in {shard}", "member")
        yield from _split(key, parts, options.image, f"{key} in {shard}", findings)


def read_texts(tar: TarReader, sample: Sample, options: ColumnOptions) -> SampleTexts:
    """Reads the captions, JSON and class of a sample.

    Captions come from the first kind of member with a caption that is not empty. Of the options,
    `caption` is the suffix of a member or a field of the JSON, and `id` is a field.
    """
    texts = SampleTexts()
    values = {part: _read_json(tar, part, texts) for part in sample.others if part.kind == "json"}
    texts.fields = next((value for value in values.values() if isinstance(value, dict)), {})
    name = texts.fields.get(options.id) if options.id is not None else None
    if isinstance(name, (str, int)) and _is_text(str(name)):
        texts.name = str(name)
    for part in sample.others:
        if part.kind == _LABEL_SUFFIX and part.size < 64:
            label = tar.read(part.offset, part.size).decode("ascii", "replace").strip()
            if re.fullmatch(r"-?\d{1,18}", label):
                texts.label = int(label)
    parts = [part for part in sample.others if options.caption in (part.suffix, part.kind)]
    json_field = None if parts else options.caption
    kinds = [part.kind for part in parts] or ["json"] if options.caption else CAPTION_SUFFIXES
    parts = sorted(parts or sample.others, key=lambda part: _natural_order(part.suffix))
    for kind in dict.fromkeys(kinds):
        members = [part for part in parts if part.kind == kind]
        if kind == "json":
            lists = [captions_in(values[part], json_field) for part in members]
        else:
            lists = [[_read_text(tar, part, "caption", texts)] for part in members]
        read = filter(None, chain.from_iterable(lists))
        captions = [text for value in read for text in string_list(value) or [value]]
        texts.captions = [text for text in captions if text.strip() and _is_text(text)]
        if texts.captions:
            break
        if captions or any(part.size == 0 for part in members):
            texts.problem = "with an empty caption"
    return texts


def read_array(content: bytes) -> NDArray[np.float32] | None:
    """Reads the `.npy` of a sample: a vector, or region features (n_regions, size).

    Returns:
        (n_regions, size); None for anything else, and for numbers that are not finite.
    """
    end = 10 + int.from_bytes(content[8:10], "little")  # of the header of version 1.0
    try:
        shape, dtype = _array_header(content[:end])
        array = np.frombuffer(content, dtype, offset=end).reshape(shape)
    except ValueError:
        return None
    if not array.size:
        return None
    array = array[None] if array.ndim == 1 else array
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    return array if array.ndim == 2 and np.isfinite(array).all() else None


@lru_cache
def _array_header(header: bytes) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of numbers of a `.npy` file; reading its header takes longer than the rest.

    Raises:
        ValueError: It is another kind of file or of content.
    """
    file = io.BytesIO(header)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("not version 1.0, the version of arrays of numbers")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.kind not in "fiu" or (is_fortran and len(shape) > 1):
        raise ValueError("not rows of numbers")
    return shape, dtype


def _parts(tar: TarReader, shard: str, findings: Findings) -> dict[str, list[Part]]:
    parts = defaultdict(list)
    links = []
    for member in tar:
        name = inner_name(member.name)
        if member.isdir() or not name:
            continue
        if member.islnk() or member.issym():
            target = member.linkname if member.islnk() else f"{name}/../{member.linkname}"
            links.append((name, target))
            continue
        key, suffix = _split_name(name)
        if is_side_file(name) or not suffix or not member.isreg() or member.sparse:
            findings.add("of no sample", f"{name} in {shard}", "member")
            continue
        findings.suffixes[suffix] += 1
        parts[key].append(Part(suffix, member.offset_data, member.size))
    for name, target in links:
        key, suffix = _split_name(inner_name(posixpath.normpath(target)))
        targets = [part for part in parts.get(key, ()) if part.suffix == suffix]
        if targets:
            key, suffix = _split_name(name)
            parts[key].append(targets[-1]._replace(suffix=suffix))
        else:
            findings.add("with a link to no member", f"{name} in {shard}", "member")
    return parts


def _split_name(name: str) -> tuple[str, str]:
    """The key and the suffix of a member."""
    folder, slash, base = name.rpartition("/")
    stem, _, suffix = base.partition(".")
    return folder + slash + stem, suffix.lower()


def _visual(parts: list[Part], image: str | None) -> list[Part]:
    """The members that may be the picture of a sample: those of the user's suffix, if there are."""
    visual = [part for part in parts if part.is_picture or part.is_array]
    chosen = [part for part in visual if image in (part.suffix, part.kind)]
    return chosen or [part for part in visual if part.is_picture] or visual


def _split(
    key: str, parts: list[Part], image: str | None, where: str, findings: Findings
) -> Iterator[Sample]:
    """Creates the samples of one key, usually one."""
    pictures = _visual(parts, image)
    by_suffix = defaultdict(list)
    for part in parts:
        if not part.is_picture and part not in pictures:
            by_suffix[part.suffix].append(part)
    n = len(pictures)
    if n > 1 and {len(group) for group in by_suffix.values()} == {n}:
        findings.add("that the shard has more than once", where, "key")
        for index, picture in enumerate(pictures):  # the shard is a concatenation
            texts = [group[index] for group in by_suffix.values()]
            yield Sample(key if index == 0 else f"{key}#{index + 1}", picture, texts)
        return
    last = {part.suffix: part for part in parts}
    if len(last) < len(parts):
        findings.add("replaced by a later one of the same name", where, "member")
    pictures = [part for part in last.values() if part in pictures]
    others = [part for part in last.values() if not (part.is_picture or part in pictures)]
    if len(pictures) < 2:
        yield Sample(key, pictures[0] if pictures else None, others)
    else:
        yield from _split_by_stem(key, pictures, others, where, findings)


def _split_by_stem(
    key: str, pictures: list[Part], others: list[Part], where: str, findings: Findings
) -> Iterator[Sample]:
    """Splits a key with several pictures by stems, if texts match them: `a.1.jpg`, `a.1.txt`."""
    texts_of_stem = defaultdict(list)
    for part in others:
        texts_of_stem[part.stem].append(part)
    pairs = {part.stem: part for part in reversed(pictures) if part.stem in texts_of_stem}
    if not pairs or list(pairs) == [""]:
        yield Sample(key, pairs.get("", pictures[0]), others)
        findings.add("after another picture of the sample", where, "member")
        return
    for picture in pictures:
        name = f"{key}.{picture.stem}" if picture.stem else key
        yield Sample(name, picture, texts_of_stem.pop(picture.stem, ()))
    for stem, texts in texts_of_stem.items():
        yield Sample(f"{key}.{stem}", None, texts)


def _read_json(tar: TarReader, part: Part, texts: SampleTexts) -> Any:
    text = _read_text(tar, part, ".json", texts)
    try:
        value = None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        texts.problem = "with a .json that cannot be read"
        return None
    texts.json = texts.json or text
    return value


def _read_text(tar: TarReader, part: Part, noun: str, texts: SampleTexts) -> str | None:
    if part.size > MAX_BYTES:
        texts.problem = f"with a {noun} of more than {MAX_BYTES:,} bytes"
        return None
    try:
        return tar.read(part.offset, part.size).decode("utf-8-sig")
    except UnicodeDecodeError:
        texts.problem = f"with a {noun} that is not UTF-8"
        return None


def _is_text(value: str) -> bool:
    """Whether a string can be encoded; JSON may contain half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _natural_order(suffix: str) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", suffix)
    ]
