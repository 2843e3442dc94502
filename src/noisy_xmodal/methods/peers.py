"""Two networks of which each is trained by the division that the other one made."""

from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from ..losses import log_match_probabilities
from ..noise import co_rectify
from ..training import Method, PairBatch


class PeerMethod(Method):
    """The base of methods with two networks that divide the pairs for each other."""

    n_networks = 2
    row_kind = "peer"
    row_names: ClassVar[tuple[str, ...]] = ("a", "b")
    is_dividing = True

    def judge_of(self, peer: int) -> int:
        """The network whose division trains a peer: the other one."""
        return 1 - peer

    def of_judges(self, name: str) -> np.ndarray:
        """An entry of the pair state by the judge of each peer, (2, n_pairs)."""
        return self.engine.pair_state[name][[self.judge_of(peer) for peer in (0, 1)]]

    def rectified(self) -> np.ndarray:
        """Targets of both peers by NCR's Eq. 4, (2, n_pairs), from predictions and divisions."""
        prediction = self.engine.pair_state["prediction"]
        return co_rectify(
            given=1.0,
            predicted=prediction,
            peer_predicted=prediction[::-1],
            clean_probability=self.of_judges("clean_probability"),
            is_clean=self.of_judges("is_clean"),
        )

    def batch_mask(self, network: int) -> np.ndarray | None:
        """Every mini-batch holds clean and noisy pairs as the division has them."""
        if "is_clean" not in self.engine.pair_state:
            return None
        return self.engine.pair_state["is_clean"][self.judge_of(network)].astype(bool)

    def progress(self) -> float:
        """Share of the epochs after the warm-up that are over, 0 to 1."""
        first = self.args.warmup_epochs
        return (self.engine.epoch - first) / max(1.0, self.engine.n_epochs - first)


class ContrastivePeers(PeerMethod):
    """The base of those whose loss is a cross-entropy; tau is their constant `temperature`."""

    def log_match(self, scores: Tensor, negatives: Tensor) -> Tensor:
        """Logarithms of P and Q, the softmax of S / tau in both directions, (2, n, n)."""
        return log_match_probabilities(scores / self.constants.temperature, negatives)

    def warm_up_loss(self, output: Any, batch: PairBatch) -> Tensor:
        """CE, -log P_ii - log Q_ii, (n_pairs,)."""
        return -self.log_match(output.scores, batch.negatives).diagonal(dim1=1, dim2=2).sum(dim=0)

    def loss_pass(self, output: Any, batch: PairBatch) -> dict[str, Tensor]:
        """CE and p, the mean of P_ii and Q_ii, (n_pairs,) each."""
        own = self.log_match(output.scores, batch.negatives).diagonal(dim1=1, dim2=2)
        return {"loss": -own.sum(dim=0), "prediction": own.exp().mean(dim=0)}
