"""The files below a folder, found by the names that tables give them."""

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from .archives import archive_folder, is_archive_name

_SUFFIX = re.compile(
    r".*\.(jpe?g|jfif|png|webp|gif|bmp|tiff?|ppm|pgm|avif|heic)", re.IGNORECASE | re.DOTALL
)
_FRAGMENT = re.compile(r"(\.\w+)#\d+$")  # Flickr8k numbers captions so: name.jpg#0
#: Folders of texts beside folders of pictures.
TEXT_FOLDERS = ("annotation", "annotations", "caption", "captions", "text", "texts", "labels")
_ABSOLUTE = re.compile(r"[a-z]:/|/", re.IGNORECASE)


def has_picture_suffix(name: str) -> bool:
    """Whether a name ends as the name of a picture does."""
    return _SUFFIX.fullmatch(without_fragment(name)) is not None


def without_fragment(name: str) -> str:
    """A name without the number of a caption: `name.jpg#0` is `name.jpg`."""
    return _FRAGMENT.sub(r"\1", name)


class PictureFiles:
    """The files below a folder; links to folders are followed, each folder once.

    A name is a path from the folder, or the end of the path of one file below it. Names are also
    found where they are spelled in another way: another Unicode normal form, upper and lower case,
    backslashes, `%20`, no ending, an absolute path of another machine of which the end fits, or one
    from a folder above (`data/photos/a.jpg` in `data/photos`). Where no picture is below the
    folder, they are found in the zip and tar files that it has.

    Args:
        folder: The folder. Where it is called `annotations`, `captions` or the like and no picture
            is below it, its parent is taken: COCO has its pictures beside `annotations/`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.abspath(folder))

    def matches(self, name: str) -> list[str]:
        """Finds the files that a name may stand for: one, several, or none.

        Returns:
            Their absolute paths.
        """
        for inside in (name, self._below(name)):
            exact = os.path.join(self.folder, inside) if inside else ""
            if _is_file(exact):
                return [exact]
        for ending in _endings(_key(name)):
            named = PurePosixPath(ending).name
            fitting = [path for path in self._by_name.get(named, ()) if _ends(path, ending)]
            same = [path for path in fitting if path.endswith(os.sep + os.path.normpath(name))]
            fitting = _distinct(same or fitting)
            if not fitting and not has_picture_suffix(named):
                stems = self._by_stem.get(named, ())
                fitting = _distinct(path for path in stems if _ends(path, ending, stem=True))
            if fitting:
                return sorted(fitting)
        return sorted(path for archive in self._archives for path in archive.matches(name))

    @cached_property
    def _archives(self) -> list["PictureFiles"]:
        """The archives in a folder without pictures, as folders: a zip of pictures by its table."""
        if self.pictures:
            return []
        found = (file for file in sorted(self.folder.iterdir()) if is_archive_name(file.name))
        return [PictureFiles(archive_folder(file)) for file in found if file.is_file()]

    @cached_property
    def pictures(self) -> list[str]:
        """The absolute paths of all files that are called as pictures are, sorted."""
        return sorted(path for path in self._files if has_picture_suffix(path))

    def _below(self, name: str) -> str:
        """What is left of a path that begins with the last folders of this one's path."""
        parts, own = name.split("/"), self.folder.parts
        for count in range(1, len(parts)):
            if parts[:count] == list(own[-count:]):
                return "/".join(parts[count:])
        return ""

    @cached_property
    def _files(self) -> list[str]:
        files = list(files_below(self.folder))
        if self.folder.name.lower() in TEXT_FOLDERS and not any(map(has_picture_suffix, files)):
            files = list(files_below(self.folder.parent))
        return files

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path in self._files:
            found.setdefault(_key(os.path.basename(path)), []).append(path)
        return found

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path in self.pictures:
            found.setdefault(PurePosixPath(_key(path)).stem, []).append(path)
        return found


def pictures_in(folder: str) -> list[str]:
    """The files in a folder itself that are called as pictures are, sorted."""
    names = sorted(os.listdir(folder))
    return [os.path.join(folder, name) for name in names if has_picture_suffix(name)]


def files_below(folder: str | Path) -> Iterator[str]:
    """Walks through a folder, and folders that it links to; hidden ones and loops are left out."""
    seen, waiting = set[str](), [str(folder)]
    while waiting:
        here = waiting.pop()
        if os.path.realpath(here) in seen:
            continue
        seen.add(os.path.realpath(here))
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name, reverse=True)
        except OSError:
            continue
        entries = [entry for entry in entries if not _is_hidden(entry.name)]
        yield from (entry.path for entry in reversed(entries) if entry.is_file())
        folders = [entry for entry in entries if entry.is_dir()]
        # Real folders come off the list before links, which may lead to the same.
        waiting += [entry.path for entry in sorted(folders, key=lambda e: not e.is_symlink())]


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "@eaDir")


def _is_file(path: str) -> bool:
    try:
        return os.path.isfile(path)
    except ValueError:  # a zero byte
        return False


def _key(name: str) -> str:
    """What is left of a name without the differences between systems."""
    plain = unquote(without_fragment(name)) if "%" in name else without_fragment(name)
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", plain).casefold()).replace(
        "\\", "/"
    )


def _endings(key: str) -> Iterator[str]:
    """The ends of paths that a name may stand for: of an absolute one, ever shorter ones."""
    parts = [part for part in key.split("/") if part not in ("", ".")]
    if not parts:
        return
    yield "/".join(parts)
    if _ABSOLUTE.match(key):
        for at in range(1, len(parts)):
            yield "/".join(parts[at:])


def _ends(path: str, ending: str, stem: bool = False) -> bool:
    """Whether a path ends in whole parts as it should."""
    key = _key(path)
    if stem:
        key = str(PurePosixPath(key).with_suffix(""))
    return key.endswith("/" + ending)


def _distinct(paths: Iterable[str]) -> list[str]:
    """Paths of different files: links lead to one file by several paths."""
    return list({os.path.realpath(path): path for path in paths}.values())
