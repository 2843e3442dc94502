"""The interface of a task: how rows become batches, and which evaluator measures them."""

from typing import Any, Protocol

from torch import Tensor
from torch.utils.data import Dataset

from ..modules.text_limits import TruncationCount


class Task(Protocol):
    """Pairs with captions (`PairTask`) or pairs with classes (`LabelTask`).

    Attributes:
        processor: The model's processor.
        collator: What makes a batch of samples.
        cut_texts: How many training texts are longer than what is read of them; None without texts.
        least_batch: Pairs that a process has of a batch at least.
        trainer_options: What `transformers.Trainer` is passed besides.
    """

    processor: Any
    collator: Any
    cut_texts: TruncationCount | None
    least_batch: int
    trainer_options: dict[str, Any]

    def __init__(self, model: Any, args: Any, method: Any, processor: Any) -> None:
        """Check that model, arguments and processor fit together."""

    def training_samples(self, dataset: Any) -> Any:
        """Samples of the training split, checked."""

    def as_samples(self, dataset: Any, split: str) -> Any:
        """Samples of another split, checked."""

    def evaluator(self) -> Any:
        """What measures a model by default."""

    def fit(self, samples: Any) -> None:
        """Fit what the model takes from the training split as it is, such as a scaling."""

    def begin(self, model: Any) -> None:
        """Compute what frozen parts of the model make of the training samples.

        Called as training begins, when the model has the weights of a checkpoint that it resumes.
        """

    def by_peer(self, samples: Any) -> Dataset:
        """A dataset that is indexed as the batch sampler does, by pair, peer and partner."""

    def make_batch(self, inputs: dict[str, Tensor], peer: int = 0, gather: bool = False) -> Any:
        """Separate what the method needs of a network's pairs from what its model reads.

        Args:
            inputs: A batch of the collator.
            peer: The network.
            gather: Whether ids and labels are those of the whole batch of all processes.
        """
