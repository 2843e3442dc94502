"""Measures the bytes that each config of a dataset folder takes on disk, and those that are new.

python dataset_scripts/measure_storage.py --folder f30k

The Hub cuts files into chunks of about 64 KiB at places that depend on their content alone, and
keeps one copy of equal chunks. This script cuts in the same way (a rolling "gear" hash whose top 16
bits are zero; 8 to 128 KiB a chunk), with a table of its own, and counts the bytes of chunks that
no file before had. Configs are taken in the order of the card; the result is a JSON file too.
"""

from dataclasses import dataclass, field

from noisy_xmodal.entry.quick_help import answer_help


@dataclass
class StorageArguments:
    folder: str = field(metadata={"help": "Output folder of a dataset script."})
    results_file: str = field(default="storage.json", metadata={"help": "JSON file for the table."})


if __name__ == "__main__":
    answer_help(StorageArguments)  # the imports below take seconds

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from datasets.utils import tqdm
from huggingface_hub import DatasetCard
from transformers import HfArgumentParser

from noisy_xmodal.entry.door import enter

WINDOW = 64  # bytes that the rolling hash looks back: one bit of it a byte
LEAST, MOST = 8 * 2**10, 128 * 2**10
BLOCK = 2**22
GEAR = np.random.default_rng(0).integers(0, 2**64, 256, dtype=np.uint64)


def boundaries(data: bytes) -> np.ndarray:
    """Ends of possible chunks, ascending: where the hash of the last 64 bytes begins with zeros."""
    values = np.frombuffer(data, dtype=np.uint8)
    found = []
    for start in range(0, len(values), BLOCK):
        first = max(0, start - WINDOW + 1)
        rolling = GEAR[values[first : start + BLOCK]]  # (n_bytes,)
        reach = 1
        while reach < WINDOW:  # the sum over the window, doubling what is summed
            longer = rolling.copy()
            longer[reach:] += rolling[:-reach] << np.uint64(reach)
            rolling, reach = longer, 2 * reach
        ends = np.flatnonzero(rolling >> np.uint64(48) == 0) + first + 1
        found.append(ends[ends > start])
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def chunks(data: bytes) -> Iterator[bytes]:
    """Cuts a file by its content."""
    ends = boundaries(data)
    start = 0
    while start < len(data):
        place = np.searchsorted(ends, start + LEAST)
        end = int(ends[place]) if place < len(ends) else len(data)
        end = min(end, start + MOST, len(data))
        yield data[start:end]
        start = end


def main() -> None:
    (arguments,) = HfArgumentParser(StorageArguments).parse_args_into_dataclasses()
    folder = Path(arguments.folder)
    seen: set[bytes] = set()
    done: set[Path] = set()
    rows = []
    for config in tqdm(DatasetCard.load(folder / "README.md").data["configs"], desc="Measuring"):
        patterns = [entry["path"] for entry in config["data_files"]]
        files = [file for pattern in patterns for file in sorted(folder.glob(pattern))]
        on_disk = new = 0
        for file in files:
            if file in done:
                continue  # stored once for several configs
            done.add(file)
            data = file.read_bytes()
            on_disk += len(data)
            for chunk in chunks(data):
                digest = hashlib.blake2b(chunk, digest_size=16).digest()
                new += 0 if digest in seen else len(chunk)
                seen.add(digest)
        rows.append({"config": config["config_name"], "on_disk": on_disk, "new": new})
    print(f"{'config':16}{'bytes on disk':>16}{'really new':>16}")
    for row in rows:
        print(f"{row['config']:16}{row['on_disk']:16,}{row['new']:16,}")
    total = {name: sum(row[name] for row in rows) for name in ("on_disk", "new")}
    print(f"{'all':16}{total['on_disk']:16,}{total['new']:16,}")
    Path(arguments.results_file).write_text(json.dumps({"configs": rows, "all": total}, indent=2))


if __name__ == "__main__":
    enter(main)
