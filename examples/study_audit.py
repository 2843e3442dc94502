"""Measure how well an audit finds injected wrong pairs, compared with simple baselines.

    python examples/study_audit.py --dataset_name f8k --dataset_config_name clean --output_dir study
    python examples/study_audit.py --dataset_name flickr8k.parquet --seeds 0 --output_dir pixels

The baselines are a random order, and a network of the same kind that is trained on all pairs for
the same number of epochs and judges them by its loss and by the cosine of image and caption.
Finished parts are not run again.
"""

from dataclasses import dataclass, field

from noisy_xmodal.entry.command_line import answer_early

NOISES = ("cmp_5", "cmp_20", "cmp_40", "cmp_image_5", "cmp_image_20", "cmp_image_40")


@dataclass
class StudyArguments:
    """The data, the noise and the audit."""

    dataset_name: str = field(metadata={"help": "Clean pairs: Hub dataset, folder or file."})
    output_dir: str = field(metadata={"help": "Folder for the results."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Its config."})
    noise: list[str] = field(
        default_factory=lambda: list(NOISES), metadata={"help": "Noise to inject."}
    )
    seeds: list[int] = field(
        default_factory=lambda: [0, 1, 2], metadata={"help": "Seeds of both noise and training."}
    )
    vision_model_name_or_path: str | None = field(
        default=None, metadata={"help": "Vision model of the audit."}
    )
    text_model_name_or_path: str | None = field(
        default=None, metadata={"help": "Text model of the audit; `none` for words alone."}
    )
    encoder_name_or_path: str | None = field(
        default=None, metadata={"help": "Two-tower model of the audit."}
    )
    folds: int = field(default=3, metadata={"help": "Folds of the audit."})
    rounds: int = field(default=2, metadata={"help": "Rounds of the audit."})
    epochs: int | None = field(default=None, metadata={"help": "Epochs of each training."})
    baselines: bool = field(default=True, metadata={"help": "Also run the baselines."})


if __name__ == "__main__":
    answer_early(StudyArguments)  # the imports below take seconds

import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
from transformers import HfArgumentParser
from transformers.utils import logging

from noisy_xmodal.auditing.cross_fit import CrossFit
from noisy_xmodal.auditing.features import FrozenModels
from noisy_xmodal.auditing.loading import load_rows
from noisy_xmodal.auditing.run import AuditOptions, audit
from noisy_xmodal.evaluation.collection import embed_pairs
from noisy_xmodal.evaluation.pair_losses import pair_losses_from_vectors
from noisy_xmodal.files import read_json, write_json
from noisy_xmodal.metrics.noise_detection import ranking_metrics
from noisy_xmodal.models.two_towers import logit_scale_of
from noisy_xmodal.noise import BetaMixture, clean_posterior
from noisy_xmodal.training.run import run_script


def study_one(args: StudyArguments, noise: str, seed: int) -> dict[str, Any]:
    """One audit and its baselines."""
    folder = Path(args.output_dir)
    options = AuditOptions(
        dataset_name=args.dataset_name,
        dataset_config_name=args.dataset_config_name,
        split="train",
        inject_noise=noise,
        noise_seed=seed,
        vision_model_name_or_path=args.vision_model_name_or_path,
        text_model_name_or_path=args.text_model_name_or_path,
        encoder_name_or_path=args.encoder_name_or_path,
        output=folder / f"{noise}-{seed}.parquet",
        folds=args.folds,
        rounds=args.rounds,
        epochs=args.epochs,
        seed=seed,
        cache_dir=folder / "features",
        disable_tqdm=True,
    )
    summary = audit(options)
    found = {name: summary[name] for name in ("wrong_share", "wrong_interval", "oracle", "seconds")}
    table = pq.read_table(options.output, columns=["loss", "clean_probability", "is_noisy"])
    loss, chance, is_noisy = (table.column(name).to_numpy() for name in table.column_names)
    found["calibration"] = _calibration(chance, is_noisy)
    for name, mixture in (("gaussian", None), ("beta", BetaMixture())):
        found[f"{name}_share"] = clean_posterior(loss, mixture).noise_rate
    if args.baselines:
        found["baselines"] = _baselines(options, folder / f"{noise}-{seed}.plain")
    return found | {"noise": noise, "seed": seed, "n_pairs": len(loss)}


def _calibration(chance: np.ndarray, is_noisy: np.ndarray) -> list[list[float]]:
    """Mean clean probability, share of right pairs and number of pairs, by fifths of it."""
    rows = []
    for low in np.arange(5) / 5:
        own = (chance >= low) & ((chance < low + 0.2) | (low == 0.8))
        if own.any():
            right = 1 - float(is_noisy[own].mean())
            rows.append([float(chance[own].mean()), right, int(own.sum())])
    return rows


def _baselines(options: AuditOptions, work: Path) -> dict[str, Any]:
    """Metrics of a network that is trained on all pairs, and of a random order."""
    rows = load_rows(options)
    models = FrozenModels.of(options, rows.pairs.visual)
    pairs, captions = models.read(rows, options, "cpu")
    fit = CrossFit(pairs, options, work, captions=captions)
    fit.train(np.arange(pairs.n_images), None, options.seed + 1, work)
    model = fit.load(work)
    image, text = embed_pairs(model, fit.processor, pairs.images, pairs.captions(), work)
    scale = logit_scale_of(model)
    losses = pair_losses_from_vectors(image, text, pairs.row_of_pair, scale).losses
    cosine = (image[pairs.row_of_pair] * text).sum(axis=1)
    chance = np.random.default_rng(options.seed).random(len(cosine))
    truth = pairs.is_noisy
    assert truth is not None, "the noise was put in here"
    return {
        "plain loss": ranking_metrics(losses, truth),
        "plain cosine": ranking_metrics(-cosine, truth),
        "random": ranking_metrics(chance, truth),
        "gaussian_share": clean_posterior(losses).noise_rate,
    }


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.1f}"


def print_table(found: list[dict[str, Any]]) -> None:
    """Print means over the seeds, a line for each noise and order."""
    print("| noise | order by | AUROC | AP | worst 100 | worst 500 | share: estimated (true) |")
    print("|---|---|---|---|---|---|---|")
    for noise in dict.fromkeys(row["noise"] for row in found):
        own = [row for row in found if row["noise"] == noise]
        ways = {"audit": [row["oracle"] for row in own]}
        for row in own:
            for name, metrics in row.get("baselines", {}).items():
                if isinstance(metrics, dict):
                    ways.setdefault(name, []).append(metrics)
        for name, metrics in ways.items():
            cells = []
            for metric in ("auroc", "average_precision", "precision_at_100", "precision_at_500"):
                values = np.array([row[metric] for row in metrics], dtype=float)  # None is nan
                known = np.isfinite(values).all()
                cells.append(f"{values.mean():.3f} ± {values.std():.3f}" if known else "-")
            share = ""
            if name == "audit":
                each = ", ".join(_percent(row["wrong_share"]) for row in own)
                share = f"{each} ({100 * own[0]['oracle']['true_share']:.1f})"
            print(f"| {noise} | {name} | {' | '.join(cells)} | {share} |")


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    """Run what is missing, and print the table."""
    parser = HfArgumentParser(StudyArguments)
    (args,) = parser.parse_args_into_dataclasses(sys.argv[1:] if argv is None else argv)
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    found = []
    for seed in args.seeds:
        for noise in args.noise:
            path = Path(args.output_dir) / f"{noise}-{seed}.study.json"
            if not path.is_file():
                write_json(path, study_one(args, noise, seed))
            found.append(read_json(path))
            row = found[-1]
            shown = {k: round(v, 4) for k, v in row["oracle"].items() if v is not None}
            print(f"{noise} seed {seed}: {shown}, estimated {_percent(row['wrong_share'])} %")
    print_table(found)
    return found


if __name__ == "__main__":
    run_script(main, StudyArguments)
