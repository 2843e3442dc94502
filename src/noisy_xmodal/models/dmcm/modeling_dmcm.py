"""DMCM's model, a `CommonSpaceModel`: Eq. 1-2 of the paper.

| symbol | here                                   |
|--------|----------------------------------------|
| x      | image_features, text_features          |
| f, z   | image_tower, text_tower, their outputs |
| c_k    | row k of classifier.weight             |
| tau_1  | config.temperature                     |
"""

from ..common_space.modeling_common_space import CommonSpaceModel
from .configuration_dmcm import DmcmConfig


class DmcmModel(CommonSpaceModel):
    """Two towers of three layers with unit-length outputs, and learned class prototypes.

    Args:
        config: Sizes and the constants of the method.
    """

    config_class = DmcmConfig
    config: DmcmConfig
