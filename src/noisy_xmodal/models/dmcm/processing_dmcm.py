"""DMCM reads what any common-space model reads."""

from ..common_space.processing_common_space import CommonSpaceProcessor


class DmcmProcessor(CommonSpaceProcessor):
    """Reads vectors, or pictures and texts, see `CommonSpaceProcessor`.

    Args:
        image_processor: That of the model's backbone; None for a model of feature vectors.
        tokenizer: That of the model's backbone, likewise.
        padding: How texts of a batch are padded.
    """
