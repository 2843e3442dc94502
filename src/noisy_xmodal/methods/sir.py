"""SIR: sibling-informed rematching, the recipe of this library.

An image often has several captions. These siblings tell two things that the loss of a pair alone
does not: whether the pair is wrong, and where its caption belongs. SIR divides and rectifies as NCR
does (see `ncr.py`), and uses both:

1. **Division.** The loss of a pair is moved towards the mean of its siblings, as far as siblings
   agree (`noise/siblings.py`). If whole sets of captions were exchanged, they do, and a set is
   judged by the evidence of all its captions. If single captions were exchanged, they do not, and
   losses stay as they are. The correlation is measured at each division, so the kind of noise need
   not be known.
2. **Rematching.** A noisy caption is given to another noisy image if both choose each other: the
   image is the best one for the caption, and the caption is among the best ones for the free places
   of the image. An image is known by its regions and by the captions that it keeps; a caption by
   itself and by the siblings that were exchanged with it. The first matters if captions were
   exchanged, the second if sets were: both are weighted by the same correlation.

| symbol | here                 | meaning                                                          |
|--------|----------------------|------------------------------------------------------------------|
| l      | pair_state["loss"]   | the objective of a pair, such as InfoNCE, within its chunk       |
| rho    | share                | intraclass correlation of l over the captions of an image        |
| l'     | `divide`             | (1 - rho) l + rho mean of l over the siblings                    |
| w      | clean_probability    | posterior of a Gaussian mixture over l'; clean from 1 / 2 on     |
| P, y   | prediction, target   | as in NCR, Eq. 5 and 4                                           |
| v_r    | images               | vector of image r, of both networks side by side                 |
| t_j    | texts                | vector of caption j, likewise                                    |
| c_r    | clean                | sum of t over the clean captions of image r                      |
| q_r    | queries              | v_r + (1 - rho) c_r, both at unit length                         |
| u_j    | keys                 | (1 - rho) t_j + rho mean of t over the noisy siblings of j, at   |
|        |                      | unit length                                                      |
| s      | scale                | inverse temperature of the networks                              |
| m_r    | places               | number of noisy pairs of image r                                 |
| b(j)   | best                 | argmax over r of q_r u_j, without the image of j                 |
| match  | partner              | j goes to r = b(j) if q_r u_j is among the m_r largest of r      |
| p_j    | match_probability    | softmax of s q_r u_j over r, at b(j): weight of the match        |

The softmax is the model's own posterior over the images that lack a caption, so a match counts as
much as it is believed. With the vectors of NCR's networks (Flickr8k, 40 % noise, after five to
seven epochs) it was near the share of right matches: of those with p between .4 and .6, 49 % were
right, between .8 and 1, 85 % (exchanged captions); between .2 and .4, 46 % (exchanged sets).

Without siblings rho is 0, c_r is 0, and what is left is a mutual nearest neighbour search among
noisy pairs. Matches are made anew in every epoch: a pair that is judged clean again has its own
caption again.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from torch import Tensor

from ..models.two_towers import logit_scale_of
from ..noise import Division, divide
from ..noise.siblings import intraclass_correlation, shrink_to_siblings
from ..training import Constant, PairBatch, PairTask
from .ncr import adaptive_prediction
from .objectives import MARGIN, ObjectiveMethod, objective_constant
from .peers import PeerMethod
from .vectors import pair_vectors

_BLOCK = 512  # images that are compared with all noisy captions at a time


class Sir(ObjectiveMethod, PeerMethod):
    """Two networks; with `args.robust = False` they believe every pair."""

    title = "SIR"
    citation = """@software{noisy_xmodal,
  title = {noisy_xmodal: Image-Text Retrieval from Pairs and Labels That Cannot Be Trusted},
  year  = {2026}
}"""
    task = PairTask
    options: ClassVar[Mapping[str, Constant]] = {
        "objective": objective_constant("infonce"),
        "margin": MARGIN,
        "rematch_start": Constant(0.3, 0, 1),
        "rematch": Constant(True),
        "sibling_evidence": Constant(True),
    }

    # Division

    def warm_up_loss(self, output: Any, batch: PairBatch) -> Tensor:
        """l, (n_pairs,)."""
        return self.objective.warm_up(output, batch.negatives)

    def loss_pass(self, output: Any, batch: PairBatch) -> dict[str, Tensor]:
        """l and P, (n_pairs,) each."""
        prediction = adaptive_prediction(
            output.scores, batch.negatives, ceiling=self.objective.prediction_ceiling
        )
        return {"loss": self.warm_up_loss(output, batch), "prediction": prediction}

    def divide(self, losses: np.ndarray) -> list[Division]:
        """A division of l' for each network."""
        rows = self.engine.train_dataset.row_of_pair
        if self.constants.sibling_evidence:
            losses = np.stack([shrink_to_siblings(row, rows) for row in losses])
        return [divide(row, seed=self.args.seed) for row in losses]

    # Targets and partners

    def targets(self) -> np.ndarray:
        """y of both networks, (2, n_pairs); 0 for matched pairs, which lose their own captions."""
        targets, state = self.rectified(), self.engine.pair_state
        if not self.constants.rematch or self.progress() < self.constants.rematch_start:
            return targets
        partners, probability = self.matches()
        state["partner"] = np.stack(2 * [partners])
        state["match_probability"] = np.stack(2 * [probability])
        return np.where(partners == np.arange(len(partners)), targets, 0)

    def matches(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The pair whose caption each pair is trained with, and its probability, see `rematch`."""
        state, rows = self.engine.pair_state, self.engine.train_dataset.row_of_pair
        share = 0.0
        if self.constants.sibling_evidence:
            share = intraclass_correlation(state["loss"].mean(axis=0), rows)
        vectors = [self.vectors(network) for network in (0, 1)]
        images, texts = (np.concatenate(side, axis=1) for side in zip(*vectors, strict=True))
        is_noisy = state["clean_probability"].mean(axis=0) < 0.5
        scale = float(np.mean([logit_scale_of(network) for network in self.engine.networks()]))
        return rematch(images, texts, rows, is_noisy, share, scale)

    def vectors(self, network: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Unit vectors of images, (n_images, size), and of captions, (n_pairs, size)."""
        batch_size = self.args.per_device_train_batch_size
        outputs = self.engine.outputs(batch_size, network)
        parts = [[side.float().cpu().numpy() for side in pair_vectors(out)] for out in outputs]
        images, texts = (np.concatenate(side) for side in zip(*parts, strict=True))
        first = np.unique(self.engine.train_dataset.row_of_pair, return_index=True)[1]
        return images[first], texts

    # The loss

    def loss(self, output: Any, batch: PairBatch) -> Tensor:
        """The objective with y, or weighted by the probability of a match, (n_pairs,)."""
        ones = torch.ones(len(batch.pair_id), device=batch.pair_id.device)
        if not self.args.robust:
            return self.objective.robust(output, ones, batch.negatives)
        targets = self.look_up("target", batch)
        if "partner" not in self.engine.pair_state:
            return self.objective.robust(output, targets, batch.negatives)
        ids = batch.pair_id.cpu().numpy()
        partners = self.engine.pair_state["partner"][batch.peer, ids]
        is_matched = torch.from_numpy(partners != ids).to(ones.device)
        losses = self.objective.robust(output, targets.masked_fill(is_matched, 1), batch.negatives)
        return torch.where(is_matched, self.look_up("match_probability", batch), ones) * losses


def rematch(
    images: NDArray[np.floating],
    texts: NDArray[np.floating],
    rows: NDArray[np.int64],
    is_noisy: NDArray[np.bool_],
    share: float,
    scale: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Match the captions of noisy pairs with the images of other noisy pairs.

    Args:
        images: Vectors of the images, (n_images, size).
        texts: Vectors of the captions, (n_pairs, size).
        rows: The image of each pair, (n_pairs,).
        is_noisy: Which pairs are noisy, (n_pairs,).
        share: rho, 0 to 1.
        scale: Inverse temperature of the probabilities.

    Returns:
        The pair whose caption each pair gets, (n_pairs,), its own unless it is matched; and the
        probability that this match is right, (n_pairs,), 0 unless it is matched.
    """
    partners, probability = np.arange(len(rows)), np.zeros(len(rows))
    noisy = np.flatnonzero(is_noisy)  # (n_noisy,)
    if not len(noisy):
        return partners, probability
    clean = _sums(texts[~is_noisy], rows[~is_noisy], len(images))  # (n_images, size)
    candidates, place, places = np.unique(rows[noisy], return_inverse=True, return_counts=True)
    queries = _unit(images[candidates]) + (1 - share) * _unit(clean[candidates])
    siblings = _sums(texts[noisy], place, len(candidates)) / places[:, None]
    keys = _unit((1 - share) * texts[noisy] + share * siblings[place])  # (n_noisy, size)
    best, score, total, least = _compare(queries, keys, place, places, scale)
    chosen = np.flatnonzero(np.isfinite(score) & (score >= least[best]))
    chosen = chosen[np.lexsort((-score[chosen], best[chosen]))]  # by image, best first
    image, start = np.unique(best[chosen], return_index=True)
    turn = np.arange(len(chosen)) - start[np.searchsorted(image, best[chosen])]
    fits = turn < places[best[chosen]]  # more do where scores are equal
    chosen, turn = chosen[fits], turn[fits]
    first = np.cumsum(places) - places  # (n_candidates,)
    places_by_image = noisy[np.argsort(place, kind="stable")]  # (n_noisy,)
    taken = places_by_image[first[best[chosen]] + turn]
    partners[taken] = noisy[chosen]
    probability[taken] = np.exp(scale * score[chosen] - total[chosen])
    return partners, probability


def _compare(
    queries: NDArray[np.floating],
    keys: NDArray[np.floating],
    place: NDArray[np.int64],
    places: NDArray[np.int64],
    scale: float,
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Compare images and captions, except captions with the image that they come from.

    Returns:
        Of each caption the best image, its score, and log sum exp of all scaled scores,
        (n_noisy,); of each image the least score among as many captions as it has places,
        (n_candidates,).
    """
    best, score = np.zeros(len(keys), np.int64), np.full(len(keys), -np.inf)
    total, least = np.full(len(keys), -np.inf), np.empty(len(queries))
    for start in range(0, len(queries), _BLOCK):
        scores = queries[start : start + _BLOCK] @ keys.T  # (n_block, n_noisy)
        own = np.flatnonzero((place >= start) & (place < start + len(scores)))
        scores[place[own] - start, own] = -np.inf
        for index, row in enumerate(scores, start):
            least[index] = np.partition(row, -places[index])[-places[index]]
        top = scores.argmax(axis=0)  # (n_noisy,)
        value = scores[top, np.arange(len(keys))]
        better = value > score
        best[better], score[better] = start + top[better], value[better]
        total = np.logaddexp(total, logsumexp(scale * scores, axis=0))
    return best, score, total, least


def _sums(
    vectors: NDArray[np.floating], groups: NDArray[np.int64], n_groups: int
) -> NDArray[np.floating]:
    """Sum of the vectors of each group, (n_groups, size)."""
    sums = np.zeros((n_groups, vectors.shape[1]), vectors.dtype)
    np.add.at(sums, groups, vectors)
    return sums


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """Vectors at unit length; those of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)
