"""The processor of NCR, the same as for any matching model."""

from ..matching.processing_matching import MatchingProcessor


class NcrProcessor(MatchingProcessor):
    """An image processor (or `RegionFeatureProcessor`) and a tokenizer, see `MatchingProcessor`.

    Args:
        image_processor: An image processor that returns `pixel_values`, or a
            `RegionFeatureProcessor`.
        tokenizer: Any tokenizer.
    """
