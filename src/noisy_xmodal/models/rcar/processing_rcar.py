"""RCAR reads what any matching model reads."""

from ..matching.processing_matching import MatchingProcessor


class RcarProcessor(MatchingProcessor):
    """An image processor (or `RegionFeatureProcessor`) and a tokenizer, see `MatchingProcessor`.

    Args:
        image_processor: Any image processor that gives `pixel_values`, or region features' one.
        tokenizer: Any tokenizer; masked language modelling needs one with a mask token.
    """
