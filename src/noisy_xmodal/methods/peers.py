"""Two networks of which each is trained by the division that the other one made."""

from typing import ClassVar

import numpy as np

from ..training import Method


class PeerMethod(Method):
    """The base of methods with two networks that divide the pairs for each other."""

    n_networks = 2
    row_kind = "peer"
    row_names: ClassVar[tuple[str, ...]] = ("a", "b")
    is_dividing = True

    def judge_of(self, peer: int) -> int:
        """The network whose division trains a peer: the other one."""
        return 1 - peer

    def batch_mask(self, network: int) -> np.ndarray | None:
        """Every mini-batch holds clean and noisy pairs as the division has them."""
        if "is_clean" not in self.engine.pair_state:
            return None
        return self.engine.pair_state["is_clean"][self.judge_of(network)].astype(bool)

    def progress(self) -> float:
        """Share of the epochs after the warm-up that are over, 0 to 1."""
        first = self.args.warmup_epochs
        return (self.engine.epoch - first) / max(1.0, self.engine.n_epochs - first)
