"""Models, one folder per family, registered with the Auto classes of transformers.

Importing any module of this package registers all of them.
"""

from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoProcessor

from ..modules.efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteModel
from .common_space.configuration_common_space import CommonSpaceConfig
from .common_space.modeling_common_space import CommonSpaceModel
from .common_space.processing_common_space import CommonSpaceProcessor
from .dmcm.configuration_dmcm import DmcmConfig
from .dmcm.modeling_dmcm import DmcmModel
from .dmcm.processing_dmcm import DmcmProcessor
from .encoder_pair.configuration_encoder_pair import EncoderPairConfig
from .encoder_pair.modeling_encoder_pair import EncoderPairModel
from .encoder_pair.processing_encoder_pair import EncoderPairProcessor
from .matching.configuration_matching import MatchingConfig
from .matching.configuration_peers import PeersConfig
from .matching.modeling_matching import MatchingModel
from .matching.modeling_peers import PeersModel
from .matching.processing_matching import MatchingProcessor, RegionFeatureProcessor
from .ncr.configuration_ncr import NcrConfig
from .ncr.modeling_ncr import NcrModel
from .ncr.processing_ncr import NcrProcessor
from .rcar.configuration_rcar import RcarConfig
from .rcar.modeling_rcar import RcarModel
from .rcar.processing_rcar import RcarProcessor

for _config, _model, _processor in (
    (MatchingConfig, MatchingModel, MatchingProcessor),
    (PeersConfig, PeersModel, MatchingProcessor),
    (NcrConfig, NcrModel, NcrProcessor),
    (RcarConfig, RcarModel, RcarProcessor),
    (CommonSpaceConfig, CommonSpaceModel, CommonSpaceProcessor),
    (DmcmConfig, DmcmModel, DmcmProcessor),
    (EncoderPairConfig, EncoderPairModel, EncoderPairProcessor),
):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoModel.register(_config, _model, exist_ok=True)
    AutoProcessor.register(_config, _processor, exist_ok=True)
for _config in (MatchingConfig, PeersConfig, NcrConfig, RcarConfig):
    AutoImageProcessor.register(
        _config, image_processor_classes={"pil": RegionFeatureProcessor}, exist_ok=True
    )
AutoConfig.register(EfficientNetLiteConfig.model_type, EfficientNetLiteConfig, exist_ok=True)
AutoModel.register(EfficientNetLiteConfig, EfficientNetLiteModel, exist_ok=True)
