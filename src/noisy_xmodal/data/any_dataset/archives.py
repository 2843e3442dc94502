"""Tar and zip files: what is whole in them, and a folder made of one.

No path of a member is used on the disk as it stands.
"""

import bz2
import errno
import gzip
import lzma
import os
import shutil
import struct
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import datasets

from ..columns import DatasetError
from ..digests import combined_digest, file_state

TAR_SUFFIXES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
ARCHIVE_SUFFIXES = (*TAR_SUFFIXES, ".zip")
_COMPRESSIONS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
#: What `zipfile` raises for damaged, encrypted and unknown content.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)
_DISK_ERRORS = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO, errno.EMFILE)
_CHUNK = 2**20
_BLOCK = tarfile.BLOCKSIZE
_UNPACKING_VERSION = "1"


def is_tar_name(name: str) -> bool:
    """Whether a file of this name is a tar, compressed or not."""
    return name.lower().endswith(TAR_SUFFIXES)


def is_archive_name(name: str) -> bool:
    """Whether a file of this name is a tar or a zip."""
    return name.lower().endswith(ARCHIVE_SUFFIXES)


def inner_name(name: str) -> str:
    """The path of a member below the archive's root, as text, whatever it says."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    parts = unicodedata.normalize("NFC", text).replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def is_side_file(name: str) -> bool:
    """Whether a member was put there by a system: `._0.jpg`, `__MACOSX/`, `.DS_Store`."""
    *folders, base = name.split("/")
    return base.startswith(".") or "__MACOSX" in folders


class TarReader:
    """The members of a tar in their order, as far as they are whole.

    Tars that were joined end to end are read one after another.

    Args:
        path: The file; a compressed one is unpacked into a temporary file.
        scratch: A folder for that.

    Attributes:
        file: The tar without compression, in which members are at their `offset_data`.
        n_members: How many members were read so far.
        damage: After the last member, why there are no more, where the tar does not end properly.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        self.damage: str | None = None  # of the compression, until the members have been read
        self.n_members = 0
        self.file: IO[bytes] = path.open("rb")
        self._unpack(scratch)
        self._size = self.file.seek(0, os.SEEK_END)

    def __enter__(self) -> "TarReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        start = self._start()
        while start is not None:
            start = yield from self._archive(start)

    def read(self, offset: int, size: int) -> bytes:
        """Reads the content of a member."""
        self.file.seek(offset)
        return self.file.read(size)

    def _archive(self, start: int) -> Generator[tarfile.TarInfo, None, int | None]:
        """Reads one archive, and returns where another begins behind it, if one does."""
        self.file.seek(start)
        place = start
        try:
            with tarfile.open(fileobj=self.file, mode="r:") as tar:
                member = tar.next()
                while member is not None:
                    if member.offset_data + max(member.size, 0) > self._size:
                        return self._break(f"cut off inside '{inner_name(member.name)}'")
                    if tar.offset <= place:
                        return self._break("damaged: its headers lead backwards")
                    place = tar.offset
                    self.n_members += 1
                    yield member
                    self.file.seek(place)
                    member = _next_member(tar)
        except (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError) as error:
            return self._break(f"cut off or damaged ({error})")
        return self._next_archive(place, start)

    def _next_archive(self, place: int, start: int) -> int | None:
        self.file.seek(place)
        block = self.file.read(_BLOCK)
        if len(block) < _BLOCK:
            return self._break("without the end mark of a tar: it was cut off, or never closed")
        if block.strip(b"\0"):
            what = "damaged" if place > start else "followed by what is no tar"
            return self._break(f"{what} ({self._size - place:,} bytes were not read)")
        while chunk := self.file.read(_CHUNK):
            if chunk.strip(b"\0"):
                blank = len(chunk) - len(chunk.lstrip(b"\0"))
                return self.file.tell() - len(chunk) + blank // _BLOCK * _BLOCK
        return None

    def _break(self, why: str) -> int | None:
        after = f", after {self.n_members:,} whole members" if self.n_members else ""
        self.damage = f"{self.damage or why}{after}"
        return None

    def _start(self) -> int | None:
        """Where the first archive begins, if the file begins as a tar does."""
        self.file.seek(0)
        start = self.file.read(_BLOCK)
        if len(start) == _BLOCK and not start.strip(b"\0"):
            return 0  # an empty tar
        try:
            tarfile.TarInfo.frombuf(start, tarfile.ENCODING, "surrogateescape")
        except tarfile.HeaderError:
            says = f"it begins with {start[:24]!r}" if start else "it is empty"
            return self._break(f"no tar file: {says}")
        return 0

    def _unpack(self, scratch: Path) -> None:
        start = self.file.read(6)
        self.file.seek(0)
        for magic, opened in _COMPRESSIONS.items():
            if start.startswith(magic):
                plain = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115
                with self.file, opened(self.file) as packed:
                    try:
                        while chunk := packed.read1(_CHUNK):
                            plain.write(chunk)
                    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                        if getattr(error, "errno", None) is not None:
                            raise  # the disk, not the file
                        self.damage = f"cut off or damaged in its compression ({error})"
                self.file = plain
                return


