"""Symmetric label noise: classes of image-text pairs replaced by random ones.

Source: Ding et al., "Dual-Mix for Cross-Modal Retrieval with Noisy Labels" (DMCM), Section 3,
after the protocol of Hu et al., "Learning Cross-Modal Retrieval with Noisy Labels" (MRL),
CVPR 2021.

| symbol | in the code |
|--------|-------------|
| r      | ratio       |
| K      | n_classes   |
| N      | n           |

The literature makes two choices, and results are comparable only where both are the same:

| choice                        | here               | used by                     |
|-------------------------------|--------------------|-----------------------------|
| a draw for each modality      | level="modality"   | MRL, DMCM                   |
| one label for image and text  | level="shared"     | RSHNL, NIRNL                |
| draw from all classes         | exclude_true=False | MRL, DMCM                   |
| draw from the other classes   | exclude_true=True  | the ratio is the wrong share |
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .base import LabelNoise
from .labels import NoisyLabels, read_only_integers


@dataclass(frozen=True)
class SymmetricLabelNoise(LabelNoise):
    """Symmetric label noise: an exact number of labels drawn again, uniformly over the classes.

    By default the draw includes the true class, as in MRL and DMCM, so that the ratio is the share
    drawn and r(K - 1)/K the expected wrong share. With K = 10 classes a ratio of .2, .4, .6 or .8
    makes .18, .36, .54 or .72 of the labels wrong. With `exclude_true` the ratio is the wrong
    share.

    Attributes:
        ratio: Share of the labels to draw again, in each modality, 0 to 1.
        level: "modality" for a draw for each modality, "shared" for one label for both.
        exclude_true: Draw among the other classes only.

    Raises:
        ValueError: If the ratio is outside 0 to 1 or the level is unknown.
    """

    kind = "symmetric_label_noise"
    title = "symmetric label noise: classes drawn anew, uniformly"
    sentences = (
        "Symmetric label noise redraws the class of the share asked of the rows, uniformly over "
        "all classes, the true one included: of K classes, (K - 1) / K of the share asked is "
        "really wrong. At level `modality` image and text are drawn independently; at level "
        "`shared` both get the same label.",
    )
    prefixes: ClassVar = {
        "sym": {"level": "modality", "exclude_true": False},
        "sym_shared": {"level": "shared", "exclude_true": False},
        "sym_other": {"level": "modality", "exclude_true": True},
        "sym_shared_other": {"level": "shared", "exclude_true": True},
    }
    unlisted = ("sym_other", "sym_shared_other")

    exclude_true: bool = False

    def protocol(self) -> dict[str, Any]:
        """What to store with the data, ready for JSON: type, level, ratio and `exclude_true`."""
        return {**super().protocol(), "exclude_true": bool(self.exclude_true)}

    def apply(self, labels: ArrayLike, n_classes: int, rng: np.random.Generator) -> NoisyLabels:
        """Draw exactly round(ratio * n) labels again, first of the images, then of the texts.

        Args:
            labels: True class of each pair, (n,), integers from 0 to n_classes - 1.
            n_classes: Number of classes, those without a pair included.
            rng: Source of randomness.

        Returns:
            The labels of both modalities; `labels` does not change.

        Raises:
            ValueError: If the labels are not a flat integer array, one of them is outside the
                classes, or the true class is excluded and there is no other.
        """
        true = read_only_integers(labels, "labels")  # (n,)
        needed = 2 if self.exclude_true else 1
        if n_classes < needed:
            raise ValueError(
                f"n_classes is {n_classes}, but with exclude_true={self.exclude_true} a label is "
                f"drawn from at least {needed}: give the number of all classes"
            )
        outside = np.flatnonzero((true < 0) | (true >= n_classes))
        if len(outside):
            raise ValueError(
                f"labels has {np.asarray(labels)[outside[0]]} at item {outside[0]}, but classes "
                f"run from 0 to {n_classes - 1}: number them from 0, or give the right n_classes"
            )
        image = self._draw(true, n_classes, rng)  # (n,)
        text = image if self.level == "shared" else self._draw(true, n_classes, rng)  # (n,)
        return NoisyLabels(image=image, text=text, true=true)

    def _draw(
        self, true: NDArray[np.int64], n_classes: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        items = rng.permutation(len(true))[: round(self.ratio * len(true))]  # (n_drawn,)
        draws = rng.integers(n_classes - self.exclude_true, size=len(items))  # (n_drawn,)
        if self.exclude_true:
            draws += draws >= true[items]  # skip the true class
        labels = true.copy()  # (n,)
        labels[items] = draws
        return labels
