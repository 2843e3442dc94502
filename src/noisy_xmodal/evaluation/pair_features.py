"""What the model makes of given pairs and of constructed negatives: their [CLS] in a plane.

Source: Guo and Ding, FITEE 2023, Fig. 5b. A model that has not fitted the noise puts the given
pairs that are wrong beside the negatives, not beside the right pairs.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data import PairCollator, PairDataset
from ..training.plots import plot_tsne


@torch.inference_mode()
def pair_features(
    model: Any,
    processor: Any,
    pairs: PairDataset,
    image_rows: np.ndarray,
    pair_ids: np.ndarray,
    block_size: int = 64,
) -> np.ndarray:
    """[CLS] of images beside captions, in eval mode.

    Args:
        model: An `RcarModel`; its mode is restored afterwards.
        processor: Its processor.
        pairs: Where images and captions are.
        image_rows: Row of each image, (n,).
        pair_ids: Pair whose caption stands beside it, (n,).
        block_size: Pairs that are read at once.

    Returns:
        (n, hidden), float32.
    """
    captions = pairs.captions()
    collate = PairCollator(processor)
    was_training = model.training
    model.train(False)
    found = []
    try:
        for start in range(0, len(pair_ids), block_size):
            rows = image_rows[start : start + block_size].tolist()
            ids = pair_ids[start : start + block_size].tolist()
            items = [
                {pairs.visual: visual, "caption": captions[pair_id]}
                for visual, pair_id in zip(pairs.visuals(rows), ids, strict=True)
            ]
            inputs = {name: value.to(model.device) for name, value in collate(items).items()}
            own = torch.arange(len(ids), device=model.device)
            output = model(**inputs, pairs=torch.stack([own, own], dim=1))
            found.append(output.pair_features.float().cpu().numpy())
    finally:
        model.train(was_training)
    return np.concatenate(found)


def draw_pair_features(
    path: str | Path,
    model: Any,
    processor: Any,
    pairs: PairDataset,
    seed: int = 0,
    n_of_each: int = 500,
) -> None:
    """Draw [CLS] of right pairs, wrong pairs and constructed negatives by t-SNE.

    Args:
        path: PNG to write; the points go to the JSON of the same name.
        model: An `RcarModel`.
        processor: Its processor.
        pairs: The training pairs; without an oracle, right and wrong ones are one group.
        seed: Seed of the choice and of t-SNE.
        n_of_each: The most pairs of a group.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pairs))
    is_noisy = pairs.is_noisy
    groups = (
        {"given pairs": order}
        if is_noisy is None
        else {
            "right pairs (oracle)": order[~is_noisy[order]],
            "wrong pairs (oracle)": order[is_noisy[order]],
        }
    )
    ids = {name: members[:n_of_each] for name, members in groups.items() if len(members)}
    rows = {name: pairs.row_of_pair[chosen] for name, chosen in ids.items()}
    made = order[:n_of_each]
    other = (pairs.row_of_pair[made] + rng.integers(1, pairs.n_images, len(made))) % pairs.n_images
    ids["constructed negatives"], rows["constructed negatives"] = made, other
    features = pair_features(
        model, processor, pairs, np.concatenate([*rows.values()]), np.concatenate([*ids.values()])
    )
    numbers = np.repeat(np.arange(len(ids)), [len(chosen) for chosen in ids.values()])
    plot_tsne(path, features, numbers, list(ids), seed, max_points=len(features))
