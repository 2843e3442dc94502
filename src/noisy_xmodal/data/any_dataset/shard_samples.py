"""The samples of one tar of the WebDataset layout: which members belong together, and their texts.

Members with one key are a sample: `a/0001.jpg` and `a/0001.txt` have the key `a/0001`, and what
follows the first dot of the file's name is the ending. The order of members does not matter.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from .archives import TarReader, inner_name, is_side_file
from .captions import string_list, texts_of_json
from .columns import GivenColumns
from .picture_files import has_picture_suffix

#: In the order in which they are preferred.
CAPTION_ENDINGS = ("captions", "caption", "text", "txt", "cap", "json")
LABEL_ENDING = "cls"
_Names = dict[tuple[str, str], list[str]]
#: Members of more bytes are not read.
LARGEST = 2**28


class Findings:
    """What of shards was not read as it stands, by kind, with counts and the first names.

    Attributes:
        faults: Samples that are lost.
        notes: Members and samples that nobody misses.
        endings: The endings of the members, with counts.
        fields: The fields of their JSON.
    """

    def __init__(self) -> None:
        self.faults: _Names = {}
        self.notes: _Names = {}
        self.endings = Counter[str]()
        self.fields = dict[str, None]()
        self._counts = Counter[tuple[str, str]]()

    def fault(self, kind: str, name: str) -> None:
        """Counts a sample that is lost."""
        self._add(self.faults, ("sample", kind), name)

    def note(self, kind: str, name: str, unit: str = "member") -> None:
        """Counts something that is worth a line."""
        self._add(self.notes, (unit, kind), name)

    def lines(self, found: _Names) -> list[str]:
        """Says each kind of `faults` or `notes` in a line."""
        said = []
        for (unit, kind), names in found.items():
            n = self._counts[unit, kind]
            more = f" and {n - len(names):,} more" if n > len(names) else ""
            said.append(f"{n:,} {unit}{'s' if n > 1 else ''} {kind}: {', '.join(names)}{more}")
        return said

    def _add(
        self, found: dict[tuple[str, str], list[str]], kind: tuple[str, str], name: str
    ) -> None:
        self._counts[kind] += 1
        names = found.setdefault(kind, [])
        if len(names) < 3:
            names.append(name)


class Part(NamedTuple):
    """A member of a sample: its ending in lower case, and where it stands in the tar."""

    ending: str
    offset: int
    size: int

    @property
    def kind(self) -> str:
        """The last part of the ending: `jpg` of `left.jpg`."""
        return self.ending.rsplit(".", 1)[-1]

    @property
    def is_picture(self) -> bool:
        """Whether it is called as a picture is."""
        return _is_picture(self.kind)

    @property
    def stem(self) -> str:
        """What stands before it: `left` of `left.jpg`, and nothing of `jpg`."""
        return self.ending.rpartition(".")[0]


@dataclass(frozen=True)
class Sample:
    """The members that belong to one picture, or to none.

    Attributes:
        key: Its name in the shard.
        picture: The picture, where there is one.
        others: The members that are no pictures.
    """

    key: str
    picture: Part | None
    others: Sequence[Part]


@dataclass
class SampleTexts:
    """What a sample says.

    Attributes:
        captions: Its captions that say something.
        problem: Why there are none.
        json: The text of its JSON.
        fields: Its JSON, where that is an object.
        name: The value of the naming column that the user gave.
        label: Its class number.
    """

    captions: list[str] = field(default_factory=list)
    problem: str = "without a caption"
    json: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    name: str | None = None
    label: int | None = None


def find_samples(
    tar: TarReader, shard: str, given: GivenColumns, findings: Findings
) -> Iterator[Sample]:
    """Groups the members of a tar, of which no content is read.

    Args:
        tar: The tar, from its start.
        shard: Its file, for the findings.
        given: The user's `image` is the ending of the pictures, where there are several.
        findings: Where members are counted that are part of no sample.

    Yields:
        The samples in the order of their first members; several of one key have keys `0`, `0#2`.
    """
    for key, parts in _parts(tar, shard, findings).items():
        for part in parts:
            if not part.is_picture and part.kind not in (*CAPTION_ENDINGS, LABEL_ENDING):
                findings.note("of a kind that is not read", f"{key}.{part.ending} in {shard}")
        yield from _split(key, parts, given.image, f"{key} in {shard}", findings)


def read_texts(tar: TarReader, sample: Sample, given: GivenColumns) -> SampleTexts:
    """Reads captions, JSON and class of a sample.

    Args:
        tar: Its tar.
        sample: The sample.
        given: The user's `caption` is the ending of the captions, or a field of the JSON; `id`, a
            field.
    """
    found = SampleTexts()
    values = {}
    for part in sample.others:
        if part.kind == "json" and part.size <= LARGEST:
            try:
                text = tar.read(part.offset, part.size).decode("utf-8-sig")
                values[part] = json.loads(text)
                found.json = found.json or text
            except (ValueError, RecursionError):  # also of text that is not UTF-8
                found.problem = "with a .json that cannot be read"
    fields = next((value for value in values.values() if isinstance(value, dict)), {})
    found.fields = fields
    name = fields.get(given.id) if given.id is not None else None
    if isinstance(name, (str, int)) and _is_text(str(name)):
        found.name = str(name)
    _read_label(tar, sample, found)
    _read_captions(tar, sample, values, given.caption, found)
    return found


@lru_cache(maxsize=1024)  # asked of every member
def _is_picture(kind: str) -> bool:
    return has_picture_suffix(f".{kind}")


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
        key, ending = _key_and_ending(name)
        if is_side_file(name) or not ending or not member.isreg() or member.sparse:
            findings.note("of no sample", f"{name} in {shard}")
            continue
        findings.endings[ending] += 1
        parts[key].append(Part(ending, member.offset_data, member.size))
    for name, target in links:
        key, ending = _key_and_ending(_resolved(target))
        there = [part for part in parts.get(key, ()) if part.ending == ending]
        if there:
            key, ending = _key_and_ending(name)
            parts[key].append(there[-1]._replace(ending=ending))
        else:
            findings.note("with a link to no member", f"{name} in {shard}")
    return parts


def _key_and_ending(name: str) -> tuple[str, str]:
    folder, slash, base = name.rpartition("/")
    stem, _, ending = base.partition(".")
    return folder + slash + stem, ending.lower()


def _resolved(path: str) -> str:
    """The path of a link's target, which may climb, as `inner_name` gives it."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        else:
            parts.append(part)
    return inner_name("/".join(parts))


