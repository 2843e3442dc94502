"""Model cards rendered from what was measured."""

from .model_card import CARD_KINDS, render_model_card, write_model_card

__all__ = ["CARD_KINDS", "render_model_card", "write_model_card"]
