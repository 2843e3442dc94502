"""Symmetric label noise: classes of image-text pairs replaced by random ones.

Source: Ding et al., "Dual-Mix for Cross-Modal Retrieval with Noisy Labels" (DMCM), Section 3,
after the protocol of Hu et al., "Learning Cross-Modal Retrieval with Noisy Labels" (MRL),
CVPR 2021.

| symbol | in the code |
|--------|-------------|
| r      | ratio       |
| K      | n_classes   |
| N      | n           |

Two choices stand behind one percentage in the literature, and results are comparable only where
both are the same:

| choice               | here                  | used by               |
|----------------------|-----------------------|-----------------------|
| each modality apart  | shared=False          | MRL, DMCM             |
| one label per pair   | shared=True           | RSHNL, NIRNL          |
| true class drawn too | exclude_true=False    | MRL, DMCM             |
| another class always | exclude_true=True     | share asked is found  |
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .checks import check_labels, check_ratio


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """The labels that the two modalities of a pair are given, and the true ones.

    Attributes:
        image: Class that each image is given, (n,), int64, read-only.
        text: Class that each text is given, (n,), int64, read-only.
        true: Class that both are of, (n,), int64, read-only.
    """

    image: NDArray[np.int64]
    text: NDArray[np.int64]
    true: NDArray[np.int64]

    def __post_init__(self) -> None:
        for field in ("image", "text", "true"):
            copy = check_labels(getattr(self, field), field).astype(np.int64)  # (n,)
            copy.flags.writeable = False
            object.__setattr__(self, field, copy)
        sizes = len(self.image), len(self.text), len(self.true)
        if len(set(sizes)) > 1:
            raise ValueError(
                f"image, text and true have {sizes[0]}, {sizes[1]} and {sizes[2]} entries: "
                "give one of each per pair"
            )

    @classmethod
    def clean(cls, labels: ArrayLike) -> "NoisyLabels":
        """Labels without noise.

        Args:
            labels: Class of each pair, (n,).

        Returns:
            Labels of which image, text and true are the same.
        """
        true = check_labels(labels)
        return cls(image=true, text=true, true=true)

    @property
    def image_is_wrong(self) -> NDArray[np.bool_]:
        """True where the image is given a class that it is not of, (n,)."""
        return self.image != self.true

    @property
    def text_is_wrong(self) -> NDArray[np.bool_]:
        """True where the text is given a class that it is not of, (n,)."""
        return self.text != self.true


@dataclass(frozen=True)
class SymmetricLabelNoise:
    """Symmetric label noise: an exact number of labels drawn anew, uniformly over the classes.

    By default the draw includes the true class, as in MRL and DMCM, so that the ratio is the share
    drawn and r(K - 1)/K the expected share that is wrong. With K = 10 classes a ratio of .2, .4,
    .6 or .8 makes .18, .36, .54 or .72 of the labels wrong. With `exclude_true` the ratio is the
    share that is wrong.

    Attributes:
        ratio: Share of the labels to draw anew, in each modality, 0 to 1.
        shared: Give both modalities the same labels, in place of a draw for each.
        exclude_true: Draw among the other classes only.

    Raises:
        ValueError: If the ratio is outside 0 to 1.
    """

    ratio: float
    shared: bool = False
    exclude_true: bool = False

    def __post_init__(self) -> None:
        check_ratio(self.ratio)

    @property
    def level(self) -> str:
        """What a label belongs to: "shared" by the pair, or "modality"."""
        return "shared" if self.shared else "modality"

    @property
    def name(self) -> str:
        """Name of the dataset configuration with this noise, such as "sym_40"."""
        prefix = "sym" + "_shared" * self.shared + "_other" * self.exclude_true
        return f"{prefix}_{100 * self.ratio:g}"

    def protocol(self) -> dict[str, Any]:
        """What to store with the data: type, level, ratio asked and convention, ready for JSON."""
        return {
            "type": "symmetric_label_noise",
            "level": self.level,
            "ratio": float(self.ratio),
            "exclude_true": bool(self.exclude_true),
        }

    def apply(self, labels: ArrayLike, n_classes: int, rng: np.random.Generator) -> NoisyLabels:
        """Draw exactly round(ratio * n) labels anew, first of the images, then of the texts.

        Args:
            labels: True class of each pair, (n,), whole numbers from 0 to n_classes - 1.
            n_classes: Number of classes, those without a pair included.
            rng: Source of randomness.

        Returns:
            The labels of both modalities; `labels` is left as it is.

        Raises:
            ValueError: If the labels are no flat integer array, one of them is outside the
                classes, or the true class is excluded and there is no other.
        """
        given = check_labels(labels)  # (n,)
        needed = 2 if self.exclude_true else 1
        if n_classes < needed:
            raise ValueError(
                f"n_classes is {n_classes}, but with exclude_true={self.exclude_true} a label is "
                f"drawn from at least {needed}: give the number of all classes"
            )
        outside = np.flatnonzero((given < 0) | (given >= n_classes))
        if len(outside):
            raise ValueError(
                f"labels has {given[outside[0]]} at item {outside[0]}, but classes run from 0 to "
                f"{n_classes - 1}: number the classes from 0, or give the right n_classes"
            )
        true = given.astype(np.int64)  # (n,)
        image = self._draw(true, n_classes, rng)  # (n,)
        text = image if self.shared else self._draw(true, n_classes, rng)  # (n,)
        return NoisyLabels(image=image, text=text, true=true)

    def _draw(
        self, true: NDArray[np.int64], n_classes: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        chosen = rng.permutation(len(true))[: round(self.ratio * len(true))]  # (n_chosen,)
        drawn = rng.integers(n_classes - self.exclude_true, size=len(chosen))  # (n_chosen,)
        if self.exclude_true:
            drawn += drawn >= true[chosen]  # the classes from the true one on move up by one
        given = true.copy()  # (n,)
        given[chosen] = drawn
        return given
