"""The model that a method trains, by the name of the method."""

import dataclasses
from typing import Any

from ..data import LabelDataset
from ..models.common_space.configuration_common_space import CommonSpaceConfig
from ..models.common_space.modeling_common_space import CommonSpaceModel
from ..models.common_space.processing_common_space import CommonSpaceProcessor
from ..models.dmcm.configuration_dmcm import DmcmConfig
from ..models.dmcm.modeling_dmcm import DmcmModel
from ..models.dmcm.processing_dmcm import DmcmProcessor
from ..models.matching.configuration_matching import MatchingConfig
from ..models.matching.configuration_peers import PeersConfig
from ..models.matching.modeling_matching import MatchingModel
from ..models.matching.modeling_peers import PeersModel
from ..models.matching.processing_matching import MatchingProcessor
from ..models.ncr.configuration_ncr import NcrConfig
from ..models.ncr.modeling_ncr import NcrModel
from ..models.ncr.processing_ncr import NcrProcessor
from ..models.rcar.configuration_rcar import RcarConfig
from ..models.rcar.modeling_rcar import RcarModel
from ..models.rcar.processing_rcar import RcarProcessor
from ..training import LabelTask, Method
from . import CAPTION_METHODS, LABEL_METHODS

#: The model and the processor of each config.
PARTS: dict[type, tuple[Any, Any]] = {
    MatchingConfig: (MatchingModel, MatchingProcessor),
    PeersConfig: (PeersModel, MatchingProcessor),
    NcrConfig: (NcrModel, NcrProcessor),
    RcarConfig: (RcarModel, RcarProcessor),
    CommonSpaceConfig: (CommonSpaceModel, CommonSpaceProcessor),
    DmcmConfig: (DmcmModel, DmcmProcessor),
}


def network_config(kind: type[Method]) -> type:
    """The config class of the network that a method trains.

    Args:
        kind: The method.
    """
    if kind.config_class is not None:
        return kind.config_class
    if kind.task is LabelTask:
        return CommonSpaceConfig
    return MatchingConfig if kind.n_networks == 1 else PeersConfig


def build_pair_model(method: str, **fields: Any) -> Any:
    """Build the model that a method for captions trains.

    Args:
        method: A name in `CAPTION_METHODS`.
        fields: Fields of the model's config.

    Returns:
        A fresh model, with the method's name in its config.

    Raises:
        ValueError: If there is no such method, or a field has an impossible value.
    """
    kind = _named(CAPTION_METHODS, method)
    return _build(network_config(kind), {**kind.shape, "method": method, **fields})


def build_label_model(method: str, pairs: LabelDataset, **fields: Any) -> CommonSpaceModel:
    """Build a method's model for the sizes and classes of some data.

    Args:
        method: A name in `LABEL_METHODS`.
        pairs: The training pairs.
        fields: Fields of `CommonSpaceConfig`, or of the method's own config, that differ from the
            method's.

    Returns:
        A fresh model, with the method's name in its config.

    Raises:
        ValueError: If there is no such method, or a field has an impossible value.
    """
    kind = _named(LABEL_METHODS, method)
    sizes: dict[str, Any] = {
        "n_classes": pairs.n_classes,
        "id2label": dict(enumerate(pairs.class_names)),
    }
    if pairs.has_features and fields.get("backbone_config") is None:
        sizes["image_size"] = pairs.image_features.shape[1]
        sizes["text_size"] = pairs.text_features.shape[1]
    shape = dict(kind.shape)
    if "canonical_size" in shape and "embedding_size" in fields:
        shape["canonical_size"] = min(shape["canonical_size"], fields["embedding_size"])
    return _build(network_config(kind), {**sizes, **shape, "method": method, **fields})


def methods_for(config_class: type) -> dict[str, type[Method]]:
    """The methods for captions that train a kind of network, by name.

    Args:
        config_class: The network's config class; its subclasses count.
    """
    return {
        name: kind
        for name, kind in CAPTION_METHODS.items()
        if issubclass(network_config(kind), config_class)
    }


def _named(table: dict[str, type[Method]], method: str) -> type[Method]:
    if method not in table:
        raise ValueError(f"there is no method {method!r}; there are: {', '.join(table)}.")
    return table[method]


def _build(config_class: Any, fields: dict[str, Any]) -> Any:
    names = {field.name for field in dataclasses.fields(config_class)}
    unknown = sorted(set(fields) - names)
    if unknown:
        raise ValueError(
            f"{config_class.__name__} has no field {unknown[0]!r}; it has: "
            f"{', '.join(sorted(names))}."
        )
    return PARTS[config_class][0](config_class(**fields))
