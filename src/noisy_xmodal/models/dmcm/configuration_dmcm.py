"""Configuration of DMCM: the towers and the constants of its training."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict

from ...options import Rule
from ..common_space.configuration_common_space import CommonSpaceConfig

_CONTRASTS = Rule(
    lambda config: config.beta < 1,
    "with `beta` 1 the contrastive loss has no weight. Leave it out.",
)


@strict
class DmcmConfig(CommonSpaceConfig):
    """Configuration of a `DmcmModel` (see `CommonSpaceConfig`) and of its training by DMCM.

    Source: Ding et al., "Dual-Mix for Cross-Modal Retrieval with Noisy Labels". The paper gives
    neither rho nor lambda; .7 and .1 are the values in the code for its Fig. 3.

    Args:
        class_loss: L_m of Eq. 3, a name for `classification_loss`; "ngce" and "mae" are the
            ablations of Table 3.
        class_loss_options: Options of the class loss, such as `{"rho": 0.7}`.
        beta: Weight of L_m in Eq. 8; 1 - beta is the weight of the contrastive loss.
        contrastive_temperature: tau_2 of Eq. 7.
        self_similarity: Whether Eq. 7 counts an embedding's similarity with itself, as printed.
        mixing_weight: lambda of Eq. 6, the share of the noisy sample; 1 leaves it unchanged.
        mixture_scope: "epoch": one mixture per modality over all training pairs at the beginning
            of each epoch, as in the paper's text. "batch": one per mini-batch, as in the published
            code.
        mixture: "beta", or "gaussian" for comparison.
        monotone: Whether the clean probability never increases with the loss.
        selection: Which samples count as clean: "rate" (the share 1 - noise_rate), "threshold"
            (posterior of at least `clean_threshold`) or "estimated" (the rate is the weight of the
            mixture's high-loss component). Default: "rate" with a noise rate, "estimated" without
            one.
        noise_rate: r, for the selection "rate".
        clean_threshold: delta, for the selection "threshold".
    """

    model_type = "noisy_xmodal_dmcm"

    rules: ClassVar[Mapping[str, Rule]] = {
        **CommonSpaceConfig.rules,
        "contrastive_temperature": _CONTRASTS,
        "self_similarity": _CONTRASTS,
        "clean_threshold": Rule(
            lambda config: config.selection == "threshold",
            "no threshold selects the clean samples. Set `selection` to 'threshold', or leave it "
            "out.",
        ),
    }

    class_loss: str = "ngce+mae"
    class_loss_options: dict[str, Any] | None = None
    beta: float | int = 0.85
    contrastive_temperature: float | int = 1.0
    self_similarity: bool = False
    mixing_weight: float | int = 0.1
    mixture_scope: Literal["epoch", "batch"] = "epoch"
    mixture: Literal["beta", "gaussian"] = "beta"
    monotone: bool = True
    selection: Literal["rate", "threshold", "estimated"] | None = None
    noise_rate: float | int | None = None
    clean_threshold: float | int = 0.5

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.selection is None:
            self.selection = "estimated" if self.noise_rate is None else "rate"

    def validate_method(self) -> None:
        """Reject constants outside the range of the equations."""
        for name in ("beta", "mixing_weight", "clean_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` must be in [0, 1], found {getattr(self, name)}.")
        if not self.contrastive_temperature > 0:
            raise ValueError(
                f"`contrastive_temperature` must be positive, found {self.contrastive_temperature}."
            )
        if self.classifier == "none":
            raise ValueError("DMCM needs class logits: `classifier` must not be 'none'.")
        if (self.selection == "rate") != (self.noise_rate is not None):
            raise ValueError(
                f"`selection` is {self.selection!r} and `noise_rate` {self.noise_rate}: set "
                "`noise_rate` with the selection 'rate', and with no other selection."
            )
        if self.noise_rate is not None and not 0 <= self.noise_rate <= 1:
            raise ValueError(f"`noise_rate` must be in [0, 1], found {self.noise_rate}.")
