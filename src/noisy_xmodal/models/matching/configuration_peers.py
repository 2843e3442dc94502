"""Configuration of two matching models that train and score side by side."""

from dataclasses import fields
from typing import ClassVar

from huggingface_hub.dataclasses import strict

from .configuration_matching import MatchingConfig

#: Fields of the ensemble, such as the match probability, which one peer does not have.
_ENSEMBLE_FIELDS = {"architectures", "match_scale", "match_bias", "method", "method_options"}


@strict
class PeersConfig(MatchingConfig):
    """Configuration of both peers; see `MatchingConfig`."""

    model_type = "noisy_xmodal_peers"
    tie_word_embeddings: ClassVar[bool] = True  # transformers loads shared weights only with this

    def peer_config(self) -> MatchingConfig:
        """Configuration of a single peer."""
        names = {field.name for field in fields(MatchingConfig) if field.init}
        return MatchingConfig(**{name: getattr(self, name) for name in names - _ENSEMBLE_FIELDS})
