"""NCR's model: two peers, with the constants of NCR in the config."""

from ..matching.modeling_peers import PeersModel
from .configuration_ncr import NcrConfig


class NcrModel(PeersModel):
    """Peers A and B; `peer_a.save_pretrained(...)` saves one of them as a `MatchingModel`.

    Args:
        config: Shape of the peers and the constants of the method.
    """

    config_class = NcrConfig
    config: NcrConfig
