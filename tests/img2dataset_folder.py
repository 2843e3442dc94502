"""A folder as img2dataset writes it, with every kind of trouble that such folders have."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image

from tar_files import Member, write_tar

SIDE = 32
#: What a reader must name, each in one line.
TROUBLE = {
    "a failed download": "2 rows that img2dataset could not download (HTTP Error 404 Not Found): "
    "000000098 in 00000.parquet, 000000099 in 00000.parquet",
    "a cut tar": "00001.tar is truncated inside",
    "lost samples": "5 rows that img2dataset lists as a success, without a usable pair in the tar: "
    "000000003 in 00000.parquet, 000000005 in 00000.parquet, 000010007 in 00001.parquet",
    "a number of pairs": "00001_stats.json reports 10 successes, but 00001.tar has 7 pairs",
    "an empty caption": "1 sample with an empty caption: 000000003 in",
    "no picture": "1 sample without a picture: 000000005 in",
    "a repeated key": "1 key that the shard has more than once: 000020004 in 00002.tar",
    "an unfinished shard": "00002.tar is unfinished: img2dataset wrote no 00002_stats.json",
    "a copy": "1 row with the picture of another row (sha256): 000020009 as 000020008 in",
    "an enlarged picture": "1 row whose picture was enlarged (original_width, original_height): "
    "000000001 from 12 x 9 in 00000.parquet",
    "a lost tar": "tars are missing beside",
}
#: Line of a picture that does not decode, which only an audit sees.
BROKEN = "000000006: "
#: A caption that says nothing.
FILE_NAME = "IMG_2041.jpg"


def jpeg(number: int) -> bytes:
    """A picture of coloured blocks."""
    blocks = np.random.default_rng(number).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    size = (SIDE, SIDE)
    PIL.Image.fromarray(blocks).resize(size, PIL.Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def write_folder(folder: Path, each: int = 10) -> int:
    """Write three shards with all of it; the number of images that can be read.

    One of them does not decode. Two have equal content, and are one image.
    """
    for shard in range(3):
        rows: list[dict[str, Any]] = []
        members: list[Member] = []
        for n in range(each):
            key, content = f"{10_000 * shard + n:09d}", jpeg(1000 * shard + n)
            if (shard, n) == (2, 9):
                content = jpeg(2008)
            row = {"key": key, "status": "success", "error_message": None, "caption": f"thing {n}"}
            row |= {"sha256": hashlib.sha256(content).hexdigest()}
            row |= {"width": SIDE, "height": SIDE, "original_width": 640, "original_height": 480}
            if (shard, n) == (0, 1):
                row |= {"original_width": 12, "original_height": 9}
            if (shard, n) == (0, 6):
                content = content[:200]
            caption = {(0, 3): "", (0, 7): FILE_NAME}.get((shard, n), f"thing {n} of {shard}")
            own: list[Member] = [(f"{key}.jpg", content), (f"{key}.txt", caption)]
            row["caption"] = caption
            own.append((f"{key}.json", json.dumps(row)))
            if (shard, n) == (0, 5):
                own = own[1:]
            members += own
            rows.append(row)
        if shard == 0:  # pictures first, then texts
            members.sort(key=lambda member: member[0].split(".")[1])
            failure = {"status": "failed_to_download", "error_message": "HTTP Error 404: Not Found"}
            rows += [rows[0] | failure | {"key": f"0000000{n}"} for n in (98, 99)]
        if shard == 2:
            again = [member for member in members if member[0].startswith("000020004")]
            members += [(name, jpeg(77) if name.endswith("jpg") else text) for name, text in again]
        tar = write_tar(folder / f"{shard:05d}.tar", members)
        datasets.Dataset.from_list(rows).to_parquet(folder / f"{shard:05d}.parquet")
        if shard < 2:
            stats = {"count": len(rows), "successes": each if shard else each - 2}
            (folder / f"{shard:05d}_stats.json").write_text(json.dumps(stats))
        if shard == 1:
            tar.write_bytes(tar.read_bytes()[: _offset(members, "000010007.jpg") + 700])
    (folder / "00003_stats.json").write_text(json.dumps({"successes": each}))
    return (each - 2) + 7 + (each + 1 - 1)


def _offset(members: list[Member], name: str) -> int:
    """Where the header of a member is."""
    offset = 0
    for other, content in members:
        if other == name:
            break
        size = len(content.encode() if isinstance(content, str) else content)
        offset += 512 + -(-size // 512) * 512
    return offset
