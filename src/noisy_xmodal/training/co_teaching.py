"""Two networks that train side by side, each on the division that the other one made.

Source: co-teaching (Han et al., NeurIPS 2018) as NCR (Huang et al., NeurIPS 2021) uses it. Two
peers under one Adam are the same as two optimisers, since it works parameter by parameter and
gradients are clipped for each peer.
"""

import torch
from torch import Tensor, nn

from .matching_trainer import MatchingTrainer
from .objectives import ScoredBatch
from .pair_trainer import PairBatch


class CoTeachingTrainer(MatchingTrainer):
    """`MatchingTrainer` over a model with `peers`; see there for the arguments.

    Every peer has its own order of the pairs, and its pairs meet its own pairs only.
    """

    n_peers = 2
    row_names = ("a", "b")

    def judge_of(self, peer: int) -> int:
        """The other peer."""
        return 1 - peer

    def networks(self) -> tuple[nn.Module, ...]:
        """Both peers, without wrappers."""
        return self.accelerator.unwrap_model(self.model).peers

    def run_networks(
        self, model: nn.Module, inputs: dict[str, Tensor]
    ) -> tuple[list[ScoredBatch], list[PairBatch]]:
        """One forward pass through the wrapper, in which each peer reads its own pairs."""
        peer = inputs.pop("peer")  # (n_pairs of both,)
        gather = self.args.gather_negatives
        batches = [
            self.make_batch(k, {name: values[peer == k] for name, values in inputs.items()}, gather)
            for k in range(self.n_peers)
        ]
        del inputs["pair_id"], inputs["image_row"]
        return list(model(**inputs, peer=peer, **self.forward_options).peers), batches

    @torch.no_grad()
    def eval_scores(self, peer: int, batch: PairBatch) -> ScoredBatch:
        """What a peer makes of a batch in eval mode, without gradients."""
        network = self.networks()[peer]
        network.eval()
        with self.accelerator.autocast():
            output = network(**batch.inputs, **self.forward_options)
        network.train()
        return output
