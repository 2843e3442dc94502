"""Time and memory of audits by parts: a made-up WebDataset of region features, a caption an image.

    python tests/benchmarks/sharded_audit.py --pairs 100000 --shards 20 --output sharded_audit.json

Runs one process, two processes of a launcher, and one that is killed twice and started again; their
tables must be equal. Memory is the largest amount that one process held beside pages of files.
"""

import argparse
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from sklearn.metrics import roc_auc_score

from noisy_xmodal.files import write_json

N_CONCEPTS, REGION_SIZE, N_REGIONS, WRONG = 2000, 32, 8, 0.2
_TRUTH = "truth.npy"
_LAUNCHER = ("torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m")


def write_shards(folder: Path, n_pairs: int, n_shards: int, seed: int = 0) -> None:
    """Tars of images of eight concepts, with captions that name them, a fifth exchanged."""
    rng = np.random.default_rng(seed)
    concepts = rng.normal(size=(N_CONCEPTS, REGION_SIZE)).astype(np.float32)
    shown = rng.integers(N_CONCEPTS, size=(n_pairs, N_REGIONS))
    told = np.arange(n_pairs)
    wrong = rng.choice(n_pairs, round(WRONG * n_pairs), replace=False)
    told[wrong] = np.roll(wrong, 1)
    folder.mkdir(parents=True)
    for shard, pairs in enumerate(np.array_split(np.arange(n_pairs), n_shards)):
        noise = 0.3 * rng.normal(size=(len(pairs), N_REGIONS, REGION_SIZE))
        regions = (concepts[shown[pairs]] + noise).astype(np.float16)
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for pair, array in zip(pairs.tolist(), regions, strict=True):
                file = io.BytesIO()
                np.save(file, array, allow_pickle=False)
                _add(tar, f"{pair:09d}.npy", file.getvalue())
                text = " ".join(f"c{concept}" for concept in shown[told[pair]])
                _add(tar, f"{pair:09d}.txt", text.encode())
    np.save(folder / _TRUTH, told != np.arange(n_pairs), allow_pickle=False)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def run(command: list[str], work: Path, kill_at: list[tuple[str, int]]) -> dict[str, Any]:
    """Run a command, killed and started again whenever some files exist.

    Args:
        command: The command.
        work: Folder of the intermediate files.
        kill_at: Patterns of files there, and their numbers.

    Returns:
        Seconds, CPU seconds of all processes, the number of kills and the peak memory of a process.
    """
    started, cpu, peak, n_kills = time.perf_counter(), os.times(), 0.0, 0
    for pattern, n_files in [*kill_at, ("", sys.maxsize)]:
        process = subprocess.Popen(command, start_new_session=True)
        stop, seen = threading.Event(), [0.0]

        def watch(root: int, stop: threading.Event, seen: list[float]) -> None:
            while not stop.wait(0.2):
                seen[0] = max([seen[0], *map(_held_mib, _members(root))])

        watcher = threading.Thread(target=watch, args=(process.pid, stop, seen))
        watcher.start()
        while process.poll() is None:
            time.sleep(0.2)
            if pattern and len(list(work.glob(pattern))) >= n_files:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                n_kills += 1
        stop.set()
        watcher.join()
        peak = max(peak, seen[0])
        if process.returncode not in (0, -signal.SIGKILL):
            sys.exit(f"{command} ended with {process.returncode}")
    after = os.times()
    used = sum(after[2:4]) - sum(cpu[2:4])  # of children
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(used, 1),
        "kills": n_kills,
        "peak_mib_of_a_process": round(peak),
    }


def _members(root: int) -> list[Path]:
    """Status files of a process and its descendants, which a launcher puts into other groups."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return [Path("/proc") / str(process) / "status" for process in found]


def _held_mib(status: Path) -> float:
    try:
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    except OSError:
        return 0.0
    return float(lines.get("RssAnon", "0 kB").split()[0]) / 1024


def auroc(table: Path, truth: np.ndarray) -> float:
    """How well the table tells the wrong pairs, all of them together."""
    rows = pq.read_table(table, columns=["image_id", "loss"])
    pairs = np.array(rows["image_id"].to_pylist(), dtype=np.int64)
    return round(float(roc_auc_score(truth[pairs], rows["loss"].to_numpy())), 4)


def same_tables(one: Path, other: Path) -> bool:
    """Whether all parts of two tables are equal."""
    names = sorted(path.name for path in one.iterdir())
    return names == sorted(path.name for path in other.iterdir()) and all(
        pq.read_table(one / name).equals(pq.read_table(other / name)) for name in names
    )


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Write the shards once, and measure the runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--sample", type=int, default=50_000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--runs", nargs="+", default=["one", "two", "killed"])
    parser.add_argument("--folder", type=Path, default=Path("sharded_audit"))
    parser.add_argument("--output", default="sharded_audit.json")
    args = parser.parse_args(argv)
    data = args.folder / f"{args.pairs}-{args.shards}"
    if not (data / _TRUTH).is_file():
        write_shards(data, args.pairs, args.shards)
    found: dict[str, Any] = {"arguments": {k: str(v) for k, v in vars(args).items()}}
    for name in args.runs:
        out = args.folder / f"{args.pairs}-{name}"
        words = ["audit", str(data), "--sample", str(args.sample), "--text-model", "none"]
        words += ["--epochs", str(args.epochs), "--rounds", str(args.rounds)]
        words += ["--output", str(out / "audit.parquet")]
        launcher = _LAUNCHER if name == "two" else ()
        command = [sys.executable, "-m", *launcher, "noisy_xmodal", *words]
        kills = [("*/shards/0*", args.shards // 2), ("*/*/parts/p*", args.shards // 2)]
        found[name] = run(command, out / "audit.work", kills if name == "killed" else [])
        table = out / "audit"
        found[name] |= {"auroc": auroc(table, np.load(data / _TRUTH))}
        first = args.folder / f"{args.pairs}-{args.runs[0]}" / "audit"
        found[name] |= {f"equal_to_{args.runs[0]}": same_tables(first, table)}
        print(name, found[name], flush=True)
        write_json(args.output, found)
    return found


if __name__ == "__main__":
    main()
