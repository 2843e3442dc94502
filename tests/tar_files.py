"""Tars written member by member, in any order and with any fault, and pictures of one shade."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import PIL.Image

Member = tuple[str, bytes | str]


def picture(shade: int, kind: str = "png") -> bytes:
    """A picture whose every pixel has the shade."""
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (8, 8), (shade, shade, shade)).save(buffer, format=kind)
    return buffer.getvalue()


def write_tar(path: Path, members: Iterable[Member], mode: str = "w", **options: object) -> Path:
    """Writes members: their content, text as UTF-8, or `-> name` for a link."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, **options) as tar:  # type: ignore[call-overload]
        for name, content in members:
            member = tarfile.TarInfo(name)
            if name.endswith("/"):
                member.type = tarfile.DIRTYPE
            elif isinstance(content, str) and content.startswith("-> "):
                member.type, member.linkname = tarfile.LNKTYPE, content[3:]
            elif isinstance(content, str) and content.startswith("~> "):
                member.type, member.linkname = tarfile.SYMTYPE, content[3:]
            else:
                data = content.encode() if isinstance(content, str) else content
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
                continue
            tar.addfile(member)
    return path


def pairs(shades: Iterable[int], ending: str = "png", kind: str = "png") -> list[Member]:
    """Members of samples with a picture and a caption each."""
    return [
        member
        for shade in shades
        for member in (
            (f"{shade:03d}.{ending}", picture(shade, kind)),
            (f"{shade:03d}.txt", f"shade {shade}"),
        )
    ]
