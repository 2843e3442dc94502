"""NCR's model: two peers, whose config holds the constants of NCR."""

from ..matching.modeling_peers import PeersModel
from .configuration_ncr import NcrConfig


class NcrModel(PeersModel):
    """Peers A and B; `peer_a.save_pretrained(...)` stores one of them as a `MatchingModel`.

    Args:
        config: Shape of the peers and the constants of the method.
    """

    config_class = NcrConfig
    config: NcrConfig
