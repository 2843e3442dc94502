"""The processor of DMCM, the same as for any common-space model."""

from ..common_space.processing_common_space import CommonSpaceProcessor


class DmcmProcessor(CommonSpaceProcessor):
    """Reads vectors, or pictures and texts; see `CommonSpaceProcessor`.

    Args:
        image_processor: Image processor of the model's backbone; None for a model of feature
            vectors.
        tokenizer: Tokenizer of the model's backbone; None for a model of feature vectors.
        padding: How texts of a batch are padded.
    """
