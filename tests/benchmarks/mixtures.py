"""Fits of a beta mixture to losses, beside the published one and scikit-learn's Gaussian one."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np
import scipy.stats
from numpy.typing import NDArray
from published import Repository
from sklearn.mixture import GaussianMixture
from work import Task, Work

from noisy_xmodal.noise import BetaMixture

Losses = NDArray[np.float64]


class BetaMixtureFit(Work):
    """The losses of Flickr30K's 145,000 pairs; the two mixtures need not be the same, only good."""

    title = "BetaMixture().fit, against the moment matching of Arazo et al. in 10 iterations"
    repository = "PaulAlbert31/LabelNoiseCorrection"
    peer_name = "scikit-learn GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4)"
    targets: ClassVar = {"cpu": 10.0}
    tolerance = 1e-6

    full_size = 145_000
    #: Part of the losses that the published code and the peer are timed on.
    part = 1.0

    @property
    def sizes(self) -> dict[str, int]:
        """How many losses."""
        return {"losses": self.sized(self.full_size, least=1000)}

    def losses(self, part: float = 1.0) -> Losses:
        """Made-up losses, 40 % of them of wrong pairs, or fewer of the same kind."""
        rng, n = np.random.default_rng(0), round(part * self.sizes["losses"])
        return np.where(rng.random(n) < 0.4, rng.beta(5, 3, n), rng.beta(2, 8, n))  # (n,)

    def check(self, repository: Repository | None) -> float | None:
        """By how much the published mixture is more likely than ours, a mean over the losses."""
        losses = self.losses()
        mixture = BetaMixture().fit(losses)
        ours = mixture.score(losses)
        self.notes["log-likelihood of ours"] = ours
        self.notes["iterations of ours"] = mixture.n_iter_
        if repository is None:
            return None
        inside = np.clip(losses, 1e-4, 1 - 1e-4)  # as both fit it
        fitted = published_mixture(repository)().fit(losses)
        theirs = -float(fitted.score_samples(inside).mean())  # it returns the negative logarithm
        self.notes["log-likelihood of the published"] = theirs
        return max(0.0, theirs - ours)

    def ours(self) -> Task:
        """A fit from the start."""
        losses = self.losses()
        return Task(lambda: BetaMixture().fit(losses))

    def published(self, repository: Repository) -> Task:
        """A fit by the published code, on a part of the losses where it would take minutes."""
        losses, new_mixture = self.losses(self.part), published_mixture(repository)
        return Task(lambda: new_mixture().fit(losses), **self._scaled(losses))

    def peer(self) -> Task:
        """A fit of a Gaussian mixture, as NCR and DivideMix do it."""
        losses = self.losses(self.part)[:, None]
        options = {"max_iter": 10, "tol": 1e-2, "reg_covar": 5e-4, "random_state": 0}
        return Task(lambda: GaussianMixture(2, **options).fit(losses), **self._scaled(losses))

    def floor(self) -> Task:
        """The sum of the losses."""
        losses = self.losses()
        return Task(losses.sum, note="one read of the losses (their sum)")

    def _scaled(self, losses: NDArray[Any]) -> dict[str, Any]:
        n = self.sizes["losses"]
        note = "" if len(losses) == n else f"timed on {len(losses):,} of {n:,} losses"
        return {"scale": n / len(losses), "note": note}


class LargeBetaMixtureFit(BetaMixtureFit):
    """Ten million losses, more than any dataset of the field has pairs."""

    full_size = 10_000_000
    part = 0.05


def published_mixture(repository: Repository) -> Callable[[], Any]:
    """Makes mixtures of the published code."""
    found = repository.names(
        "utils.py",
        ["weighted_mean", "fit_beta_weighted", "BetaMixture1D"],
        {"np": np, "stats": scipy.stats},
    )
    return partial(found.BetaMixture1D, max_iters=10)
