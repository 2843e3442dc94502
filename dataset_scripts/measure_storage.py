"""Measures the bytes that each config of a dataset folder takes on disk, and those that are new.

python dataset_scripts/measure_storage.py --folder f30k

The Hub divides files into content-defined chunks of about 64 KiB and stores equal chunks once. This
script uses the same method (boundaries where the top 16 bits of a rolling "gear" hash are zero; 8
to 128 KiB per chunk) with another hash table, and counts the bytes of chunks that no earlier file
has. Configs are processed in the order of the card; the result is also written as JSON.
"""

from dataclasses import dataclass, field

from noisy_xmodal.entry.command_line import answer_early


@dataclass
class StorageArguments:
    folder: str = field(metadata={"help": "Output folder of a dataset script."})
    results_file: str = field(default="storage.json", metadata={"help": "JSON file for the table."})


if __name__ == "__main__":
    answer_early(StorageArguments)  # the imports below take seconds

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from datasets.utils import tqdm
from huggingface_hub import DatasetCard
from transformers import HfArgumentParser

from noisy_xmodal.entry.door import enter

WINDOW = 64  # bytes in the window of the rolling hash, one per bit of the hash
MIN_CHUNK, MAX_CHUNK = 8 * 2**10, 128 * 2**10
BLOCK = 2**22
GEAR = np.random.default_rng(0).integers(0, 2**64, 256, dtype=np.uint64)


def boundaries(data: bytes) -> np.ndarray:
    """Candidate chunk ends, ascending: where the hash of the last 64 bytes starts with zeros."""
    values = np.frombuffer(data, dtype=np.uint8)
    parts = []
    for start in range(0, len(values), BLOCK):
        first = max(0, start - WINDOW + 1)
        rolling = GEAR[values[first : start + BLOCK]]  # (n_bytes,)
        length = 1
        while length < WINDOW:  # doubles the length of the summed window
            longer = rolling.copy()
            longer[length:] += rolling[:-length] << np.uint64(length)
            rolling, length = longer, 2 * length
        ends = np.flatnonzero(rolling >> np.uint64(48) == 0) + first + 1
        parts.append(ends[ends > start])
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def chunks(data: bytes) -> Iterator[bytes]:
    """Divides a file into content-defined chunks."""
    ends = boundaries(data)
    start = 0
    while start < len(data):
        index = np.searchsorted(ends, start + MIN_CHUNK)
        end = int(ends[index]) if index < len(ends) else len(data)
        end = min(end, start + MAX_CHUNK, len(data))
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
    print(f"{'config':16}{'bytes on disk':>16}{'unique bytes':>16}")
    for row in rows:
        print(f"{row['config']:16}{row['on_disk']:16,}{row['new']:16,}")
    total = {name: sum(row[name] for row in rows) for name in ("on_disk", "new")}
    print(f"{'all':16}{total['on_disk']:16,}{total['new']:16,}")
    Path(arguments.results_file).write_text(json.dumps({"configs": rows, "all": total}, indent=2))


if __name__ == "__main__":
    enter(main)
