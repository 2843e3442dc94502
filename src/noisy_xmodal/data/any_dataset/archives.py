"""Reading of tar and zip files, including damaged ones, and their extraction to a folder.

Paths of members are sanitized before they are used on disk.
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
from pathlib import Path
from typing import IO, Any

import datasets

from ...files import atomic_write
from ..columns import DatasetError
from ..digests import combined_digest, file_state

TAR_SUFFIXES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
ARCHIVE_SUFFIXES = (*TAR_SUFFIXES, ".zip")
_COMPRESSIONS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
#: Exceptions of `zipfile` for damaged, encrypted and unknown content.
_ZIP_ERRORS = (
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
    """The sanitized path of a member, relative to the root of the archive."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    parts = unicodedata.normalize("NFC", text).replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def is_side_file(name: str) -> bool:
    """Whether a member is metadata of an operating system: `._0.jpg`, `__MACOSX/`, `.DS_Store`."""
    *folders, base = name.split("/")
    return base.startswith(".") or "__MACOSX" in folders


class TarReader:
    """The complete members of a tar, in order.

    Concatenated tars are read one after another.

    Args:
        path: The file; a compressed file is decompressed to a temporary file.
        scratch: The folder for the temporary file.

    Attributes:
        file: The uncompressed tar, with members at their `offset_data`.
        n_members: Number of members read so far.
        damage: After the last member, a description of the damage, if the tar is damaged.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        self.damage: str | None = None  # until all members are read, only of the compression
        self.n_members = 0
        self.file: IO[bytes] = path.open("rb")
        self._decompress(scratch)
        self._size = self.file.seek(0, os.SEEK_END)

    def __enter__(self) -> "TarReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        start = self._check_start()
        while start is not None:
            start = yield from self._read_archive(start)

    def read(self, offset: int, size: int) -> bytes:
        """Reads the content of a member."""
        self.file.seek(offset)
        return self.file.read(size)

    def _read_archive(self, start: int) -> Generator[tarfile.TarInfo, None, int | None]:
        """Yields the members of one archive, and returns the start of the next one, if any."""
        self.file.seek(start)
        position = start
        try:
            with tarfile.open(fileobj=self.file, mode="r:") as tar:
                member = tar.next()
                while member is not None:
                    if member.offset_data + max(member.size, 0) > self._size:
                        return self._stop(f"truncated inside '{inner_name(member.name)}'")
                    if tar.offset <= position:
                        return self._stop("damaged: a header refers to an earlier position")
                    position = tar.offset
                    self.n_members += 1
                    yield member
                    self.file.seek(position)
                    member = _next_member(tar)
        except (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError) as error:
            return self._stop(f"truncated or damaged ({error})")
        return self._find_next_archive(position, start)

    def _find_next_archive(self, position: int, start: int) -> int | None:
        self.file.seek(position)
        block = self.file.read(_BLOCK)
        if len(block) < _BLOCK:
            return self._stop("without the end mark of a tar: it is truncated or unfinished")
        if block.strip(b"\0"):
            state = "damaged" if position > start else "followed by data that is not a tar"
            return self._stop(f"{state} ({self._size - position:,} bytes were not read)")
        while chunk := self.file.read(_CHUNK):
            if chunk.strip(b"\0"):
                blank = len(chunk) - len(chunk.lstrip(b"\0"))
                return self.file.tell() - len(chunk) + blank // _BLOCK * _BLOCK
        return None

    def _stop(self, reason: str) -> int | None:
        """Records damage, and returns None: there is no next archive."""
        after = f", after {self.n_members:,} complete members" if self.n_members else ""
        self.damage = f"{self.damage or reason}{after}"
        return None

    def _check_start(self) -> int | None:
        """The start of the first archive; None if the file does not start like a tar."""
        self.file.seek(0)
        start = self.file.read(_BLOCK)
        if len(start) == _BLOCK and not start.strip(b"\0"):
            return 0  # an empty tar
        try:
            tarfile.TarInfo.frombuf(start, tarfile.ENCODING, "surrogateescape")
        except tarfile.HeaderError:
            content = f"it starts with {start[:24]!r}" if start else "it is empty"
            return self._stop(f"not a tar file: {content}")
        return 0

    def _decompress(self, scratch: Path) -> None:
        start = self.file.read(6)
        self.file.seek(0)
        for magic, opener in _COMPRESSIONS.items():
            if start.startswith(magic):
                plain = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115
                with self.file, opener(self.file) as stream:
                    try:
                        while chunk := stream.read1(_CHUNK):
                            plain.write(chunk)
                    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                        if getattr(error, "errno", None) is not None:
                            raise  # an error of the disk
                        self.damage = f"truncated or damaged in its compression ({error})"
                self.file = plain
                return


def _next_member(tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    """Like `TarFile.next`, but does not keep all headers in memory."""
    try:
        return tarfile.TarInfo.fromtarfile(tar)
    except tarfile.HeaderError:
        return None


def archive_folder(path: Path) -> Path:
    """Extracts an archive to a cache folder, once for each state of the file.

    Members keep their paths, below the folder. Links and devices are skipped.

    Args:
        path: A zip or tar file.

    Returns:
        The folder in the cache of `datasets`, or its only subfolder if it contains nothing else.

    Raises:
        DatasetError: The archive is damaged, or larger than the free disk space.
    """
    state = combined_digest(_UNPACKING_VERSION, f"{path.absolute()} {file_state(path)}")
    name = f"{path.name.split('.')[0]}-{state}"
    folder = cache_folder("noisy_xmodal_archives") / name
    if not folder.is_dir():
        with atomic_write(folder, shared=True) as temporary:
            temporary.mkdir()
            _extract(path, temporary)
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def cache_folder(name: str) -> Path:
    """Creates a folder in the cache of `datasets`, if it does not exist."""
    folder = Path(datasets.config.HF_DATASETS_CACHE) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _extract(path: Path, folder: Path) -> None:
    try:
        if is_tar_name(path.name):
            _extract_tar(path, folder)
        else:
            _extract_zip(path, folder)
    except DatasetError:
        raise
    except (*_ZIP_ERRORS, OSError) as error:
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise
        raise DatasetError(
            f"{path} cannot be unpacked ({error}). Get it again, or unpack its intact part and "
            "give the folder."
        ) from error


def _extract_zip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        _check_space(path, sum(member.file_size for member in members), folder)
        for member in members:
            with archive.open(member) as source:
                _write(source, member.filename, folder)


def _extract_tar(path: Path, folder: Path) -> None:
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
            f"{path} contains {size:,} bytes, but only {free:,} are free in {folder.parent}. "
            "Unpack it elsewhere and give the folder, or set HF_DATASETS_CACHE."
        )


def _write(source: IO[bytes], name: str, folder: Path, size: int | None = None) -> None:
    relative = inner_name(name)
    if not relative or is_side_file(relative):
        return
    target = folder / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as output:
        remaining = size
        while chunk := source.read(_CHUNK if remaining is None else min(_CHUNK, remaining)):
            output.write(chunk)
            remaining = None if remaining is None else remaining - len(chunk)
