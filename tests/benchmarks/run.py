"""Measures this library beside published code and beside the least that the work needs.

    python tests/benchmarks/run.py --output benchmarks.json
    python tests/benchmarks/run.py --published CLONES --works retrieval feature_file
    python tests/benchmarks/run.py --share 0.01   # small sizes, to try it: ratios mean little

`--published` is a folder with clones of public repositories, each under a name that ends with the
repository's own (`SGRAF`, `Paranioar+SGRAF`). Without it that column is empty. Only the functions
that a work asks for are taken out of their files and run.

Every side of a work runs in a fresh process. The first side is the check: where the results of
this library and of the published code differ by more than the work's tolerance, the work is
reported as wrong and not timed. Times begin when everything is imported and the inputs are ready,
and are medians after one call to warm up; those marked * are of a part of the work and multiplied.
Memory is the peak of the whole process, and its rise above what it held when the inputs were ready.
Files go to the system's temporary folder (TMPDIR), of which `feature_file` needs 33 GB.

The ratio published : ours says how many times as fast this library is, ours : floor how far it is
from the least. The exit status is 1 where a work is wrong or a side failed.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import timing
from published import find_repository
from work import Setting, Work

#: Module and class of each work; a module is imported when its work is asked for.
WORKS = {
    "sgr_scores": ("scoring", "SgrScores"),
    "saf_scores": ("scoring", "SafScores"),
    "scan_t2i_scores": ("scoring", "ScanTextToImageScores"),
    "scan_i2t_scores": ("scoring", "ScanImageToTextScores"),
    "ncr_step": ("training", "NcrStep"),
    "ncr_overhead": ("training", "NcrOverhead"),
    "mrl_epoch": ("label_epoch", "MrlEpoch"),
    "dmcm_epoch": ("label_epoch", "DmcmEpoch"),
    "beta_mixture": ("mixtures", "BetaMixtureFit"),
    "beta_mixture_large": ("mixtures", "LargeBetaMixtureFit"),
    "retrieval": ("retrieval", "RetrievalMetrics"),
    "average_precision": ("average_precision", "ClassRetrievalMetrics"),
    "feature_file": ("feature_file", "FirstBatch"),
}

SIDES = ("ours", "published", "peer", "floor")

Record = dict[str, Any]
Start = Callable[[str, str, Setting, str | None], Record]  # work, side, setting, clones


def main(argv: Sequence[str] | None = None, start: Start | None = None) -> list[Record]:
    """Measure, print and write; or, in a process of its own, one side of one work."""
    args = parse(argv)
    given = {name: getattr(args, name) for name in ("device", "share", "threads", "repetitions")}
    if args.side:
        setting = Setting(Path(args.folder), **given)
        timing.hold_to(args.threads)
        found = one_side(args.works[0], args.side, setting, args.published)
        Path(args.output).write_text(json.dumps(found))
        return []
    # Here, as a side must not hold what only the report needs.
    from noisy_xmodal.files import write_json

    for name in args.works if args.published else ():
        repository = work_class(name).repository
        if repository:
            find_repository(args.published, repository)
    records = []
    for name in args.works:
        with tempfile.TemporaryDirectory() as folder:
            setting = Setting(Path(folder), **given)
            records.append(compare(name, setting, args.published, start or in_child))
        print(f"{name}: {records[-1]['status']}", file=sys.stderr, flush=True)
    machine = timing.machine(args.threads)
    write_json(args.output, {"machine": machine, **given, "works": records})
    print(", ".join(f"{name} {value}" for name, value in machine.items()), end="\n\n")
    print(*table(records), sep="\n")
    return records


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--published", metavar="DIR", help="Folder with clones of published code.")
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS), metavar="NAME")
    parser.add_argument("--threads", type=int, default=2, help="Threads of the CPU, 2.")
    parser.add_argument("--repetitions", type=int, default=5, help="Timings a side, 5.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--share", type=float, default=1.0, help="Part of the full sizes, 1.0.")
    parser.add_argument("--output", default="benchmarks.json", help="JSON file of the figures.")
    parser.add_argument("--side", choices=("check", *SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if not 0 < args.share <= 1:
        parser.error(f"--share is {args.share}: give a number above 0, at most 1")
    if args.threads < 1 or args.repetitions < 1:
        parser.error("--threads and --repetitions are at least 1")
    return args


def work_class(name: str) -> type[Work]:
    """The class of a work."""
    module, kind = WORKS[name]
    return getattr(importlib.import_module(module), kind)


def one_side(name: str, side: str, setting: Setting, clones: str | None) -> Record:
    """Check a work or measure one of its sides, in this process."""
    work = work_class(name)(setting)
    repository = find_repository(clones, work.repository) if clones and work.repository else None
    if side == "check":
        found = {"difference": work.check(repository), "sizes": work.sizes}
    elif side == "published":
        task = work.published(repository) if repository else None
        found = timing.measure(task, setting) if task else {}
    else:
        task = getattr(work, side)()
        found = timing.measure(task, setting) if task else {}
    return found | ({"facts": work.notes} if work.notes else {})


def in_child(name: str, side: str, setting: Setting, clones: str | None) -> Record:
    """Check a work or measure one of its sides, in a fresh process."""
    variables = timing.environment(setting.threads)
    # What datasets caches belongs to the measurement, not to the user.
    variables["HF_DATASETS_CACHE"] = str(setting.folder / "datasets")
    output = setting.folder / f"{side}.json"
    options = {"--works": name, "--side": side, "--folder": setting.folder, "--output": output}
    options |= {"--published": clones} if clones else {}
    for option in ("device", "share", "threads", "repetitions"):
        options[f"--{option}"] = getattr(setting, option)
    command = [sys.executable, __file__, *(str(part) for pair in options.items() for part in pair)]
    done = subprocess.run(
        command, env=os.environ | variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit status {done.returncode}"
        killed = " (killed, perhaps for memory)" if done.returncode < 0 else ""
        return {"error": reason + killed}
    return json.loads(output.read_text())


def compare(name: str, setting: Setting, clones: str | None, start: Start) -> Record:
    """Check one work, then measure its sides.

    Returns:
        What the work is; `check`; `status`: "measured", "wrong", "failed" or "not on cuda"; and,
        where the results agree, a record for each side and the ratios.
    """
    work = work_class(name)
    record: Record = {
        "name": name,
        "title": work.title,
        "repository": work.repository or None,
        "tolerance": work.tolerance,
        "peer_name": work.peer_name or None,
    }
    if setting.device not in work.devices:
        return record | {"status": f"not on {setting.device}"}
    check = start(name, "check", setting, clones)
    record["check"] = check
    if "error" in check:
        return record | {"status": "failed"}
    record["sizes"] = check.pop("sizes")
    difference = check["difference"]
    if difference is not None and not difference <= work.tolerance:  # NaN is wrong, too
        return record | {"status": "wrong"}
    sides = {side: measured(name, side, setting, clones, start) for side in SIDES}
    failed = any("error" in found for found in sides.values())
    status = "failed" if failed else "measured"
    return record | sides | judged(work, setting, sides) | {"status": status}


def measured(name: str, side: str, setting: Setting, clones: str | None, start: Start) -> Record:
    """One side, in as many processes as it has timings where the first call counts."""
    found = start(name, side, setting, clones)
    if not found.get("cold"):
        return found
    for _ in range(setting.repetitions - 1):
        again = start(name, side, setting, clones)
        if "error" in again:
            return again
        found["times"] += again["times"]
        for memory in ("peak_mib", "rise_mib"):
            found[memory] = max(found[memory], again[memory])
    return found | {"seconds": median(found["times"]) * found["scale"]}


def judged(work: type[Work], setting: Setting, sides: dict[str, Record]) -> Record:
    """Ratios of the sides, and whether targets and limits are kept, where they are known."""
    seconds = {side: found.get("seconds") for side, found in sides.items()}
    ours, ratios, kept = seconds["ours"], {}, {}
    for side in ("published", "peer"):
        if ours and seconds[side]:
            ratios[f"{side}_to_ours"] = seconds[side] / ours
    if ours and seconds["floor"]:
        ratios["ours_to_floor"] = ours / seconds["floor"]
    target = work.targets.get(setting.device)
    if target is not None and "published_to_ours" in ratios:
        kept[f"published : ours at least {target:g}"] = ratios["published_to_ours"] >= target
    if ours and work.most_seconds is not None:
        kept[f"at most {work.most_seconds:g} s"] = ours <= work.most_seconds
    if ours and work.most_mib is not None:
        kept[f"at most {work.most_mib:g} MiB"] = sides["ours"]["peak_mib"] <= work.most_mib
    return {"ratios": ratios, "target": target, "kept": kept}


def table(records: Sequence[Record]) -> Iterator[str]:
    """Lines of a Markdown table, and of the notes under it."""
    yield "| work | ours | published | peer | floor | published : ours | ours : floor | peak MiB |"
    yield "|---|---|---|---|---|---|---|---|"
    notes = []
    for record in records:
        cells = [_seconds(record.get(side, {})) for side in SIDES]
        if record["status"] not in ("measured", "failed"):
            cells[0] = record["status"]
        ratios = record.get("ratios", {})
        cells += [_times(ratios.get(name)) for name in ("published_to_ours", "ours_to_floor")]
        cells[4] += f" (target {record['target']:g})" if record.get("target") else ""
        cells.append(_memory(record.get("ours", {})))
        yield f"| {record['name']} | {' | '.join(cells)} |"
        notes += list(_notes(record))
    yield ""
    yield from notes


def _notes(record: Record) -> Iterator[str]:
    check = record.get("check", {})
    sizes = ", ".join(f"{name} {value:,}" for name, value in record.get("sizes", {}).items())
    yield f"- {record['name']}: {record['title']}; {sizes or record['status']}"
    if "difference" in check:
        found = check["difference"]
        what = "nothing to compare with" if found is None else f"largest difference {found:.3g}"
        yield f"  - {what}, tolerance {record['tolerance']:g}"
    for side in ("check", *SIDES):
        found = record.get(side, {})
        told = [found["error"]] if "error" in found else []
        told += [found["note"]] if found.get("note") else []
        told += [f"{name} {value}" for name, value in found.get("facts", {}).items()]
        named = record["peer_name"] if side == "peer" else side
        if told:
            yield f"  - {named}: {'; '.join(told)}"
    for name, is_kept in record.get("kept", {}).items():
        yield f"  - {name}: {'kept' if is_kept else 'MISSED'}"


def _seconds(found: Record) -> str:
    if "error" in found:
        return "failed"
    if "seconds" not in found:
        return ""
    value, mark = found["seconds"], "*" if found["scale"] != 1 else ""
    return (f"{1000 * value:.3g} ms" if value < 1 else f"{value:,.4g} s") + mark


def _memory(found: Record) -> str:
    places = {"": "", "gpu_": "GPU "} if "gpu_peak_mib" in found else {"": ""}
    return "; ".join(
        f"{title}{found[f'{place}peak_mib']:.0f}, rise {found[f'{place}rise_mib']:.0f}"
        for place, title in places.items()
        if "peak_mib" in found
    )


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.3g}"


if __name__ == "__main__":
    try:
        outcome = main()
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    sys.exit(any(record["status"] in ("wrong", "failed") for record in outcome))
