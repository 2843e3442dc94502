"""SIR: sibling-informed rematching, the recipe of this library.

An image often has several captions. These siblings tell two things that the loss of a pair alone
does not: whether the pair is wrong, and where its caption belongs. SIR divides and rectifies as NCR
does (see `ncr.py`), and uses both:

1. **Division.** The loss of a pair is moved towards the mean of its siblings, as far as siblings
   agree (`noise/siblings.py`). If whole sets of captions were exchanged, they do, and a set is
   judged by the evidence of all its captions. If single captions were exchanged, they do not, and
   losses stay as they are. The correlation is measured at each division, so the kind of noise need
   not be known.
2. **Rematching.** All noisy captions are dealt out to the noisy images anew: the most similar
   caption and image first, and to each image as many captions as it has lost. An image is known by
   its regions and by the captions that it keeps; a caption by itself and by the siblings that were
   exchanged with it. The first matters if captions were exchanged, the second if sets were: both
   are weighted by the same correlation. A caption that gets its own image again stays as it is, and
   so does one whose nearest images are all taken.

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
| m_r    | places               | number of noisy pairs of image r                                 |
| b(j)   | `_assign`            | the image of caption j: pairs (r, j) in order of q_r u_j, while  |
|        |                      | j has no image and r has fewer than m_r captions                 |
| match  | partner              | a pair of image b(j) gets caption j                              |
| gamma  | match_weight         | weight of the loss of a matched pair                             |

Most matches are wrong, and still worth training on: the caption is the most similar one that is
free. With whole sets exchanged (Flickr8k, 40 %), a prototype that matched a fifth of the noisy
images rightly gained 5 of rSum over leaving them out, with gamma = 1 / 2 as with 1. An earlier
version matched only captions and images that chose each other, weighted by the softmax of q_r u_j;
the prototype gained nothing by it, SIR as much.

Matches are made anew in every epoch: a pair that is judged clean again has its own caption again.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..evaluation.nearest import nearest
from ..noise import Division, divide
from ..noise.siblings import intraclass_correlation, shrink_to_siblings
from ..options import Rule
from ..training import Constant, PairBatch, PairTask
from .ncr import adaptive_prediction
from .objectives import MARGIN, ObjectiveMethod, objective_constant
from .peers import PeerMethod
from .vectors import pair_vectors

_N_CANDIDATES = 50  # nearest images of a caption
_OF_MATCHES = Rule(lambda constants: constants.rematch, "`rematch` is false. Leave it out.")


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
        "rematch": Constant(True),
        "rematch_start": Constant(0.3, 0, 1, rule=_OF_MATCHES),
        "match_weight": Constant(0.5, 0, 1, rule=_OF_MATCHES),
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
        partners = self.matches()
        state["partner"] = np.stack(2 * [partners])
        return np.where(partners == np.arange(len(partners)), targets, 0)

    def matches(self) -> NDArray[np.int64]:
        """The pair whose caption each pair is trained with, see `rematch`."""
        state, rows = self.engine.pair_state, self.engine.train_dataset.row_of_pair
        share = 0.0
        if self.constants.sibling_evidence:
            share = intraclass_correlation(state["loss"].mean(axis=0), rows)
        vectors = [self.vectors(network) for network in (0, 1)]
        images, texts = (np.concatenate(side, axis=1) for side in zip(*vectors, strict=True))
        is_noisy = state["clean_probability"].mean(axis=0) < 0.5
        return rematch(images, texts, rows, is_noisy, share)

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
        """The objective with y; weighted by gamma for matched pairs, (n_pairs,)."""
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
        return torch.where(is_matched, self.constants.match_weight, ones) * losses


def rematch(
    images: NDArray[np.floating],
    texts: NDArray[np.floating],
    rows: NDArray[np.int64],
    is_noisy: NDArray[np.bool_],
    share: float,
) -> NDArray[np.int64]:
    """Match the captions of noisy pairs with the images of noisy pairs.

    Args:
        images: Vectors of the images, (n_images, size).
        texts: Vectors of the captions, (n_pairs, size).
        rows: The image of each pair, (n_pairs,).
        is_noisy: Which pairs are noisy, (n_pairs,).
        share: rho, 0 to 1.

    Returns:
        The pair whose caption each pair gets, (n_pairs,); its own unless it is matched.
    """
    partners = np.arange(len(rows))
    noisy = np.flatnonzero(is_noisy)  # (n_noisy,)
    if not len(noisy):
        return partners
    clean = _sums(texts[~is_noisy], rows[~is_noisy], len(images))  # (n_images, size)
    candidates, place, places = np.unique(rows[noisy], return_inverse=True, return_counts=True)
    queries = _unit(images[candidates]) + (1 - share) * _unit(clean[candidates])
    siblings = _sums(texts[noisy], place, len(candidates)) / places[:, None]
    keys = _unit((1 - share) * texts[noisy] + share * siblings[place])  # (n_noisy, size)
    image = _assign(*nearest(queries, keys, _N_CANDIDATES), places)  # (n_noisy,)
    moves = np.flatnonzero((image >= 0) & (image != place))
    moves = moves[np.argsort(image[moves], kind="stable")]
    free = np.flatnonzero(image != place)
    free = free[np.argsort(place[free], kind="stable")]
    turn = np.arange(len(moves)) - np.searchsorted(image[moves], image[moves])
    taken = free[np.searchsorted(place[free], image[moves]) + turn]
    partners[noisy[taken]] = noisy[moves]
    return partners


def _assign(
    scores: NDArray[np.floating], images: NDArray[np.int64], places: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Give each caption the best image with a free place, the most similar captions first.

    Args:
        scores: q_r u_j of each caption with its nearest images, (n_captions, k).
        images: These images, (n_captions, k).
        places: Number of captions that each image takes, (n_images,).

    Returns:
        The image of each caption, (n_captions,); -1 if its nearest images have no free place.
    """
    image_of, free = [-1] * len(scores), places.tolist()
    captions = np.repeat(np.arange(len(scores)), scores.shape[1])
    order = np.argsort(-scores, axis=None, kind="stable")
    for caption, image in zip(
        captions[order].tolist(), images.ravel()[order].tolist(), strict=True
    ):
        if free[image] and image_of[caption] < 0:
            image_of[caption] = image
            free[image] -= 1
    return np.array(image_of)


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
