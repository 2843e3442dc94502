"""All methods for pairs with classes by name, and the model of each for some data."""

import dataclasses
from typing import Any

from ..data import LabelDataset
from ..training import LabelTrainer
from .baselines.class_loss import ClassLossTrainer
from .baselines.dcca import DccaTrainer
from .baselines.dccae import DccaeTrainer
from .baselines.dscmr import DscmrTrainer
from .baselines.lcn import LcnTrainer
from .baselines.mrl import MrlTrainer, MrlWarmupTrainer
from .baselines.sdml import SdmlTrainer
from .common_space.configuration_common_space import CommonSpaceConfig
from .common_space.modeling_common_space import CommonSpaceModel
from .dmcm.configuration_dmcm import DmcmConfig
from .dmcm.modeling_dmcm import DmcmModel
from .dmcm.trainer_dmcm import DmcmTrainer

#: Trainers of common-space models by the name that `--method` takes.
LABEL_METHODS: dict[str, type[LabelTrainer]] = {
    "dmcm": DmcmTrainer,
    "mrl": MrlTrainer,
    "mrl_warmup": MrlWarmupTrainer,
    "lcn": LcnTrainer,
    "ce": ClassLossTrainer,
    "sdml": SdmlTrainer,
    "dscmr": DscmrTrainer,
    "dcca": DccaTrainer,
    "dccae": DccaeTrainer,
}


def build_label_model(method: str, pairs: LabelDataset, **fields: Any) -> CommonSpaceModel:
    """Build a method's model for the sizes and classes of some data.

    Args:
        method: A name in `LABEL_METHODS`.
        pairs: The training pairs.
        fields: Fields of `CommonSpaceConfig`, or of `DmcmConfig`, that differ from the method's.

    Returns:
        A fresh model, with what the method is made of in its config.

    Raises:
        ValueError: If there is no such method, or a field has an impossible value.
    """
    if method not in LABEL_METHODS:
        raise ValueError(f"there is no method {method!r}; there are: {', '.join(LABEL_METHODS)}.")
    sizes: dict[str, Any] = {
        "n_classes": pairs.n_classes,
        "id2label": dict(enumerate(pairs.class_names)),
    }
    if pairs.has_features:
        sizes |= {
            "image_size": pairs.image_features.shape[1],
            "text_size": pairs.text_features.shape[1],
        }
    shape = dict(LABEL_METHODS[method].shape)
    if "canonical_size" in shape and "embedding_size" in fields:
        shape["canonical_size"] = min(shape["canonical_size"], fields["embedding_size"])
    kind = DmcmConfig if method == "dmcm" else CommonSpaceConfig
    known = {field.name for field in dataclasses.fields(kind)}
    unknown = sorted(set(fields) - known)
    if unknown:
        raise ValueError(
            f"{kind.__name__} has no field {unknown[0]!r}; it has: {', '.join(sorted(known))}."
        )
    fields = sizes | shape | {"method": method} | fields
    config = kind(**fields)
    return DmcmModel(config) if method == "dmcm" else CommonSpaceModel(config)
