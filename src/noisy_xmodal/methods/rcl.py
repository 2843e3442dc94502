"""RCL: complementary contrastive learning, which pushes negatives away and pulls no pair.

Source: Hu, Huang, Peng, Wang and Peng, "Cross-Modal Retrieval with Partially Mismatched Pairs",
TPAMI 2023. A pair may be wrong, but an image and a text that are drawn at random hardly ever belong
together, so RCL learns from the negatives alone. It divides nothing and keeps nothing of a pair.

| symbol   | here                  | meaning                                                     |
|----------|-----------------------|-------------------------------------------------------------|
| S        | output.scores         | similarity of each image and text, (b, b)                   |
| tau      | constants.temperature | temperature                                                 |
| P, Q     | match[0], match[1]    | softmax of S / tau over the texts of an image, and over the |
|          |                       | images of a text                                            |
| 1 - P_ij |                       | probability that text j is not the one of image i           |
| f        | COMPLEMENTS           | -log(1 - x), or a bounded variant, by `complement`          |
| L_i      | loss                  | sum over j != i of f(P_ij) + f(Q_ij)                        |

Decisions:

* The other captions of an image, and equal captions, are no negatives. The published code pushes
  them away.
* With a low temperature the loss is flat until the negatives differ, which takes thousands of
  steps. The small recipe has .2.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..arguments.training import RobustOptions
from ..losses import log_match_probabilities
from ..options import Rule, never_read
from ..training import Constant, Method, PairBatch, PairTask
from ..training.method import Fields

_HIGHEST = 1 - 1e-6  # the logarithm and the root have an infinite slope at 1

#: How much the probability of a negative costs, by the name of the option `complement`.
COMPLEMENTS: dict[str, Callable[[Tensor], Tensor]] = {
    "log": lambda match: -torch.log1p(-match.clamp(max=_HIGHEST)),
    "tan": torch.tan,
    "abs": lambda match: match,
    "exp": lambda match: torch.exp(match - 1),
    "gce": lambda match: (1 - (1 - match.clamp(max=_HIGHEST)).sqrt()) / 0.5,
}


class Rcl(Method):
    """One network that learns from negatives alone."""

    title = "RCL"
    citation = """@article{hu2023cross,
  title   = {Cross-Modal Retrieval with Partially Mismatched Pairs},
  author  = {Hu, Peng and Huang, Zhenyu and Peng, Dezhong and Wang, Xu and Peng, Xi},
  journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
  volume  = {45},
  number  = {8},
  pages   = {9595--9610},
  year    = {2023}
}"""
    task = PairTask
    options: ClassVar[Mapping[str, Constant]] = {
        "temperature": Constant(0.05, 1e-3, 10),
        "complement": Constant("log", choices=tuple(COMPLEMENTS)),
    }
    argument_rules: ClassVar[Mapping[str, Rule]] = {
        "robust": never_read(
            "the method divides nothing, so nothing can be left out. Leave it out."
        ),
        "warmup_epochs": never_read(
            "the method has one loss for all epochs. Leave it out.",
            same=(RobustOptions.warmup_epochs,),
        ),
    }
    recipe: ClassVar[Fields] = {
        "warmup_epochs": 0,
        "method_options": json.dumps({"temperature": 0.2}),
    }

    def loss(self, output: Any, batch: PairBatch) -> Tensor:
        """What the negatives of each pair cost, in both directions, (n_pairs,)."""
        logits = output.scores / self.constants.temperature
        match = log_match_probabilities(logits, batch.negatives).exp()  # (2, n_pairs, n_pairs)
        costs = COMPLEMENTS[self.constants.complement](match)
        negatives = torch.stack([batch.negatives, batch.negatives.T])
        return costs.masked_fill(~negatives, 0).sum(dim=(0, 2))
