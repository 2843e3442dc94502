"""Kills training scripts at any moment, resumes them, and compares with runs that nobody killed.

    python tests/kill_harness.py --method ncr --kills 20 --output_dir /tmp/kills
    python tests/kill_harness.py --method ncr --processes 2 --fsdp --output_dir /tmp/kills

A course is one run that is killed several times before it may finish. Every leg of it is a fork of
this process, which has imported everything, and kills itself by SIGKILL as a chosen event happens
for the n-th time; some legs are killed from outside, after a delay or as a checkpoint appears. Of
several processes one kills itself, and the others are killed once it is dead.
"""

import argparse
import gc
import json
import os
import random
import shutil
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import datasets
import torch
from safetensors.torch import load_file
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

from example_scripts import script
from noisy_xmodal import RobustTrainer, inject_noise
from noisy_xmodal.methods import CAPTION_METHODS, LABEL_METHODS, Dmcm, Ncr, Rcar
from noisy_xmodal.noise import CompleteMismatch
from noisy_xmodal.training import checkpoint
from noisy_xmodal.training.integrity import checkpoint_folders, find_damage
from toy_labels import toy_labels
from toy_pairs import toy_pairs

#: Methods that run by default; all others of the library can be named too.
METHODS = {"ncr": Ncr, "rcar": Rcar, "dmcm": Dmcm}
ALL_METHODS = {**LABEL_METHODS, **CAPTION_METHODS}

OPTIONS = {
    "ncr": "--num_train_epochs 4 --warmup_epochs 2 --per_device_train_batch_size 32 "
    "--hidden_size 8 --word_size 8 --learning_rate 1e-2",
    "rcar": "--num_train_epochs 4 --mlm_epochs 3 --warmup_epochs 2 --hidden_size 16 "
    "--intermediate_size 16 --negatives_per_positive 1 --num_hidden_layers 1",
    "dmcm": "--num_train_epochs 4 --per_device_train_batch_size 40 --hidden_size 8 "
    "--embedding_size 6",
}
COMMON = "--disable_tqdm True --use_cpu True --plot_divisions False --seed 3"
STEPS = "--save_strategy steps --eval_strategy steps --logging_strategy steps"
#: How a run saves; every second step falls on the end of an epoch of three steps now and then.
VARIANTS = {
    "epoch": "",
    "steps": f"{STEPS} --save_steps 2 --eval_steps 2 --logging_steps 1",
    "batch": f"{STEPS} --save_steps 1 --eval_steps 1 --mixture_scope batch",
}

#: An event and how often it has happened by then, or a place outside and seconds.
Place = tuple[str, float]
OUTSIDE = ("delay", "a checkpoint appears")

#: Calls in whose place a leg can be killed, by the name of the event: of the method, the trainer
#: and the checkpoint.
ANSWERS = {"the loss pass": "loss_pass", "the mixture": "divide", "refurbishing": "targets"}
CALLS = {
    "a step": "training_step",
    "a report of divisions": "report_division",
    "an evaluation": "evaluate",
    "the pair state of a checkpoint": "save_state",
    "resuming": "_load_from_checkpoint",
}
WRITERS = {
    "the optimizer of a checkpoint": "save_optimizer",
    "the scheduler of a checkpoint": "save_scheduler",
    "the manifest of a checkpoint": "write_manifest",
    "before the rename of a checkpoint": "put_in_place",
    "between rename and rotation": "rotate",
}


def script_of(method: str) -> str:
    """The key of `OPTIONS` whose script trains a method."""
    if method in METHODS:
        return method
    return "dmcm" if method in LABEL_METHODS else "ncr"


