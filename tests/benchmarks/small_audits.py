"""How small or blind an audit may be before it is wrong about right pairs.

    python tests/benchmarks/small_audits.py --precomp flickr8k/precomp --output_dir runs/small

Parts of a set of region features in the precomputed layout (`train_ims.npy`, `train_caps.txt`, five
captions an image) are judged by the first round of an audit, as they are and with a fifth of the
captions exchanged. What a judge sees is made worse on the way: `weak`, `weaker` and `weakest` are
24, 12 and 6 random projections of the mean region with noise, `blank` is one feature for all, and
`cut3` is the first three words of each caption. The losses of each part are kept
and not made again.
"""

import argparse
from itertools import product
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from sklearn.metrics import roc_auc_score

from noisy_xmodal.arguments.audit import THRESHOLD, AuditOptions
from noisy_xmodal.auditing.cross_fit import CrossFit
from noisy_xmodal.data import PairDataset
from noisy_xmodal.data.regions import region_feature
from noisy_xmodal.files import write_json
from noisy_xmodal.noise import CompleteMismatch, Pairs

EACH = 5
KINDS = ("good", "weak", "weaker", "weakest", "blank", "cut3")
#: Random projections of the mean region, and noise in standard deviations of each.
_WEAK = {"weak": (24, 0.5), "weaker": (12, 1.0), "weakest": (6, 1.5)}


def seen(regions: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """What the judge sees of images, (n_images, n_regions, size)."""
    if kind == "blank":
        return np.ones((len(regions), 4, 8), np.float32)
    if kind not in _WEAK:
        return regions.astype(np.float32)
    size, noise = _WEAK[kind]
    mean = regions.astype(np.float32).mean(axis=1)
    projection = np.random.default_rng(7).normal(size=(mean.shape[1], size))
    weak = (mean - mean.mean(axis=0)) @ projection  # (n_images, size)
    weak = weak / weak.std(axis=0)
    weak = weak + noise * rng.normal(size=weak.shape)
    return weak[:, None].repeat(2, axis=1).astype(np.float32)


def part(precomp: Path, n_pairs: int, kind: str, share: float, seed: int) -> datasets.Dataset:
    """Rows by the column contract."""
    rng = np.random.default_rng(1000 + seed)
    images = np.load(precomp / "train_ims.npy", mmap_mode="r")
    texts = (precomp / "train_caps.txt").read_text(encoding="utf-8").splitlines()
    rows = np.sort(rng.choice(len(images), n_pairs // EACH, replace=False))
    regions = seen(np.asarray(images[rows]), kind, rng)
    captions = [texts[EACH * row + k] for row in rows.tolist() for k in range(EACH)]
    if kind == "cut3":
        captions = [" ".join(text.split()[:3]) for text in captions]
    pairs = Pairs.from_counts([EACH] * len(rows))
    if share:
        pairs = CompleteMismatch(share).apply(pairs, np.random.default_rng(seed))
    lists = pairs.rows()
    columns: dict[str, tuple[list[Any], Any]] = {
        "image_id": ([str(row) for row in rows], datasets.Value("string")),
        "regions": (list(regions), region_feature(regions.shape[-1])),
        "captions": (
            [[captions[c] for c in own] for own in lists],
            datasets.List(datasets.Value("string")),
        ),
        "is_noisy": (
            [pairs.is_noisy[own].tolist() for own in lists],
            datasets.List(datasets.Value("bool")),
        ),
    }
    return datasets.Dataset.from_dict(
        {name: values for name, (values, _) in columns.items()},
        features=datasets.Features({name: feature for name, (_, feature) in columns.items()}),
    )


def measure(rows: datasets.Dataset, seed: int, work: Path) -> dict[str, Any]:
    """One audit against the truth."""
    pairs = PairDataset(rows)
    options = AuditOptions(rounds=1, seed=seed, disable_tqdm=True)
    found = CrossFit(pairs, options, work).judge(np.arange(len(rows)))
    wrong = np.asarray(pairs.is_noisy)
    judged, share = found.clean_probability < THRESHOLD, found.share
    return {
        "judge_can_tell": share.can_tell,
        "separation": share.separation,
        "share": share.share,
        "interval": [share.low, share.high],
        "true_share": float(wrong.mean()),
        "covers": bool(share.low <= wrong.mean() <= share.high),
        "auroc": float(roc_auc_score(wrong, found.tail)) if wrong.any() else None,
        "right_convicted": float(judged[~wrong].mean()),
        "wrong_convicted": float(judged[wrong].mean()) if wrong.any() else None,
        "precision": float(wrong[judged].mean()) if judged.any() else None,
    }


def print_table(found: list[dict[str, Any]]) -> None:
    """Markdown, a line a size and share, over all kinds and seeds."""
    print("| pairs | wrong | audits | tell | right convicted | recall | precision | cover |")
    print("|---|---|---|---|---|---|---|---|")
    for n_pairs, share in dict.fromkeys((row["n_pairs"], row["noise"]) for row in found):
        own = [r for r in found if (r["n_pairs"], r["noise"]) == (n_pairs, share)]
        tell = [r for r in own if r["judge_can_tell"]]
        right = [r["right_convicted"] for r in own]
        means = [
            np.mean([r[name] for r in tell if r[name] is not None] or [np.nan])
            for name in ("wrong_convicted", "precision")
        ]
        cells = [f"{value:.2f}" if share and np.isfinite(value) else "-" for value in means]
        print(
            f"| {n_pairs:,} | {share:.0%} | {len(own)} | {len(tell)} | {np.mean(right):.3f}, "
            f"{max(right):.3f} | {' | '.join(cells)} | {sum(r['covers'] for r in own)} |"
        )


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    """Measure every part, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precomp", type=Path, required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--pairs", type=int, nargs="+", default=[100, 300, 1000, 2000, 5000])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    args = parser.parse_args(argv)
    datasets.disable_progress_bars()
    found = []
    for n_pairs, share, kind, seed in product(args.pairs, args.shares, args.kinds, args.seeds):
        rows = part(args.precomp, n_pairs, kind, share, seed)
        work = args.output_dir / f"{n_pairs}-{kind}-{share:g}-{seed}"
        facts = {"n_pairs": n_pairs, "kind": kind, "noise": share, "seed": seed}
        found.append(facts | measure(rows, seed, work))
        write_json(args.output_dir / "small_audits.json", found)
    print_table(found)
    return found


if __name__ == "__main__":
    main()
