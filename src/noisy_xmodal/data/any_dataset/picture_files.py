"""Lookup of picture files below a folder by the names in tables."""

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from .archives import ARCHIVE_SUFFIXES, archive_folder

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"}
    | {".avif", ".heic"}
)
#: Usual names of folders with texts.
TEXT_FOLDERS = ("annotation", "annotations", "caption", "captions", "text", "texts", "labels")
_SIDE_FOLDERS = ("__MACOSX", "@eaDir")
_FRAGMENT = re.compile(r"(\.\w+)#\d+$")  # the number of a caption in Flickr8k: name.jpg#0
_ABSOLUTE = re.compile(r"[a-z]:/|/", re.IGNORECASE)

_File = tuple[str, str]  # path, normalized path


def has_picture_suffix(name: str) -> bool:
    """Whether a name has the suffix of a picture format."""
    return os.path.splitext(without_fragment(name))[1].lower() in PICTURE_SUFFIXES


def without_fragment(name: str) -> str:
    """Removes the number of a caption from a name: `name.jpg` for `name.jpg#0`."""
    return _FRAGMENT.sub(r"\1", name)


class PictureFiles:
    """The files below a folder; each folder is searched once, including links to folders.

    A name is a path relative to the folder, or the end of the path of one file below it. The lookup
    ignores differences in Unicode normal form, case, backslashes, `%20` and a missing suffix. It
    accepts absolute paths of other machines by their ends, and paths that start above the folder
    (`data/photos/a.jpg` in `data/photos`). If no picture is below the folder, its zip and tar files
    are searched.

    Args:
        folder: The folder. If it is named `annotations`, `captions` etc. and has no pictures, its
            parent is searched instead; COCO has its pictures next to `annotations/`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.abspath(folder))

    def matches(self, name: str) -> list[str]:
        """Finds the absolute paths of the files that match a name."""
        for relative in (name, self._relative(name)):
            exact = os.path.join(self.folder, relative) if relative else ""
            if "\0" not in exact and os.path.isfile(exact):
                return [exact]
        for ending in _endings(_key(name)):
            files = self._candidates(ending)
            paths = [path for path, key in files if key.endswith("/" + ending)]
            exact_paths = [path for path in paths if path.endswith(os.sep + os.path.normpath(name))]
            if not paths and not has_picture_suffix(ending):
                stems = [(path, os.path.splitext(key)[0]) for path, key in files]
                paths = [path for path, stem in stems if stem.endswith("/" + ending)]
            if paths:  # one per file, also if links provide several
                real = {os.path.realpath(path): path for path in exact_paths or paths}
                return sorted(real.values())
        return sorted(path for archive in self._archives for path in archive.matches(name))

    @cached_property
    def pictures(self) -> list[str]:
        """The absolute paths of all files with a picture suffix, sorted."""
        return sorted(path for path in self._files if has_picture_suffix(path))

    @cached_property
    def stems(self) -> set[str]:
        """The paths of pictures without their suffixes."""
        return {os.path.splitext(path)[0] for path in self.pictures}

    @cached_property
    def _archives(self) -> list["PictureFiles"]:
        """The unpacked archives of a folder without pictures, such as a zip next to its table."""
        if self.pictures:
            return []
        files = [file for file in sorted(self.folder.iterdir()) if file.is_file()]
        archives = [file for file in files if file.name.lower().endswith(ARCHIVE_SUFFIXES)]
        return [PictureFiles(archive_folder(file)) for file in archives]

    def _relative(self, name: str) -> str:
        """The rest of a path that starts with the last parts of this folder's path."""
        parts, folder_parts = name.split("/"), self.folder.parts
        for count in range(1, len(parts)):
            if parts[:count] == list(folder_parts[-count:]):
                return "/".join(parts[count:])
        return ""

    @cached_property
    def _files(self) -> list[str]:
        files = list(files_below(self.folder))
        if self.folder.name.lower() in TEXT_FOLDERS and not any(map(has_picture_suffix, files)):
            files = list(files_below(self.folder.parent))
        return files

    def _candidates(self, ending: str) -> list[_File]:
        """The files that a path end may match, by its last one or two parts."""
        folder, name = os.path.split(ending)
        files = self._by_name.get(name, [])
        if not folder or len(files) < 2:
            return files
        return self._by_two_parts.get(f"{os.path.basename(folder)}/{name}", [])

    @cached_property
    def _by_name(self) -> dict[str, list[_File]]:
        """The files by normalized name, pictures also by its stem."""
        files: dict[str, list[_File]] = {}
        for path in self._files:
            name, file = _key(os.path.basename(path)), (path, _key(path))
            files.setdefault(name, []).append(file)
            if has_picture_suffix(name):
                files.setdefault(os.path.splitext(name)[0], []).append(file)
        return files

    @cached_property
    def _by_two_parts(self) -> dict[str, list[_File]]:
        """The files of which several have the same name, by folder and name."""
        files: dict[str, list[_File]] = {}
        for name, named in self._by_name.items():
            for file in named if len(named) > 1 else ():
                folder = os.path.basename(os.path.dirname(file[1]))
                files.setdefault(f"{folder}/{name}", []).append(file)
        return files


def names_of_paths(paths: Sequence[str | None]) -> list[str]:
    """Names images by their paths.

    Returns:
        Relative paths unchanged, absolute paths without the folders that all have in common (which
        depend on the machine), and "row-000003" for None.
    """
    folders = {os.path.dirname(path) for path in paths if path and os.path.isabs(path)}
    shared = os.path.commonpath(folders) if folders else ""
    names = []
    for row, path in enumerate(paths):
        is_absolute = path is not None and os.path.isabs(path)
        name = row_name(row) if path is None else path
        names.append(name.removeprefix(shared).lstrip(os.sep) if is_absolute else name)
    return names


def row_name(row: int) -> str:
    """The name of an image without a path or a name."""
    return f"row-{row:06d}"


def files_below(folder: str | Path) -> Iterator[str]:
    """Walks through a folder and the folders that it links to, without hidden ones and loops."""
    visited, stack = set[str](), [str(folder)]
    while stack:
        current = stack.pop()
        if os.path.realpath(current) in visited:
            continue
        visited.add(os.path.realpath(current))
        try:
            entries = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError:
            continue
        entries = [e for e in entries if not e.name.startswith(".") and e.name not in _SIDE_FOLDERS]
        yield from (entry.path for entry in entries if entry.is_file())
        folders = [entry for entry in reversed(entries) if entry.is_dir()]
        # Folders are visited before links, which may point to them.
        stack += [entry.path for entry in sorted(folders, key=lambda e: not e.is_symlink())]


def _key(name: str) -> str:
    """Normalizes a name: Unicode form, case, `%20`, backslashes, and no caption number."""
    plain = unquote(without_fragment(name)) if "%" in name else without_fragment(name)
    folded = unicodedata.normalize("NFC", plain).casefold()
    return unicodedata.normalize("NFC", folded).replace("\\", "/")


def _endings(key: str) -> Iterator[str]:
    """The path ends that may match a name: the whole path, and shorter ends of an absolute one."""
    parts = [part for part in key.split("/") if part not in ("", ".")]
    for start in range(len(parts) if _ABSOLUTE.match(key) else min(1, len(parts))):
        yield "/".join(parts[start:])
