"""NCR's training: co-divide, co-rectify, soft margins, by two networks that teach each other.

Source: Huang et al., "Learning with Noisy Correspondence for Cross-modal Matching", NeurIPS 2021,
Algorithm 1. Read in this order:

| lines | equations | what                                 | where                            |
|-------|-----------|--------------------------------------|----------------------------------|
| 1     | 2         | warm-up on all pairs                 | `TripletObjective.warm_up`       |
| 3-4   | 1, 2      | per-pair losses over fixed chunks    | `RobustTrainer.assess_pairs`     |
| 3-4   | 3         | mixture, posterior of the lower mean | `noise.clean_posterior`          |
| 6-7   |           | division at 0.5                      | `training.DivisionCallback`      |
| 6-7   |           | swapped roles                        | `CoTeachingTrainer.judge_of`     |
| 9     |           | clean and noisy pairs in a batch     | `data.samplers.PeerBatchSampler` |
| 10    | 5         | adaptive prediction P                | `rectification_ncr`              |
| 10    | 4         | rectified targets                    | `noise.co_rectify`, here         |
| 11    | 6, 7      | hardest negatives, soft margins      | `TripletObjective.robust`        |

Departures, all of them options or harmless by construction:

* An epoch visits every pair once (the paper's num_steps is not given; the code stops with the clean
  pairs), and noisy pairs take part from the first epoch after the warm-up, in the same step.
* Targets are rectified once per division, over the same fixed chunks as the losses, so that they
  are known, logged and saved. `rectification="batch"` is Algorithm 1's line 10 to the letter.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from ...noise import co_rectify
from ...training import OBJECTIVES, CoTeachingTrainer, PairBatch, RobustTrainingArguments
from ...training.objectives import ScoredBatch
from .modeling_ncr import NcrModel
from .rectification_ncr import adaptive_prediction


class NcrTrainer(CoTeachingTrainer):
    """Trains an `NcrModel`; with `args.robust = False`, the same two networks without NCR.

    Args:
        model: The two peers; their config holds the method's constants.
        args: `warmup_epochs` and everything that transformers' arguments have.
        kwargs: See `MatchingTrainer`.
    """

    def __init__(self, model: NcrModel, args: RobustTrainingArguments, **kwargs: Any) -> None:
        self.method = model.config
        self.clean_threshold = self.method.clean_threshold
        objective = OBJECTIVES[self.method.objective](
            self.method.margin, self.method.soft_margin, self.method.curve
        )
        super().__init__(model, args, objective=objective, **kwargs)

    def predict_match(self, output: ScoredBatch, negatives: Tensor) -> Tensor:
        """Eq. 5 for a batch of one network, (n_pairs,)."""
        return adaptive_prediction(
            output.scores,
            negatives,
            ceiling=self.objective.prediction_ceiling,
            anchor_share=self.method.anchor_share,
        )

    def assess(self, output: ScoredBatch, negatives: Tensor) -> dict[str, Tensor]:
        """Losses for the mixture (Eq. 1) and predictions for the targets (Eq. 5)."""
        prediction = self.predict_match(output, negatives)
        return super().assess(output, negatives) | {"prediction": prediction}

    def refurbish(self) -> np.ndarray | None:
        """Eq. 4 for both networks, each with the division that the other one made."""
        if not self.method.co_rectify:
            return None
        prediction = self.pair_state["prediction"]
        return co_rectify(
            given=1.0,
            predicted=prediction,
            peer_predicted=prediction[::-1],
            clean_probability=self._swapped("clean_probability"),
            is_clean=self._swapped("is_clean"),
        )

    def training_targets(self, output: ScoredBatch, batch: PairBatch) -> Tensor:
        """The targets of the epoch, or of this batch by Algorithm 1, (n_pairs,)."""
        if not (self.args.robust and self.method.co_rectify):
            return super().training_targets(output, batch)
        if self.method.rectification == "epoch":
            return self.look_up("target", batch)
        own, other = (
            self.predict_match(self.eval_scores(peer, batch), batch.negatives)
            for peer in (batch.peer, 1 - batch.peer)
        )
        judged = replace(batch, peer=self.judge_of(batch.peer))
        probability, is_clean = (
            self.look_up(name, judged).to(own) for name in ("clean_probability", "is_clean")
        )
        return co_rectify(1.0, own, other, probability, is_clean)

    def sample_weights(self, batch: PairBatch) -> Tensor | None:
        """Without co-rectification, noisy pairs are negatives and nothing else."""
        return None if self.method.co_rectify else super().sample_weights(batch)

    def _swapped(self, name: str) -> np.ndarray:
        judges = [self.judge_of(peer) for peer in range(self.n_peers)]
        return self.pair_state[name][judges]