def _split(
    key: str, parts: list[Part], image: str | None, where: str, findings: Findings
) -> Iterator[Sample]:
    """Makes the samples of one key, usually one."""
    pictures = [part for part in parts if part.is_picture]
    chosen = [part for part in pictures if image in (part.ending, part.kind)]
    pictures = chosen or pictures
    others = [part for part in parts if not part.is_picture]
    n = len(pictures)
    same = defaultdict(list)
    for part in others:
        same[part.ending].append(part)
    if n > 1 and {len(repeated) for repeated in same.values()} == {n}:
        findings.note("of a key that the shard has more than once", where, unit="sample")
        for at, picture in enumerate(pictures):  # the shard was joined from several
            own = [repeated[at] for repeated in same.values()]
            yield Sample(key if at == 0 else f"{key}#{at + 1}", picture, own)
        return
    last = {part.ending: part for part in parts}
    if len(last) < len(parts):
        findings.note("with a later one of the same name, which is read", where)
    pictures = [part for part in last.values() if part in pictures]
    others = [part for part in last.values() if not part.is_picture]
    if len(pictures) < 2:
        yield Sample(key, pictures[0] if pictures else None, others)
        return
    yield from _split_by_stem(key, pictures, others, where, findings)


def _split_by_stem(
    key: str, pictures: list[Part], others: list[Part], where: str, findings: Findings
) -> Iterator[Sample]:
    """Tells dots in names from several pictures of one sample: `a.1.jpg` may have its `a.1.txt`."""
    texts_of_stem = defaultdict(list)
    for part in others:
        texts_of_stem[part.stem].append(part)
    stems = {part.stem for part in pictures}
    pairs = {part.stem: part for part in reversed(pictures) if part.stem in texts_of_stem}
    if not pairs or list(pairs) == [""]:
        yield Sample(key, pairs.get("", pictures[0]), others)
        findings.note("beside another picture of the sample", where)
        return
    for picture in pictures:
        name = f"{key}.{picture.stem}" if picture.stem else key
        yield Sample(name, picture, texts_of_stem.get(picture.stem, ()))
    for stem in texts_of_stem.keys() - stems:
        yield Sample(f"{key}.{stem}", None, texts_of_stem[stem])


def _read_label(tar: TarReader, sample: Sample, found: SampleTexts) -> None:
    for part in sample.others:
        if part.kind == LABEL_ENDING and part.size < 64:
            text = tar.read(part.offset, part.size).decode("ascii", "replace").strip()
            if re.fullmatch(r"-?\d{1,18}", text):
                found.label = int(text)


def _read_captions(
    tar: TarReader,
    sample: Sample,
    values: dict[Part, Any],
    given: str | None,
    found: SampleTexts,
) -> None:
    """Takes the captions from the first kind of member that has one that says something."""
    parts = [part for part in sample.others if given in (part.ending, part.kind)]
    field_name = None if parts else given
    kinds: tuple[str, ...] = CAPTION_ENDINGS if field_name is None else ("json",)
    if parts:
        kinds = tuple(dict.fromkeys(part.kind for part in parts))
    parts = sorted(parts or sample.others, key=lambda part: _natural(part.ending))
    for kind in kinds:
        own = [part for part in parts if part.kind == kind]
        if kind == "json":
            texts = [texts_of_json(values[part], field_name) for part in own if part in values]
        else:
            texts = [_decoded(tar, part, found) for part in own]
        flat = [text for text in chain.from_iterable(texts) if text]
        found.captions = [text for text in flat if text.strip() and _is_text(text)]
        if found.captions:
            return
        if flat or any(part.size == 0 for part in own):
            found.problem = "with a caption that says nothing"


def _decoded(tar: TarReader, part: Part, found: SampleTexts) -> list[str]:
    if part.size > LARGEST:
        found.problem = f"with a caption of more than {LARGEST:,} bytes"
        return []
    try:
        text = tar.read(part.offset, part.size).decode("utf-8-sig")
    except UnicodeDecodeError:
        found.problem = "with a caption that is not UTF-8"
        return []
    return string_list(text) or [text]


def _is_text(value: str) -> bool:
    """Whether a string has no half of a surrogate pair, which JSON can spell and nothing writes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _natural(ending: str) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", ending)
    ]
