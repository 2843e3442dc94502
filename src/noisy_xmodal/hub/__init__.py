"""Publishing models on the Hub: model card, evaluation results and upload."""

from .eval_results import write_eval_results
from .model_card import CARD_KINDS, render_model_card, write_model_card
from .publish import PublishError, check_can_publish, publish_folder

__all__ = [
    "CARD_KINDS",
    "PublishError",
    "check_can_publish",
    "publish_folder",
    "render_model_card",
    "write_eval_results",
    "write_model_card",
]
