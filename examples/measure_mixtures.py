"""Compare a beta mixture with a Gaussian one, on synthetic losses or those of a training run.

    python examples/measure_mixtures.py --output mixtures.json
    python examples/measure_mixtures.py --checkpoint runs/dmcm/checkpoint-720 \
        --dataset_name wikipedia --dataset_config_name sym_60 --output mixtures.json

Synthetic losses come from two components with a given noise rate: four of six kinds are beta
distributions, one is a lognormal and a normal, one is two Gaussians. The losses of a run are read
from the pair state of a checkpoint, with the oracle of its training data. The table has the mean
log-likelihood of held-out losses; the accuracy of the posterior at one half, raw and monotone; the
share of clean among the (1 - rate) most probable, raw and monotone (the latter takes the smallest
losses); the error of the estimated rate; and the time of a fit.
"""

from dataclasses import dataclass, field

from noisy_xmodal.entry.command_line import answer_early


@dataclass
class MixtureArguments:
    """The losses and the output file."""

    checkpoint: str | None = field(
        default=None, metadata={"help": "Checkpoint of train_dmcm.py; synthetic losses by default."}
    )
    dataset_name: str | None = field(
        default=None, metadata={"help": "Dataset of that run, with the oracle."}
    )
    dataset_config_name: str | None = field(default=None, metadata={"help": "Its config."})
    output: str = field(default="mixtures.json", metadata={"help": "JSON file for the results."})


if __name__ == "__main__":
    answer_early(MixtureArguments)  # the imports below take seconds

import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from sklearn.mixture import GaussianMixture

from noisy_xmodal import BetaMixture, LabelDataset, clean_posterior, load_label_pairs
from noisy_xmodal.entry.options import Limits, read_options
from noisy_xmodal.files import write_json
from noisy_xmodal.noise import select_clean
from noisy_xmodal.training.pair_state import PAIR_STATE_NAME
from noisy_xmodal.training.run import run_script

#: Shapes of the clean and the noisy beta component.
BETAS = {
    "apart": ((2, 12), (8, 3)),
    "overlapping": ((2, 5), (5, 3)),
    "skewed": ((0.5, 4), (8, 0.6)),
    "long tail": ((1, 30), (2, 3)),
}
KINDS = (*BETAS, "lognormal", "gaussian")
SIZES = {100: 20, 2000: 6}  # number of losses, number of draws
RATES = (0.2, 0.4, 0.6, 0.8)

Case = tuple[str, np.ndarray, np.ndarray, np.ndarray]  # name, losses, is_noisy, unseen losses


def draw(kind: str, rate: float, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Synthetic losses of a kind, and the oracle."""
    is_noisy = rng.random(n) < rate
    if kind == "lognormal":
        losses = np.where(is_noisy, rng.normal(2.5, 0.7, n), rng.lognormal(-1.2, 0.9, n))
    elif kind == "gaussian":
        losses = np.where(is_noisy, rng.normal(0.65, 0.1, n), rng.normal(0.3, 0.1, n))
    else:
        clean, noisy = BETAS[kind]
        losses = np.where(is_noisy, rng.beta(*noisy, n), rng.beta(*clean, n))
    return losses, is_noisy


def synthetic_cases() -> Iterator[Case]:
    """Every kind, size, rate and draw."""
    for n, draws in SIZES.items():
        for kind in KINDS:
            for rate in RATES:
                for seed in range(draws):
                    rng = np.random.default_rng(seed)
                    losses, is_noisy = draw(kind, rate, n, rng)
                    yield f"{kind}, {n}", losses, is_noisy, draw(kind, rate, 5000, rng)[0]


def measured_cases(args: MixtureArguments) -> Iterator[Case]:
    """The losses of a run in random halves: one is fitted, the other is held out."""
    losses = load_file(str(Path(args.checkpoint) / PAIR_STATE_NAME))["loss"]
    rows = load_label_pairs(args.dataset_name, args.dataset_config_name)["train"]
    oracle = LabelDataset(rows).is_noisy
    if oracle is None or oracle.shape != losses.shape:
        raise ValueError(
            f"{args.dataset_name} is not what {args.checkpoint} was trained on, with an oracle: "
            "name a dataset with noise of its own and a validation split."
        )
    for name, values, is_noisy in zip(("image", "text"), losses, oracle, strict=True):
        for seed in range(10):
            seen = np.random.default_rng(seed).permutation(len(values)) % 2 == 0
            yield name, values[seen], is_noisy[seen], values[~seen]


def judge(losses: np.ndarray, is_noisy: np.ndarray, unseen: np.ndarray, mixture: object) -> dict:
    """Fit one mixture and compare it with the oracle."""
    start = time.perf_counter()
    raw = clean_posterior(losses, mixture, monotone=False)
    seconds = time.perf_counter() - start
    calm = clean_posterior(losses, mixture)
    rate = float(is_noisy.mean())
    scaled = np.clip((unseen - losses.min()) / np.ptp(losses), 0, 1)
    chosen = {
        name: select_clean(losses, found.probability, rate)
        for name, found in (("raw", raw), ("monotone", calm))
    }
    return {
        "unseen log-likelihood": float(raw.mixture.score(scaled[:, None])),
        "accuracy, raw": float(((raw.probability < 0.5) == is_noisy).mean()),
        "accuracy, monotone": float(((calm.probability < 0.5) == is_noisy).mean()),
        "purity, raw": float((~is_noisy[chosen["raw"]]).mean()),
        "purity, monotone": float((~is_noisy[chosen["monotone"]]).mean()),
        "error of the rate": abs(calm.noise_rate - rate),
        "ms": 1000 * seconds,
    }


def main(argv: list[str] | None = None) -> None:
    """Compare, print and write."""
    limits = {
        "checkpoint": Limits(needs=("dataset_name",)),
        "dataset_name": Limits(needs=("checkpoint",)),
    }
    args = read_options(MixtureArguments, limits, argv)
    cases = synthetic_cases() if args.checkpoint is None else measured_cases(args)
    found: dict[tuple[str, str], list[dict]] = defaultdict(list)
    for name, losses, is_noisy, unseen in cases:
        gaussian = GaussianMixture(2, max_iter=100, reg_covar=5e-4, random_state=0)
        found[name, "gaussian"].append(judge(losses, is_noisy, unseen, gaussian))
        found[name, "beta"].append(judge(losses, is_noisy, unseen, BetaMixture()))
    rows = [
        {"losses": name, "mixture": kind}
        | {metric: float(np.mean([case[metric] for case in cases])) for metric in cases[0]}
        for (name, kind), cases in found.items()
    ]
    write_json(args.output, rows)
    columns = [name for name in rows[0] if name not in ("losses", "mixture")]
    print("| losses | mixture | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 2) + "|")
    for row in rows:
        values = " | ".join(f"{row[column]:.3f}" for column in columns)
        print(f"| {row['losses']} | {row['mixture']} | {values} |")


if __name__ == "__main__":
    run_script(main, MixtureArguments)
