"""Reading of text files in UTF-8, or in the encoding of a byte order mark."""

from pathlib import Path

from ..columns import DatasetError
from ..messages import quoted

_MARKS = {  # longest first: the mark of UTF-32 starts with that of UTF-16
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_POINTER = b"version https://git-lfs"
_HEAD_BYTES = 200


def read_text(file: Path) -> str:
    """Reads a text file without changing its line ends.

    Raises:
        DatasetError: The file is empty, or not in its encoding; the message names the line.
    """
    data = file.read_bytes()
    encoding = _encoding(data)
    if encoding == "utf-8-sig" and b"\0" in data[:_HEAD_BYTES]:
        raise DatasetError(
            f"{file} is not text, or UTF-16 without a byte order mark: it contains zero bytes. "
            "Save it as UTF-8."
        )
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        excerpt = data[max(0, error.start - 10) : error.start + 10]
        name = encoding.removesuffix("-sig").upper()
        raise DatasetError(
            f"Line {line} of {file} is not {name} text: {quoted(excerpt)}. Save the file as UTF-8, "
            "for example with: iconv -f LATIN1 -t UTF-8 (if its encoding is LATIN1)."
        ) from error
    if not text.strip():
        raise DatasetError(f"{file} is empty.")
    return text


def reject_pointer(file: Path) -> None:
    """Raises an error if a file is a pointer of Git LFS.

    Raises:
        DatasetError: The file is such a pointer.
    """
    with file.open("rb") as binary:
        if binary.read(len(_POINTER)) == _POINTER:
            raise DatasetError(f"{file} is a Git LFS pointer: fetch the file with `git lfs pull`.")


def first_line(file: Path) -> str:
    """Reads the first non-blank line of a text file; invalid bytes are replaced."""
    with file.open("rb") as binary:
        encoding = _encoding(binary.read(4))
    with file.open(encoding=encoding, errors="replace") as lines:
        return next((line.rstrip("\n") for line in lines if line.strip()), "")


def _encoding(start: bytes) -> str:
    return next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8-sig")
