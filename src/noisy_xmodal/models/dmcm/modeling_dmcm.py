"""DMCM's model: that of `CommonSpaceModel`, Eq. 1-2 of the paper.

| symbol | here                                   |
|--------|----------------------------------------|
| x      | image_features, text_features          |
| f, z   | image_tower, text_tower, their outputs |
| c_k    | the row k of classifier.weight         |
| tau_1  | config.temperature                     |
"""

from ..common_space.modeling_common_space import CommonSpaceModel
from .configuration_dmcm import DmcmConfig


class DmcmModel(CommonSpaceModel):
    """A tower of three layers a modality onto the unit sphere, and learned class prototypes.

    Args:
        config: Sizes, and the constants of the method.
    """

    config_class = DmcmConfig
    config: DmcmConfig