def _next_member(tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    """As `TarFile.next`, which keeps every header in memory."""
    try:
        return tarfile.TarInfo.fromtarfile(tar)
    except tarfile.HeaderError:
        return None


def archive_folder(path: Path) -> Path:
    """Makes a folder of an archive, once for each state of the file.

    Members get the paths that they have inside, below the folder and nowhere else; links and
    devices are left out.

    Args:
        path: A zip or tar file.

    Returns:
        The folder, in the cache of `datasets`; that inside which everything lies, where there is
        one.

    Raises:
        DatasetError: The archive is damaged, or larger than the free space.
    """
    state = combined_digest(_UNPACKING_VERSION, f"{path.absolute()} {file_state(path)}")
    name = f"{path.name.split('.')[0]}-{state}"
    folder = cache_folder("noisy_xmodal_archives") / name
    if not folder.is_dir():
        with folder_aside(folder) as aside:
            _unpack(path, aside)
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def cache_folder(name: str) -> Path:
    """A folder of that name in the cache of `datasets`, made where it is missing."""
    folder = Path(datasets.config.HF_DATASETS_CACHE) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def folder_aside(folder: Path) -> Iterator[Path]:
    """Gives a folder to write into, which gets its name once all is written."""
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".partial-"))
    try:
        yield aside
        try:
            aside.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _unpack(path: Path, folder: Path) -> None:
    try:
        if is_tar_name(path.name):
            _unpack_tar(path, folder)
        else:
            _unpack_zip(path, folder)
    except DatasetError:
        raise
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise
        raise DatasetError(
            f"{path} cannot be unpacked ({error}). Get it again, or unpack what is whole of it and "
            "give the folder."
        ) from error


def _unpack_zip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        _check_space(path, sum(member.file_size for member in members), folder)
        for member in members:
            with archive.open(member) as source:
                _write(source, member.filename, folder)


def _unpack_tar(path: Path, folder: Path) -> None:
    with TarReader(path, folder) as tar:
        _check_space(path, path.stat().st_size, folder)
        members = ((member.name, member) for member in tar if member.isreg() and not member.sparse)
        places = {name: (member.offset_data, member.size) for name, member in members}
        for name, (offset, size) in places.items():
            tar.file.seek(offset)
            _write(tar.file, name, folder, size)
        if tar.damage is not None:
            raise DatasetError(f"{path} is {tar.damage}. Get it again.")


def _check_space(path: Path, size: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DatasetError(
            f"{path} holds {size:,} bytes, and {free:,} are free for them in {folder.parent}. "
            "Unpack it elsewhere and give the folder, or set HF_DATASETS_CACHE."
        )


def _write(source: IO[bytes], name: str, folder: Path, size: int | None = None) -> None:
    inside = inner_name(name)
    if not inside or is_side_file(inside):
        return
    target = folder / inside
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as written:
        left = size
        while chunk := source.read(_CHUNK if left is None else min(_CHUNK, left)):
            written.write(chunk)
            left = None if left is None else left - len(chunk)
