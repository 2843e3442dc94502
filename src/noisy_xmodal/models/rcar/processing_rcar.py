"""The processor of RCAR, the same as for any matching model."""

from ..matching.processing_matching import MatchingProcessor


class RcarProcessor(MatchingProcessor):
    """An image processor (or `RegionFeatureProcessor`) and a tokenizer, see `MatchingProcessor`.

    Args:
        image_processor: An image processor that returns `pixel_values`, or a
            `RegionFeatureProcessor`.
        tokenizer: Any tokenizer; masked language modelling needs one with a mask token.
    """
