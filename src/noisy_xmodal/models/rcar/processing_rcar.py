"""RCAR reads what any matching model reads, and says which captions it cuts."""

from collections.abc import Iterable

from ...modules.several import check_several
from ..matching.processing_matching import MatchingProcessor


class RcarProcessor(MatchingProcessor):
    """An image processor (or `RegionFeatureProcessor`) and a tokenizer, see `MatchingProcessor`.

    Args:
        image_processor: Any image processor that gives `pixel_values`, or region features' one.
        tokenizer: Any tokenizer; masked language modelling needs one with a mask token.
    """

    def limit_text(self, limit: int | None) -> None:
        """Cut texts at this many tokens from now on, unless they are cut earlier already.

        Args:
            limit: What the text encoder can read, `RcarModel.text_length_limit`.
        """
        if limit is not None and self.tokenizer.model_max_length > limit:
            self.tokenizer.model_max_length = limit

    def count_cut(self, texts: Iterable[str]) -> int:
        """How many texts lose words because they have more tokens than are read."""
        check_several(texts, "texts")
        limit = self.tokenizer.model_max_length
        given = list(texts)
        if not given:
            return 0
        ids = self.tokenizer(given, truncation=False, verbose=False)["input_ids"]
        return sum(len(tokens) > limit for tokens in ids)
