"""How often the words that an audit names in wrong captions are wrong, on OpenMoji's test split.

python examples/train_ncr.py --similarity scan_t2i --output_dir runs/scan
python tests/benchmarks/misfit_words.py --model runs/scan

Captions are exchanged among pictures that share some objects (partial mismatch). A word is wrong
if no true caption of the picture has it. Captions of wrong or of right words alone do not count.
"""

import argparse

import numpy as np
from sklearn.metrics import roc_auc_score
from transformers import AutoModel, AutoProcessor

from noisy_xmodal import inject_noise, load_openmoji
from noisy_xmodal.auditing.misfits import gains_without_words
from noisy_xmodal.data import PairDataset


def main() -> None:
    """Print the share of named words that are wrong, and that of all words."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", required=True, help="A model that was not trained on this split."
    )
    parser.add_argument("--noise", default="part_40")
    args = parser.parse_args()
    clean = load_openmoji("clean")["test"]
    pairs = PairDataset(inject_noise(clean, args.noise, seed=0, objects_from="tags"))
    true_words = [set(" ".join(captions).split()) for captions in clean["captions"]]
    model, processor = (kind.from_pretrained(args.model) for kind in (AutoModel, AutoProcessor))
    assert pairs.is_noisy is not None, "the noise is known"
    named, shares, areas, blind = [], [], [], []
    rng = np.random.default_rng(0)
    for pair in np.flatnonzero(pairs.is_noisy).tolist():
        row, words = int(pairs.row_of_pair[pair]), pairs.caption(pair).split()
        is_wrong = np.array([word not in true_words[row] for word in words])  # (n_words,)
        if is_wrong.all() or not is_wrong.any():
            continue
        gains = gains_without_words(model, processor, pairs.images[row], words)  # (n_words,)
        named.append(is_wrong[gains.argmax()])
        shares.append(is_wrong.mean())
        areas.append(roc_auc_score(is_wrong, gains))
        other = int(rng.integers(pairs.n_images))
        by_other = gains_without_words(model, processor, pairs.images[other], words)  # (n_words,)
        blind.append(is_wrong[by_other.argmax()])
    print(f"{len(named)} captions of {args.noise} with right and wrong words")
    print(f"first named word is wrong: {np.mean(named):.3f}; any word: {np.mean(shares):.3f}")
    print(f"first word named for a random picture is wrong: {np.mean(blind):.3f}")
    print(f"AUROC of wrong words within a caption: {np.mean(areas):.3f}")


if __name__ == "__main__":
    main()
