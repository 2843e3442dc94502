"""How the cost of scoring and training grows, and what that means for large collections.

    python tests/benchmarks/growth.py --output growth.json

Each quantity is doubled twice with the others fixed, and the exponent of the time is the slope of
a line through the logarithms: 1 means that twice as much takes twice as long. Peak memory is that
of scoring beyond the scores themselves, each size in a fresh process. The measured times of a step
and of a batch's scores then say what a collection would take on `--n_devices` like this one: the
pairs of an epoch are dealt to the devices and a batch of each meets its own, so time falls with
their number, but for the exchange of gradients, which is not counted.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timing
import torch
from scoring import EncodedWorld, SgrScores, caption_lengths
from work import Setting, Task

from noisy_xmodal.evaluation import scoring
from noisy_xmodal.files import write_json
from noisy_xmodal.modules import Encoded
from noisy_xmodal.modules.similarity import build_similarity
from noisy_xmodal.noise import BetaMixture
from training import NcrStep

MEMORY_IMAGES = (100, 200, 400)
BASE = {"images": 64, "captions": 64, "regions": 9, "peers": 1}
DOUBLINGS = (1, 2, 4)
COLLECTIONS = {"MS-COCO": (113_287, 566_435), "ten million web pairs": (10_000_000, 10_000_000)}
EPOCHS, BATCH = 40, 128


def scoring_seconds(
    setting: Setting, images: int, captions: int, regions: int, peers: int
) -> float:
    """Time of SGR's scores of all pairs, by as many heads as there are peers."""
    torch.manual_seed(0)
    world = SgrScores(setting).world(caption_lengths(captions).tolist(), images)
    heads = [_head(regions, world.images.shape[2]) for _ in range(peers)]
    tokens = world.images[:, :regions]
    image = Encoded(tokens, tokens.new_ones(tokens.shape[:2], dtype=torch.bool))
    text = world.encode_text(torch.arange(captions))

    @torch.inference_mode()
    def run() -> None:
        for head in heads:
            head(image, text)

    return timing.measure(_task(run), setting)["seconds"]


def _head(regions: int, hidden_size: int, **options: int) -> torch.nn.Module:
    head = build_similarity("sgr", hidden_size=hidden_size, num_regions=regions, **options)
    return head.eval()


def exponents(setting: Setting) -> dict[str, dict[str, Any]]:
    """Times and slope for each quantity that is doubled."""
    found = {}
    for name, least in BASE.items():
        sizes = [least * factor for factor in DOUBLINGS]
        times = [scoring_seconds(setting, **BASE | {name: size}) for size in sizes]
        found[name] = {"sizes": sizes, "seconds": times, "exponent": slope(sizes, times)}
        print(f"{name}: {found[name]}", file=sys.stderr, flush=True)
    losses = np.random.default_rng(0).beta(2, 5, 10_000_000)
    sizes = [2_500_000, 5_000_000, 10_000_000]
    times = [
        timing.measure(_task(lambda n=n: BetaMixture().fit(losses[:n])), setting)["seconds"]
        for n in sizes
    ]
    found["losses of a mixture"] = {
        "sizes": sizes,
        "seconds": times,
        "exponent": slope(sizes, times),
    }
    return found


def slope(sizes: list[int], seconds: list[float]) -> float:
    """Exponent of the growth: the slope through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def memory(setting: Setting, images: int) -> dict[str, float]:
    """Peak memory of scoring so many images with five captions each, two regions each, in MiB.

    Two regions and narrow tokens keep the time down; `TEXT_BYTES` is lowered by as much, so that
    the encodings of the captions still outgrow it.
    """
    work = SgrScores(Setting(setting.folder, share=0.01))  # narrow
    lengths = caption_lengths(5 * images).tolist()
    world = work.world([max(lengths)], images)
    world.head = _head(2, work.width, similarity_size=16)
    world.images = world.images[:, :2].clone()

    class Growing(EncodedWorld):
        """Encodings are made when they are asked for, as those of a real model."""

        def encode_text(self, at: torch.Tensor) -> Encoded:
            longest = int(self.lengths[at].max())
            tokens = torch.rand(len(at), longest, self.images.shape[2])
            return Encoded(tokens, torch.arange(longest) < self.lengths[at].unsqueeze(1))

    scoring.TEXT_BYTES = 2**20
    growing = Growing(world.head, world.images, world.texts, lengths)
    found = timing.measure(_task(growing.scores, cold=True), setting)
    result = images * 5 * images * 4 / 2**20
    return {"images": images, "rise_mib": found["rise_mib"], "scores_mib": result}


def _task(run: Callable[[], object], cold: bool = False) -> Task:
    return Task(run, cold=cold, repetitions=3)


def collections(setting: Setting, n_devices: int) -> list[dict[str, Any]]:
    """What NCR with SGR would take on collections, by this device's measured rates."""
    step = timing.measure(NcrStep(setting).ours(), setting)["seconds"]
    forward = scoring_seconds(setting, BATCH, BATCH, 36, 1)
    rows = []
    for name, (images, pairs) in COLLECTIONS.items():
        steps = math.ceil(pairs / BATCH / n_devices)
        parts = {
            "training steps": 2 * steps * step,
            "loss pass": 2 * steps * forward,
            "mixtures": 2 * pairs / 10_000_000 * _mixture_seconds(setting),
            "validation, 5,000 x 25,000 pairs": 2 * 125e6 / BATCH**2 * forward / n_devices,
        }
        epoch = sum(parts.values())
        rows.append(
            {
                "collection": name,
                "images": images,
                "pairs": pairs,
                "devices": n_devices,
                "hours an epoch": epoch / 3600,
                "days for 40 epochs": EPOCHS * epoch / 86400,
                "share": {part: value / epoch for part, value in parts.items()},
                "scoring all pairs once, years": images
                * pairs
                / BATCH**2
                * forward
                / n_devices
                / 86400
                / 365,
            }
        )
    return rows


def _mixture_seconds(setting: Setting) -> float:
    losses = np.random.default_rng(0).beta(2, 5, 10_000_000)
    return timing.measure(_task(lambda: BetaMixture().fit(losses)), setting)["seconds"]


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure, print and write; or one memory figure, in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2, help="Threads of the CPU, 2.")
    parser.add_argument("--repetitions", type=int, default=3, help="Timings of each size, 3.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--n_devices", type=int, default=8, help="Devices of the estimate, 8.")
    parser.add_argument("--output", default="growth.json", help="JSON file of the figures.")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(Path(folder), args.device, 1.0, args.threads, args.repetitions)
        if args.memory:
            found: dict[str, Any] = memory(setting, args.memory)
            print(json.dumps(found))
            return found
        found = {"machine": timing.machine(args.threads), "growth": exponents(setting)}
        found["memory"] = [_in_child(args, n) for n in MEMORY_IMAGES]
        found["collections"] = collections(setting, args.n_devices)
    write_json(args.output, found)
    for name, row in found["growth"].items():
        print(f"{name}: time grows with the power {row['exponent']:.2f}")
    for row in [*found["memory"], *found["collections"]]:
        print(
            "  ".join(
                f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()
            )
        )
    return found


def _in_child(args: argparse.Namespace, images: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--memory", str(images), "--threads", str(args.threads)]
    environment = os.environ | timing.environment(args.threads)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
