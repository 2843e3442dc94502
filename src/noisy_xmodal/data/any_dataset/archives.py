"""Reading of tar and zip files, including damaged ones, and their extraction to a cache folder.

Paths of members are sanitized before they are used on disk.
"""

import bz2
import errno
import gzip
import lzma
import os
import shutil
import struct
import sys
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
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
_UNPACKING_VERSION = "1"


def is_tar_name(name: str) -> bool:
    """Whether a file of this name is a tar, compressed or not."""
    return name.lower().endswith(TAR_SUFFIXES)


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
    """The complete members of a tar, in order; concatenated tars are read one after another.

    `tarfile` alone ends without an error at a damaged header, and keeps all headers in memory.

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
        if not self._starts_like_a_tar():
            return
        first: int | None = 0  # the position of the first header of the current tar
        position = 0
        try:
            self.file.seek(0)
            with tarfile.open(fileobj=self.file, mode="r:") as tar:
                while first is not None:
                    self.file.seek(position)
                    try:
                        member = tarfile.TarInfo.fromtarfile(tar)
                    except tarfile.HeaderError:
                        first = self._next_tar(position, first)
                        position = first or 0
                        continue
                    if member.offset_data + max(member.size, 0) > self._size:
                        self._stop(f"truncated inside '{inner_name(member.name)}'")
                        return
                    if tar.offset <= position:
                        self._stop("damaged: a header refers to an earlier position")
                        return
                    position = tar.offset
                    self.n_members += 1
                    yield member
        except (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError) as error:
            self._stop(f"truncated or damaged ({error})")

    def read(self, offset: int, size: int) -> bytes:
        """Reads the content of a member."""
        self.file.seek(offset)
        return self.file.read(size)

    def _next_tar(self, end: int, first: int) -> int | None:
        """The start of the tar after one that ends at `end`; None without one."""
        block = self.read(end, tarfile.BLOCKSIZE)
        if len(block) < tarfile.BLOCKSIZE:
            self._stop("without the end mark of a tar: it is truncated or unfinished")
            return None
        if block.strip(b"\0"):
            state = "damaged" if end > first else "followed by data that is not a tar"
            self._stop(f"{state} ({self._size - end:,} bytes were not read)")
            return None
        while chunk := self.file.read(_CHUNK):
            if chunk.strip(b"\0"):
                n_blocks = (len(chunk) - len(chunk.lstrip(b"\0"))) // tarfile.BLOCKSIZE
                return self.file.tell() - len(chunk) + n_blocks * tarfile.BLOCKSIZE
        return None

    def _stop(self, reason: str) -> None:
        """Records damage."""
        after = f", after {self.n_members:,} complete members" if self.n_members else ""
        self.damage = f"{self.damage or reason}{after}"

    def _starts_like_a_tar(self) -> bool:
        start = self.read(0, tarfile.BLOCKSIZE)
        try:
            tarfile.TarInfo.frombuf(start, tarfile.ENCODING, "surrogateescape")
        except tarfile.HeaderError:
            if len(start) == tarfile.BLOCKSIZE and not start.strip(b"\0"):
                return True  # an empty tar
            content = f"it starts with {start[:24]!r}" if start else "it is empty"
            self._stop(f"not a tar file: {content}")
            return False
        return True

    def _decompress(self, scratch: Path) -> None:
        start = self.read(0, 6)
        self.file.seek(0)
        opener = next((_COMPRESSIONS[m] for m in _COMPRESSIONS if start.startswith(m)), None)
        if opener is None:
            return
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


def archive_folder(path: Path) -> Path:
    """Extracts an archive to a cache folder, once for each state of the file.

    Members keep their paths, below the folder. Links and devices are skipped.

    Returns:
        The folder in the cache of `datasets`, or its only subfolder if it contains nothing else.

    Raises:
        DatasetError: The archive is damaged, or larger than the free disk space.
    """
    name = f"{path.name.split('.')[0]}-{files_digest([path], _UNPACKING_VERSION)}"
    folder = cached_folder("noisy_xmodal_archives", name, partial(_extract, path))
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def files_digest(files: Iterable[str | os.PathLike[str]], *inputs: str) -> str:
    """Hashes the paths and states of files, and other inputs."""
    states = [f"{os.path.abspath(file)} {file_state(file)}" for file in files]
    return combined_digest(*inputs, *states)


def cached_folder(kind: str, name: str, fill: Callable[[Path], None]) -> Path:
    """Returns a folder in the cache of `datasets`, which `fill` writes if it does not exist.

    The folder is filled under another name, so it is complete or missing.
    """
    folder = Path(datasets.config.HF_DATASETS_CACHE) / kind / name
    if not folder.is_dir():
        with atomic_write(folder, shared=True) as temporary:
            temporary.mkdir()
            fill(temporary)
    return folder


def _extract(path: Path, folder: Path) -> None:
    try:
        (_extract_tar if is_tar_name(path.name) else _extract_zip)(path, folder)
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
        for member in tar:
            if member.isreg() and not member.sparse:
                tar.file.seek(member.offset_data)
                _write(tar.file, member.name, folder, member.size)
        if tar.damage is not None:
            raise DatasetError(f"{path} is {tar.damage}. Get it again.")


def _check_space(path: Path, size: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DatasetError(
            f"{path} contains {size:,} bytes, but only {free:,} are free in {folder.parent}. "
            "Unpack it elsewhere and give the folder, or set HF_DATASETS_CACHE."
        )


def _write(source: IO[bytes], name: str, folder: Path, size: int = sys.maxsize) -> None:
    relative = inner_name(name)
    if not relative or is_side_file(relative):
        return
    target = folder / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as output:
        while chunk := source.read(min(_CHUNK, size)):
            output.write(chunk)
            size -= len(chunk)