def write_data(method: str, folder: Path) -> None:
    """A small dataset with noise."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, n, seed in (("train", 40, 0), ("validation", 12, 1), ("test", 12, 2)):
        if script_of(method) == "dmcm":
            rows = toy_labels(3 * n, seed=seed)
            rows = inject_noise(rows, "sym_40") if name == "train" else rows
        else:
            noise = CompleteMismatch(0.4, "caption") if name == "train" else None
            rows = toy_pairs(n, noise, seed=seed)
        rows.to_parquet(folder / f"{name}.parquet")


def in_fork(function: Callable[[], None]) -> None:
    """Run what starts threads, which no later fork would survive."""
    process = os.fork()
    if not process:
        function()
        os._exit(0)
    os.waitpid(process, 0)


class Watch:
    """Writes down what happens in a leg, and ends it at a chosen event.

    Args:
        log: File for the events.
        out: Output folder, whose files count.
        kill: Event and how often it has happened by then, or None.
    """

    def __init__(self, log: Path, out: Path, kill: Place | None) -> None:
        self.log = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        self.out, self.kill = f"{out}{os.sep}", kill
        self.counts: Counter[str] = Counter()

    def happens(self, event: str, detail: str = "") -> None:
        """Count an event, and die of it if it is the one."""
        self.counts[event] += 1
        os.write(self.log, f"{event}\t{self.counts[event]}\t{detail}\n".encode())
        if self.kill == (event, self.counts[event]):
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, owner: Any, name: str, event: str) -> None:
        """Count the calls of a function."""
        function: Callable[..., Any] = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            detail = Path(args[1]).name if name == "_load_from_checkpoint" else ""
            self.happens(event, detail)
            return function(*args, **kwargs)

        setattr(owner, name, counted)

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        """An audit hook: files that are opened for writing, renamed or removed."""
        if event == "os.remove" and len(args) > 1 and args[1] != -1:
            self.happens("within the removal of a folder")
        elif event == "os.rename" and str(args[0]).startswith(self.out):
            self.happens(self._renaming(str(args[0]), str(args[1])), Path(str(args[1])).name)
        elif event == "open" and isinstance(args[1], str) and "w" in args[1]:
            path = str(args[0])
            if path.startswith(self.out):
                inside = "/.checkpoint-" in path
                name = "a JSON of a checkpoint" if inside else "a file beside the checkpoints"
                self.happens(name, Path(path).name)

    def _renaming(self, source: str, target: str) -> str:
        if Path(target).name.endswith(".old.partial"):
            return "rotation"
        if "/.checkpoint-" in source:
            moved = Path(target).name.startswith("checkpoint-")
            return "the rename of a checkpoint" if moved else "the files of a checkpoint's model"
        return "the final save" if "/.partial/" in source else "the rename of a file"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


def leg(
    method: str, argv: list[str], out: Path, log: Path, kill: Place | None, env: dict[str, str]
) -> int:
    """Start a process of a leg in a fork; its process id."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    os.environ |= env
    try:
        printed = os.open(log.with_suffix(".txt"), os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        watch = Watch(log, out, kill)
        for event, name in ANSWERS.items():
            watch.wrap(ALL_METHODS[method], name, event)
        for event, name in CALLS.items():
            watch.wrap(RobustTrainer, name, event)
        for event, name in WRITERS.items():
            watch.wrap(checkpoint, name, event)
        sys.addaudithook(watch.hear)
        module = script(f"train_{script_of(method)}")
        vars(module)["draw_pairs"] = lambda *_: None  # pictures take half of the time
        module.main([*argv, "--output_dir", str(out)])
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        raise
    finally:
        sys.stdout.flush()
        os._exit(code)


def end_of(
    processes: list[int], out: Path, outside: tuple[str, float] | None = None
) -> tuple[int, int]:
    """Wait for a leg, or kill it from outside; the process that ended first and its wait status.

    If a process was killed, so are the others; their status does not count.
    """
    if outside is not None:
        deadline = time.monotonic() + (outside[1] if outside[0] == "delay" else 60)
        left = set(out.glob(".checkpoint-*.partial"))
        while time.monotonic() < deadline:
            found, status = os.waitpid(-1, os.WNOHANG)
            if found:
                return found, _end_all(processes, found, status)
            partial = set(out.glob(".checkpoint-*.partial"))
            if outside[0] == "a checkpoint appears" and partial - left:
                time.sleep(outside[1])
                break
            left &= partial
            time.sleep(0.0005)
        for process in processes:
            os.kill(process, signal.SIGKILL)
    found, status = os.waitpid(-1, 0)
    return found, _end_all(processes, found, status)


def _end_all(processes: list[int], ended: int, status: int) -> int:
    """End the other processes of a leg where the first one was killed or failed; the status."""
    for process in processes:
        if process != ended:
            if status:
                os.kill(process, signal.SIGKILL)
            other = os.waitpid(process, 0)[1]
            status = status or other
    return status


def events_of(log: Path) -> list[list[str]]:
    """What a leg wrote down."""
    lines = log.read_text().splitlines() if log.is_file() else []
    return [line.split("\t") for line in lines]


def harm(out: Path) -> list[str]:
    """What a kill must never leave."""
    damaged = {path.name: find_damage(path) for path in checkpoint_folders(out)}
    found = [f"{name}: {reason}" for name, reason in damaged.items() if reason is not None]
    pickles = [path for path in out.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl")]
    return found + [f"{path.name} is a pickle" for path in pickles]


def state_of(out: Path) -> dict[str, Any]:
    """Everything of a finished run that must be as if it had not been killed."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = path.relative_to(out).as_posix()
        found[name] = None
        if path.suffix == ".safetensors":
            found |= {f"{name}: {key}": tensor for key, tensor in load_file(path).items()}
        elif path.name == "trainer_state.json":
            state = json.loads(path.read_text())
            found[name] = [state[key] for key in ("global_step", "epoch", "best_metric")]
            found[name].append(Path(state["best_model_checkpoint"]).name)
        elif path.name == "results.json":
            facts = json.loads(path.read_text())
            own = ("train_seconds", "resumed_at", "machine", "cost", "command")
            found[name] = {key: value for key, value in facts.items() if key not in own}
        elif path.suffix == ".json" and path.name not in ("training_args.json", "manifest.json"):
            found[name] = json.loads(path.read_text())
    return found


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Names of what differs between two finished runs."""

    def equal(a: Any, b: Any) -> bool:
        if isinstance(a, torch.Tensor):
            return torch.equal(a, b)
        return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)  # NaN is NaN

    both = set(expected) & set(found)
    different = {name for name in both if not equal(expected[name], found[name])}
    return sorted((set(expected) ^ set(found)) | different)


class Course:
    """Runs of one method and one way to save, killed and compared with one that was not.

    Args:
        method: The method.
        variant: A key of `VARIANTS`.
        root: Folder for everything.
        seed: Seed of the places to kill at.
        n_processes: Number of processes.
        fsdp: Whether they share the weights.
    """

    def __init__(
        self,
        method: str,
        variant: str,
        root: Path,
        seed: int = 0,
        n_processes: int = 1,
        fsdp: bool = False,
    ) -> None:
        self.method, self.variant, self.root = method, variant, root / f"{method}-{variant}"
        self.random = random.Random(f"{seed} {method} {variant}")
        self.root.mkdir(parents=True)
        self.n_processes = n_processes
        data = root / f"data-{method}"
        if not data.is_dir():
            in_fork(lambda: write_data(method, data))
        words = f"{OPTIONS[script_of(method)]} {COMMON} {VARIANTS[variant]}".split()
        words += [] if method in METHODS else ["--method", method]
        words += ["--ddp_backend", "gloo"] if n_processes > 1 else []
        words += ["--fsdp", "True"] if fsdp else []
        self.argv = ["--dataset_name", str(data), *words]
        self.n_courses = 0
        started = time.monotonic()
        self._leg(self.root / "whole", None)
        self.seconds = time.monotonic() - started
        self.expected = state_of(self.root / "whole")
        self.counts = Counter(event for event, _, _ in events_of(self.root / "leg-0.log"))
        last = self.root / f"leg-{n_processes - 1}.log"
        self.in_last = {event for event, _, _ in events_of(last)}
        self.places = [*self.counts, "resuming", "delay", "a checkpoint appears"]
        self.random.shuffle(self.places)

    def draw(self, is_first: bool) -> Place:
        """The next place to kill at; a resumed leg is shorter than the first."""
        place = self.places.pop(0)
        self.places.append(place)
        if place == "delay":
            return place, self.random.uniform(0.1, self.seconds)
        if place == "a checkpoint appears":
            return place, self.random.uniform(0, 0.01)
        return place, self.random.randint(1, max(1, self.counts[place] // (1 if is_first else 2)))

    def run(self, places: Sequence[Place | None]) -> list[dict[str, Any]]:
        """Kill a run at places, where None draws one, and let it finish; a row for each kill."""
        out = self.root / f"killed-{self.n_courses}"
        self.n_courses += 1
        rows: list[dict[str, Any]] = []
        for place in places:
            row = self._leg(out, self.draw(not rows) if place is None else place)
            if rows:
                rows[-1]["resumed_from"] = row["resumed"]
            if not row["killed"]:
                break  # it was over before it came to the place
            rows.append(row)
        else:
            rows[-1]["resumed_from"] = self._leg(out, None)["resumed"]
        different = differences(self.expected, state_of(out))
        for row in rows:
            row |= {"differences": different, "equal": not different and not row["harm"]}
        if not different:
            shutil.rmtree(out)
        return rows

    def _leg(self, out: Path, place: Place | None) -> dict[str, Any]:
        outside = place if place is not None and place[0] in OUTSIDE else None
        resume = ["--resume_from_checkpoint", "True"] if checkpoint_folders(out) else []
        logs = [self.root / f"leg-{rank}.log" for rank in range(self.n_processes)]
        victim = 0
        if self.n_processes > 1 and place is not None and place[0] in self.in_last:
            victim = self.random.randrange(self.n_processes)
        port = free_port()
        processes = [
            leg(
                *(self.method, [*self.argv, *resume], out, log),
                place if rank == victim and not outside else None,
                self._environment(rank, port),
            )
            for rank, log in enumerate(logs)
        ]
        ended, status = end_of(processes, out, outside)
        if status and not os.WIFSIGNALED(status):
            printed = logs[processes.index(ended)].with_suffix(".txt").read_text()
            raise RuntimeError(f"{self.method}, {self.variant}: a leg failed:\n{printed}")
        events = events_of(logs[victim])
        resumed = [detail for event, _, detail in events if event == "resuming"]
        return {
            "method": self.method,
            "variant": self.variant,
            "place": place[0] if place else "",
            "last_event": " ".join(events[-1]).strip() if events else "starting",
            "killed": bool(status),
            "resumed": resumed[0] if resumed else "the beginning",
            "harm": harm(out),
        }

    def _environment(self, rank: int, port: int) -> dict[str, str]:
        """What a launcher tells a process."""
        if self.n_processes == 1:
            return {}
        own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": self.n_processes}
        own |= {"LOCAL_WORLD_SIZE": self.n_processes, "MASTER_PORT": port}
        return {name: str(value) for name, value in own.items()} | {"MASTER_ADDR": "127.0.0.1"}


def show(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Print a line for each kill."""
    for row in rows:
        end = "equal" if row["equal"] else f"{row['harm']} {row['differences'][:5]}"
        print(
            f"{row['method']:5} {row['variant']:6} {row['place']:34} {row['last_event']:52} "
            f"{row['resumed_from']:14} {end}",
            flush=True,
        )
    return rows


def run_drawn(
    method: str, n_kills: int, root: Path, seed: int, n_processes: int, fsdp: bool
) -> list[dict[str, Any]]:
    """Kill runs of a method so many times, all its ways to save in turn."""
    variants = [name for name in VARIANTS if method == "dmcm" or name != "batch"]
    courses = [Course(method, name, root, seed, n_processes, fsdp) for name in variants]
    rows: list[dict[str, Any]] = []
    while len(rows) < n_kills:
        rows += show(courses[0].run([None] * min(4, n_kills - len(rows))))
        courses = courses[1:] + courses[:1]
    return rows


def run_planned(plan: list[Any], root: Path) -> list[dict[str, Any]]:
    """Kill one run of each method and variant at given places; further items are as in `Course`."""
    return [
        row
        for method, variant, places, *further in plan
        for row in show(
            Course(method, variant, root, 0, *further).run([tuple(place) for place in places])
        )
    ]


def main(argv: list[str] | None = None) -> int:
    """Run, print a table, write kills.json; 0 if every run ended as the uninterrupted one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=[*ALL_METHODS, "all"], default="all")
    parser.add_argument("--processes", type=int, default=1, help="Processes of a run.")
    parser.add_argument("--fsdp", action="store_true", help="They share the weights.")
    parser.add_argument("--kills", type=int, default=20, help="Kills for each method, at least.")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="Seed of the places to kill at.")
    parser.add_argument("--plan", help='Given places: [["ncr", "epoch", [["a step", 5]]]].')
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    get_checkpoint_conversion_mapping("bert")  # once for all forks
    gc.freeze()
    datasets.disable_progress_bars()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    root = args.output_dir.resolve()
    methods = list(METHODS) if args.method == "all" else [args.method]
    if args.plan:
        rows = run_planned(json.loads(args.plan), root)
    else:
        how = (root, args.seed, args.processes, args.fsdp)
        rows = [row for name in methods for row in run_drawn(name, args.kills, *how)]
    (root / "kills.json").write_text(json.dumps(rows, indent=2) + "\n")
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        print(f"{method}: {len(own)} kills, {sum(row['equal'] for row in own)} ended equal")
    return 0 if all(row["equal"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
