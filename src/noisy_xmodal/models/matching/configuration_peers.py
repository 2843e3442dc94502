"""Configuration of two matching models that train and score side by side."""

from dataclasses import fields

from huggingface_hub.dataclasses import strict

from .configuration_matching import MatchingConfig

#: Fields of the two together: the match probability is that of the ensemble.
_OF_BOTH = {"architectures", "match_scale", "match_bias", "method", "method_options"}


@strict
class PeersConfig(MatchingConfig):
    """What both peers are made of, see `MatchingConfig`."""

    model_type = "noisy_xmodal_peers"

    def peer_config(self) -> MatchingConfig:
        """The configuration of one peer alone."""
        names = {field.name for field in fields(MatchingConfig) if field.init}
        return MatchingConfig(**{name: getattr(self, name) for name in names - _OF_BOTH})
