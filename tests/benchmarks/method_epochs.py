"""CPU time of an epoch of every method for noisy captions, as a ratio to plain training.

    python tests/benchmarks/method_epochs.py --output_dir epochs

The network and the options are those of the table `pairs` of `examples/paper.py`. Data are random,
with the shape of Flickr8k's region features: 16 regions of 320 numbers, 5 captions of 11 words an
image; 40 % of the captions are exchanged. An epoch begins with its loss pass and division, which
count, and has no evaluation. The time is that of epochs after the warm-up, for as many networks.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers import TrainerCallback
from transformers.utils import logging

sys.path.insert(0, str(Path(__file__).parents[1]))

from example_scripts import script
from noisy_xmodal import MatchingConfig, RobustTrainer
from noisy_xmodal.data import inject_noise
from noisy_xmodal.data.regions import region_feature
from noisy_xmodal.methods.building import methods_for
from noisy_xmodal.methods.from_options import build_matching_model, build_pair_processor
from noisy_xmodal.methods.pair_options import settle_matching_options
from noisy_xmodal.papers.pairs import ROWS
from noisy_xmodal.training.script import read_options

REGIONS, REGION_SIZE, N_CAPTIONS, N_WORDS = 16, 320, 5, 11
EPOCHS, WARM_UP = 6, 2


def random_pairs(n_images: int) -> datasets.Dataset:
    """Random regions and captions, 40 % of these of another image."""
    rng = np.random.default_rng(0)
    words = [f"w{number}" for number in range(3000)]
    chances = 1 / np.arange(1, len(words) + 1)
    drawn = rng.choice(words, (n_images, N_CAPTIONS, N_WORDS), p=chances / chances.sum())
    features = {
        "image_id": datasets.Value("string"),
        "regions": region_feature(REGION_SIZE),
        "captions": datasets.List(datasets.Value("string")),
    }
    rows = {
        "image_id": [str(image) for image in range(n_images)],
        "regions": rng.random((n_images, REGIONS, REGION_SIZE), np.float32),
        "captions": [[" ".join(text) for text in texts] for texts in drawn],
    }
    clean = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
    return inject_noise(clean, "cmp_40", seed=0)


class EpochTimes(TrainerCallback):
    """CPU seconds of each epoch, its loss pass and division included."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.ends.append(time.process_time())

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.ends.append(time.process_time())


def epoch_seconds(row: Any, rows: datasets.Dataset, folder: Path) -> tuple[float, int]:
    """CPU seconds of an epoch after the warm-up, the least, and the number of networks."""
    train_ncr = script("train_ncr")
    argv = [*row.options, *(row.small or ())]
    argv += ["--output_dir", str(folder / row.key), "--num_train_epochs", str(EPOCHS)]
    argv += ["--per_device_train_batch_size", "256", "--eval_strategy", "no", "--save_strategy"]
    argv += ["no", "--load_best_model_at_end", "False", "--plot_divisions", "False"]
    argv += ["--disable_tqdm", "True", "--use_cpu", "True", "--report_to", "none"]
    methods = methods_for(MatchingConfig)
    data, model_args, training, choice = read_options(
        argv, train_ncr.KINDS, train_ncr.RECIPES, methods
    )
    settle_matching_options(data, model_args, training, choice)
    processor = build_pair_processor(rows, choice, data, model_args)
    model = build_matching_model(processor, choice, model_args)
    times = EpochTimes()
    trainer = RobustTrainer(
        model, training, choice.method(), rows, processing_class=processor, callbacks=[times]
    )
    trainer.train()
    return min(np.diff(times.ends)[WARM_UP:]), choice.method.n_networks


def main() -> None:
    """Print a table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--images", type=int, default=600)
    args = parser.parse_args()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    rows = random_pairs(args.images)
    plain: dict[int, float] = {}
    found = []
    for row in ROWS:
        if row.is_audited or row.noise == "noisy":  # trained as other rows are
            continue
        seconds, n_networks = epoch_seconds(row, rows, args.output_dir)
        plain.setdefault(n_networks, seconds)  # the first row of either kind is plain training
        ratio = seconds / plain[n_networks]
        found.append({"method": row.title, "networks": n_networks, "seconds": seconds})
        found[-1]["ratio"] = ratio
        print(f"| {row.title} | {n_networks} | {seconds:.2f} | {ratio:.2f} |", flush=True)
    (args.output_dir / "method_epochs.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
