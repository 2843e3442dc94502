"""Configuration of NCR: two matching models and the constants of their robust training."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from huggingface_hub.dataclasses import strict

from ...options import Rule
from ..matching.configuration_peers import PeersConfig

_RECTIFIES = Rule(
    lambda config: config.co_rectify,
    "without co-rectification the model predicts no targets. Leave it out.",
)
_CONDITION = "only with co-rectification and an objective other than soft_infonce. Leave it out."


@strict
class NcrConfig(PeersConfig):
    """Configuration of both peers (see `MatchingConfig`) and of their training by NCR.

    Source: Huang et al., "Learning with Noisy Correspondence for Cross-modal Matching", NeurIPS
    2021. The equation numbers are the paper's.

    Args:
        objective: The loss, and what a rectified target sets in it. "triplet": the soft margin of
            the hardest negatives (Eq. 6-7). "mean_triplet": the same with all negatives, more
            stable for small models. "sum_triplet": with their sum. "infonce": the weight of the
            pair's symmetric cross-entropy. "soft_infonce": the pair's mass in the target
            distribution of the cross-entropy.
        margin: alpha of Eq. 2 and 7.
        soft_margin: Curve of Eq. 7, "exponential", "linear" or "sine". It also applies to the
            weights of "infonce".
        curve: m of Eq. 7.
        clean_threshold: Smallest posterior of a clean pair.
        anchor_share: Share of a chunk's pairs whose mean margin is tau of Eq. 5.
        rectification: "epoch": Eq. 4-5 once per division, over the fixed chunks of the loss pass.
            "batch": for every mini-batch, as in Algorithm 1, with one more forward pass per step.
        co_rectify: False uses only the division (clean pairs have full weight, noisy ones serve as
            negatives only), the paper's ablation "co-divide".
        co_divide: False divides nothing: the target of every pair is the mean prediction of both
            peers (the second line of Eq. 4), the paper's ablation "co-rectify".
    """

    model_type = "noisy_xmodal_ncr"

    rules: ClassVar[Mapping[str, Rule]] = {
        **PeersConfig.rules,
        "margin": Rule(
            lambda config: "infonce" not in config.objective,
            "only the triplet objectives have a margin. Leave it out.",
        ),
        "soft_margin": Rule(
            lambda config: config.co_rectify and config.objective != "soft_infonce",
            f"the soft margin applies {_CONDITION}",
        ),
        "curve": Rule(
            lambda config: (
                config.co_rectify
                and config.objective != "soft_infonce"
                and config.soft_margin == "exponential"
            ),
            f"the exponential soft margin applies {_CONDITION}",
        ),
        "clean_threshold": Rule(
            lambda config: config.co_divide, "without co-divide no pair is divided. Leave it out."
        ),
        "anchor_share": _RECTIFIES,
        "rectification": _RECTIFIES,
    }

    objective: Literal["triplet", "mean_triplet", "sum_triplet", "infonce", "soft_infonce"] = (
        "triplet"
    )
    margin: float | int = 0.2
    soft_margin: Literal["exponential", "linear", "sine"] = "exponential"
    curve: float | int = 10
    clean_threshold: float | int = 0.5
    anchor_share: float | int = 0.1
    rectification: Literal["epoch", "batch"] = "epoch"
    co_rectify: bool = True
    co_divide: bool = True

    def validate_method(self) -> None:
        """Reject constants outside the range of the equations."""
        if self.margin <= 0:
            raise ValueError(f"`margin` must be positive, found {self.margin}.")
        if not (self.co_rectify or self.co_divide):
            raise ValueError(
                "`co_rectify` and `co_divide` are both False: nothing of NCR is left. Set one of "
                "them, or `robust` to False in the training arguments."
            )
        if self.curve <= 0 or self.curve == 1:
            raise ValueError(f"`curve` must be positive and not 1, found {self.curve}.")
        if not 0 <= self.clean_threshold <= 1:
            raise ValueError(f"`clean_threshold` must be in [0, 1], found {self.clean_threshold}.")
        if not 0 < self.anchor_share <= 1:
            raise ValueError(f"`anchor_share` must be in (0, 1], found {self.anchor_share}.")
