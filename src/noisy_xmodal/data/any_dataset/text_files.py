"""Text of tables: UTF-8, or what a byte order mark says."""

from pathlib import Path

from ..columns import DatasetError
from ..messages import quoted

_MARKS = {  # longer ones first: the mark of UTF-32 begins with that of UTF-16
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_POINTER = b"version https://git-lfs"
_PEEKED = 200  # bytes


def read_text(file: Path) -> str:
    """Reads a text file, with its line ends as they are.

    Raises:
        DatasetError: It is empty, or not in the encoding; the message names the line.
    """
    data = file.read_bytes()
    encoding = _encoding(data)
    if encoding == "utf-8-sig" and b"\0" in data[:_PEEKED]:
        raise DatasetError(
            f"{file} is no text, or UTF-16 without its mark: it holds zero bytes. Save it as UTF-8."
        )
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = data[max(0, error.start - 10) : error.start + 10]
        name = encoding.removesuffix("-sig").upper()
        raise DatasetError(
            f"Line {line} of {file} is not {name} text: {quoted(found)}. Save the file as UTF-8, "
            "for example with: iconv -f LATIN1 -t UTF-8 (or the encoding that it has)."
        ) from error
    if not text.strip():
        raise DatasetError(f"{file} is empty.")
    return text


def refuse_pointer(file: Path) -> None:
    """Refuses a file that stands for one that Git LFS has not fetched.

    Raises:
        DatasetError: It is one.
    """
    with file.open("rb") as binary:
        if binary.read(len(_POINTER)) == _POINTER:
            raise DatasetError(f"{file} is a pointer of Git LFS: fetch it with `git lfs pull`.")


def first_line(file: Path) -> str:
    """Reads the first line of a text file that says something; what does not decode is replaced."""
    with file.open("rb") as binary:
        encoding = _encoding(binary.read(4))
    with file.open(encoding=encoding, errors="replace") as lines:
        return next((line.rstrip("\n") for line in lines if line.strip()), "")


def _encoding(start: bytes) -> str:
    return next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8-sig")
