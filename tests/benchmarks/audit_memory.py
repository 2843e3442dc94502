"""Memory and time of an audit as its dataset grows: made-up region features, a caption an image.

    python tests/benchmarks/audit_memory.py --rows 25000 100000 --output audit_memory.json

Every size runs in a fresh process. Memory is the largest amount that the process held beside pages
of files, which the system takes back when it needs them, and the largest beyond what the same
process held before it opened the data.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from noisy_xmodal.data.regions import region_feature
from noisy_xmodal.files import write_json

N_CONCEPTS, REGION_SIZE, N_REGIONS, WRONG = 2000, 32, 8, 0.2
_STATUS = Path("/proc/self/status")


def write_rows(path: Path, n_rows: int, seed: int = 0) -> None:
    """Images of eight concepts with captions that name them, a fifth exchanged, as Parquet."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(N_CONCEPTS, REGION_SIZE)).astype(np.float32)
    features = datasets.Features(
        {
            "image_id": datasets.Value("string"),
            "regions": region_feature(REGION_SIZE),
            "captions": datasets.List(datasets.Value("string")),
            "is_noisy": datasets.List(datasets.Value("bool")),
        }
    )
    shown = rng.integers(N_CONCEPTS, size=(n_rows, N_REGIONS))
    told = np.arange(n_rows)
    wrong = rng.choice(n_rows, round(WRONG * n_rows), replace=False)
    told[wrong] = np.roll(wrong, 1)
    with pq.ParquetWriter(path, features.arrow_schema) as writer:
        for start in range(0, n_rows, 2000):
            rows = range(start, min(start + 2000, n_rows))
            regions = vectors[shown[rows.start : rows.stop]]
            regions = regions + 0.3 * rng.normal(size=regions.shape)
            block = {
                "image_id": [str(row) for row in rows],
                "regions": regions.astype(np.float32).tolist(),
                "captions": [[" ".join(f"c{c}" for c in shown[told[row]])] for row in rows],
                "is_noisy": [[bool(told[row] != row)] for row in rows],
            }
            writer.write_table(
                pa.Table.from_pydict(features.encode_batch(block), schema=features.arrow_schema)
            )


def held_mib() -> float:
    """What this process holds beside pages of files, MiB."""
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return float(lines["RssAnon"].split()[0]) / 1024


def measure(rows: int, epochs: int) -> dict[str, Any]:
    """Audit a set of this size in this process."""
    from noisy_xmodal.auditing.run import AuditOptions, audit

    with tempfile.TemporaryDirectory() as folder:
        datasets.config.HF_DATASETS_CACHE = Path(folder) / "cache"
        write_rows(Path(folder) / "rows.parquet", rows)
        before, peak, stop = held_mib(), [0.0], threading.Event()

        def watch() -> None:
            while not stop.wait(0.1):
                peak[0] = max(peak[0], held_mib())

        watcher = threading.Thread(target=watch)
        watcher.start()
        started = time.perf_counter()
        try:
            found = audit(
                AuditOptions(
                    str(Path(folder) / "rows.parquet"),
                    output=Path(folder) / "audit.parquet",
                    epochs=epochs,
                    text_model_name_or_path="none",
                    disable_tqdm=True,
                )
            )
        finally:
            stop.set()
            watcher.join()
        return {
            "rows": rows,
            "seconds": round(time.perf_counter() - started, 1),
            "peak_mib": round(peak[0]),
            "peak_beyond_start_mib": round(peak[0] - before),
            "true_share": WRONG,
            "estimated_share": found["wrong_share"],
            "auroc": round(found["oracle"]["auroc"], 4),
        }


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    """Measure every size, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[25_000, 100_000])
    parser.add_argument("--epochs", type=int, default=2, help="of each training")
    parser.add_argument("--output", default="audit_memory.json")
    parser.add_argument("--here", action="store_true", help="measure in this process")
    args = parser.parse_args(argv)
    if args.here:
        found = [measure(rows, args.epochs) for rows in args.rows]
        print(json.dumps(found))
        return found
    found = []
    for rows in args.rows:
        command = [sys.executable, __file__, "--here", "--rows", str(rows)]
        command += ["--epochs", str(args.epochs)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        found += json.loads(done.stdout.splitlines()[-1])
        print(found[-1], flush=True)
        write_json(args.output, found)
    return found


if __name__ == "__main__":
    main()
