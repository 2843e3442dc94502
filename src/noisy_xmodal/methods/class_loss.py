"""A class loss alone: cross-entropy, or any loss or sum of losses by name.

Robust losses by name: GCE (Zhang & Sabuncu, NeurIPS 2018), SCE (Wang et al., ICCV 2019), NCE and
NGCE (Ma et al., ICML 2020), and active-passive sums of them such as "nce+rce".
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from ..losses import classification_loss
from ..options import Rule, never_read
from ..training import Constant, LabelBatch, LabelTask, LabelTrainingArguments, Method

#: For methods that train alike from the first step to the last.
ONE_PHASE: Mapping[str, Rule] = {
    "robust": never_read("the method divides nothing, so nothing can be left out. Leave it out."),
    "warmup_epochs": never_read("the method has no warm-up. Leave it out.", same=(-1,)),
}


class LabelMethod(Method):
    """A method for pairs with classes; the base of all of them."""

    task = LabelTask
    arguments_class = LabelTrainingArguments
    row_kind = "modality"
    row_names = ("image", "text")

    def attach(self, engine: Any, model: Any, args: Any, processor: Any) -> None:
        """Set the warm-up of the recipe where the arguments leave it open."""
        if args.warmup_epochs == -1:
            args.warmup_epochs = self.recipe.get("warmup_epochs", 0)
            args.check_epochs()
        super().attach(engine, model, args, processor)


class ClassLoss(LabelMethod):
    """Trains towers and prototypes with `classification_loss(class_loss)` of both modalities."""

    title = "CE"
    citation = "The classification losses: see `noisy_xmodal.losses`."
    argument_rules: ClassVar[Mapping[str, Rule]] = ONE_PHASE
    options: ClassVar[Mapping[str, Constant]] = {
        "class_loss": Constant("ce"),
        "class_loss_options": Constant({}),
    }

    def attach(self, engine: Any, model: Any, args: Any, processor: Any) -> None:
        """Make the class loss by its name."""
        super().attach(engine, model, args, processor)
        constants = self.constants
        self.class_loss = classification_loss(
            constants.class_loss, **(constants.class_loss_options or {})
        )

    def run_title(self) -> str:
        """The method's title, with the class loss where it is not its own."""
        name, own = self.constants.class_loss, self.options["class_loss"].default
        return self.title if name == own else f"{self.title} ({name})"

    def labels(self, output: Any, batch: LabelBatch) -> tuple[Tensor, Tensor]:
        """The class of each image and of each text, (n_pairs,) each: those of the data."""
        return batch.image_label, batch.text_label

    def loss(self, output: Any, batch: LabelBatch) -> Tensor:
        """The loss of the image plus that of the text, (n_pairs,)."""
        image_label, text_label = self.labels(output, batch)
        image_loss = self.class_loss(output.image_class_logits, image_label)
        return image_loss + self.class_loss(output.text_class_logits, text_label)
