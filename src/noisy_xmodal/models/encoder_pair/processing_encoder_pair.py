"""The processor of a pair of encoders: that of the vision model and that of the text model."""

from ..matching.processing_matching import MatchingProcessor


class EncoderPairProcessor(MatchingProcessor):
    """The image processor of the vision model and the tokenizer of the text model.

    Args:
        image_processor: An image processor that returns `pixel_values`.
        tokenizer: Any tokenizer.
    """
