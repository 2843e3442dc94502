"""Models whose pretrained encoders can be trained by low-rank adapters.

In training the adapters are parts of the model, and checkpoints contain them. What
`save_pretrained` writes has plain weights: the adapters are added to them, and the config says that
the encoders are trained in full. Such a folder loads without peft.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from ..modules.adapters import (
    add_adapters,
    has_adapters,
    merged_state,
    remove_adapters,
    train_adapters_alone,
)
from ..options import field_defaults
from .sharing import SharedModel

#: Fields of a config that say how the encoders are trained.
_TRAINING_FIELDS = ("vision_training", "text_training")


class AdaptedModel(SharedModel):
    """A model that adds adapters to its encoders where its config says so."""

    def adapted_encoders(self) -> list[nn.Module]:
        """The encoders that are trained by adapters."""
        raise NotImplementedError

    def add_adapters(self) -> None:
        """Add adapters where there are none, and freeze the encoders that have them.

        Raises:
            ValueError: If peft is not installed, or an encoder has no linear layers.
        """
        for encoder in self.adapted_encoders():
            if not has_adapters(encoder):
                add_adapters(encoder, self.config.lora_rank)
            train_adapters_alone(encoder)  # loading makes new parameters

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        *args: Any,
        merge_adapters: bool = True,
        **kwargs: Any,
    ) -> None:
        """Save the model; see `PreTrainedModel.save_pretrained`.

        Args:
            save_directory: The folder.
            args: Further arguments of transformers.
            merge_adapters: Whether adapters are added to the weights of the encoders. The folder
                then loads without peft, as a model whose encoders are trained in full. Without it
                the folder is a checkpoint, from which the training of the adapters can go on.
            kwargs: Further arguments of transformers.
        """
        if not merge_adapters or not has_adapters(self):
            super().save_pretrained(save_directory, *args, **kwargs)
            return
        with self._config_of_plain_weights():
            options = kwargs | {"state_dict": merged_state(self)}
            super().save_pretrained(save_directory, *args, **options)

    @contextmanager
    def _config_of_plain_weights(self) -> Iterator[None]:
        """Let the config say for a while that nothing is trained by adapters."""
        values = {name: getattr(self.config, name, None) for name in _TRAINING_FIELDS}
        before = {name: value for name, value in values.items() if value == "lora"}
        before["lora_rank"] = self.config.lora_rank
        plain = dict.fromkeys(before, "full")
        plain["lora_rank"] = field_defaults(type(self.config))["lora_rank"]
        self._set_config(plain)
        try:
            yield
        finally:
            self._set_config(before)

    def _set_config(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            setattr(self.config, name, value)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load the model; see `SharedModel.from_pretrained`.

        A checkpoint is loaded with its adapters. Plain weights get new adapters if the config, or
        an argument such as `text_training="lora"`, says so.
        """
        loaded = super().from_pretrained(*args, **kwargs)
        (loaded[0] if isinstance(loaded, tuple) else loaded).add_adapters()
        return loaded

    def prepare_for(self, names: set[str]) -> None:
        """Remove adapters, on the meta device, if the stored weights are plain."""
        are_adapted = any(".lora_A." in name for name in names)
        if are_adapted and not has_adapters(self):
            raise ValueError(
                "the folder is a checkpoint with adapters, and `vision_training` or "
                "`text_training` was changed: load it as it is. `save_pretrained` then writes a "
                "folder with plain weights."
            )
        if not are_adapted:
            remove_adapters(self)
