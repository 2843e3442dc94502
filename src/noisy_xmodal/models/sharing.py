"""Base classes that save configs, models and processors for the Hub and load them safely.

A saved folder names the classes of this package in `auto_map` and contains one small file, the
shim, that imports them. If noisy_xmodal is imported, `AutoModel.from_pretrained` does not need
`trust_remote_code` and never reads the shim. Otherwise `trust_remote_code=True` loads the same
installed classes through the shim.

Weights are read only from safetensors files inside the folder. A config that needs far more weights
than these contain is refused before memory is allocated.
"""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

from huggingface_hub.errors import HTTPError
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel, ProcessorMixin
from transformers.utils import has_file

from ..files import write_text
from ..modules.text_encoders import TransformerTextEncoder
from ..options import Rule, field_defaults, refuse_unread

SHIM = "noisy_xmodal_shim"

_SHIM_CODE = '''"""The classes of this repository, from the installed package noisy-xmodal."""

try:
    from noisy_xmodal import {config}, {model}, {processor}
except ModuleNotFoundError as error:
    if error.name != "noisy_xmodal":
        raise
    raise ImportError(
        "This model is made of classes of noisy-xmodal, which is not installed. "
        "Run `pip install noisy-xmodal`."
    ) from error

__all__ = ["{config}", "{model}", "{processor}"]
'''

#: Largest number of missing parameters in a checkpoint; they are initialised, so need memory.
MOST_MISSING = 2**28


class Installed:
    """A class of this package, which loads from the package and never from a saved folder."""

    @classmethod
    def register_for_auto_class(cls, auto_class: str | type = "") -> None:
        """Do nothing, because the code of an installed class is never copied to a saved folder.

        transformers calls this on a class that it loads through a shim. If the class were
        registered, the next `save_pretrained` would copy its module without the imports of it.
        """

    @classmethod
    def _family(cls) -> str | None:
        """Class name without suffix, "Ncr" for NcrModel; None for classes of other packages."""
        if cls.__module__.partition(".")[0] != __name__.partition(".")[0]:
            return None
        for ending in ("Config", "Model", "Processor"):
            if cls.__name__.endswith(ending):
                return cls.__name__.removesuffix(ending)
        return None

    @contextmanager
    def _naming_the_shim(self, folder: str | os.PathLike) -> Iterator[None]:
        """Write the shim into a folder, and set `auto_map` while the folder is saved."""
        family = self._family()
        if family is not None:
            self.__dict__["auto_map"] = write_shim(family, folder)
        try:
            yield
        finally:
            self.__dict__.pop("auto_map", None)


def write_shim(family: str, folder: str | os.PathLike) -> dict[str, str]:
    """Write the shim into a folder atomically.

    Args:
        family: Prefix of the names of the three classes, such as "Ncr".
        folder: The folder of a saved model or processor; created if it does not exist.

    Returns:
        The value of `auto_map` for the shim.
    """
    names = {kind: f"{family}{kind.capitalize()}" for kind in ("config", "model", "processor")}
    write_text(Path(folder) / f"{SHIM}.py", _SHIM_CODE.format(**names))
    return {f"Auto{kind.capitalize()}": f"{SHIM}.{name}" for kind, name in names.items()}


class SharedConfig(Installed, PreTrainedConfig):
    """A config whose folder loads on any machine with this package.

    A new config must not set fields that have no effect with its other fields. A stored config,
    with a `transformers_version`, may have such fields.
    """

    #: For each field that is not always read, the condition for reading it.
    rules: ClassVar[Mapping[str, Rule]] = {}

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save the config and the shim; see `PreTrainedConfig.save_pretrained`."""
        with self._naming_the_shim(save_directory):
            super().save_pretrained(save_directory, **kwargs)

    def __post_init__(self, **kwargs: Any) -> None:
        kwargs.pop("auto_map", None)  # names the classes of this package
        is_part = kwargs.pop("model_type", None) is not None  # of another stored config
        super().__post_init__(**kwargs)
        if self.transformers_version is None and not is_part:
            self.check_fields(kwargs)

    def check_fields(self, further: Mapping[str, Any]) -> None:
        """Reject unused fields of a new config.

        Args:
            further: Arguments that are not fields.

        Raises:
            ValueError: If a field is unknown or unused.
        """
        for name in further:
            is_read = hasattr(self, name) or hasattr(self, f"_{name}")
            if (name in vars(self) or not is_read) and not name.startswith("_"):
                names = ", ".join(sorted(field.name for field in fields(type(self))))
                raise ValueError(f"{type(self).__name__} has no field `{name}`; it has: {names}.")
        refuse_unread(vars(self), field_defaults(type(self)), self.rules)

    def validate_finite(self) -> None:
        """Reject NaN and infinity, which the comparisons of other checks do not detect."""
        for name, value in vars(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"`{name}` must be a finite number, found {value}.")

    def validate_rope(self) -> None:
        """Do nothing, because no model of this library has its own rotary positions."""


class SharedProcessor(Installed, ProcessorMixin):
    """A processor whose folder loads on any machine with this package."""

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> list[str]:
        """Save the processor and the shim; see `ProcessorMixin.save_pretrained`."""
        with self._naming_the_shim(save_directory):
            return super().save_pretrained(save_directory, **kwargs)


class SharedModel(Installed, PreTrainedModel):
    """A model that loads only from safetensors files, and only if these fit its config."""

    supports_gradient_checkpointing = True

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save the model with the names of its weights; see `PreTrainedModel.save_pretrained`.

        By default transformers saves weights of ViT and others under names of its older versions,
        which a trainer that reads a checkpoint into a model does not find.
        """
        super().save_pretrained(save_directory, **{"save_original_format": False} | kwargs)

    @classmethod
    def is_custom_code(cls) -> bool:
        """False, because `_init_weights` of these classes never overwrites loaded weights.

        With True, transformers would not initialise modules whose weights belong to their children,
        such as CLIP's attention. A backbone that is missing in the checkpoint would then differ
        from that of a new model.
        """
        return False

    def prepare_for(self, names: set[str]) -> None:
        """Change the parts of a model, before weights of these names are loaded into it.

        Raises:
            ValueError: If the weights do not suit the config.
        """

    def pretrained_encoders(self) -> dict[str, nn.Module]:
        """The transformers models inside this one, by their names; a model of both sides is one.

        Layers of such a model that are trained apart from it count as well.
        """
        encoders: dict[str, nn.Module] = {}
        for name, part in self.named_modules():
            is_inside = any(name.startswith(f"{outer}.") for outer in encoders)
            if isinstance(part, PreTrainedModel) and not isinstance(part, Installed):
                encoders |= {} if is_inside else {name: part}
            elif isinstance(part, TransformerTextEncoder) and part.top is not None:
                encoders[f"{name}.top"] = part.top
        return encoders

    def mark_tied_weights_as_initialized(self, loading_info: Any) -> None:
        """Count a layer that two towers share as loaded under both names."""
        super().mark_tied_weights_as_initialized(loading_info)
        loading_info.missing_keys = {
            key
            for key in loading_info.missing_keys
            if key in self.all_tied_weights_keys
            or not getattr(self.get_parameter_or_buffer(key), "_is_hf_initialized", False)
        }

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike | None, *args: Any, **kwargs: Any
    ) -> "SharedModel":
        """Load the model from a folder or the Hub; see `PreTrainedModel.from_pretrained`.

        Raises:
            ValueError: If the only weights are pickles, `use_safetensors` is False, the config
                needs far more weights than the files contain, or the index names a file outside the
                folder.
            OSError: If the folder, the repository, the revision or the weights do not exist, or the
                download fails.
        """
        if kwargs.pop("use_safetensors", None) is False:
            raise ValueError(
                "`use_safetensors=False` loads pickled weights, which can run any code when "
                "they are read: leave it out."
            )
        path = pretrained_model_name_or_path
        if path is not None and os.path.isfile(path):
            _check_files([os.fspath(path)], path)
        elif path is not None and kwargs.get("gguf_file") is None:
            _refuse_pickles(str(pretrained_model_name_or_path), kwargs)
        try:
            return super().from_pretrained(
                pretrained_model_name_or_path, *args, use_safetensors=True, **kwargs
            )
        except OSError as error:
            if not isinstance(error.__cause__, HTTPError):
                raise
            raise OSError(  # transformers would report a wrong name
                f"the download of {pretrained_model_name_or_path} failed: {error.__cause__}. "
                "No partial file is left; try again."
            ) from error

    def load_adapter(self, *args: Any, **kwargs: Any) -> None:
        """Refuse adapters of peft in a folder, which may be pickles.

        transformers calls this for a folder with an adapter_config.json, if peft is installed.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "the folder contains an adapter of peft (adapter_config.json), which is not loaded: "
            "merge it into the weights with peft, or remove that file."
        )

    @staticmethod
    def _load_pretrained_model(
        model: PreTrainedModel,
        state_dict: dict | None,
        checkpoint_files: list[str] | None,
        load_config: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Check the files that transformers selected before it allocates memory for them."""
        if state_dict is None and checkpoint_files is not None:
            _check_files(checkpoint_files, load_config.pretrained_model_name_or_path)
            stored = _stored_shapes(checkpoint_files)
            if isinstance(model, SharedModel):
                model.prepare_for(set(stored))
            _check_shapes(model, stored)
        return PreTrainedModel._load_pretrained_model(
            model, state_dict, checkpoint_files, load_config, *args, **kwargs
        )


def _refuse_pickles(name: str, options: Mapping[str, Any]) -> None:
    """Reject a model whose only weights are pickles.

    Not left to transformers, which would ask a service on the Hub to convert them.
    """
    if Path(name).is_file():
        return  # `_check_files` checks it
    names = ("revision", "token", "proxies", "local_files_only", "cache_dir")
    where = {key: options[key] for key in names if options.get(key) is not None}
    variant = options.get("variant")
    folder = options.get("subfolder") or ""

    def is_there(stem: str, ending: str) -> bool:
        parts = (stem, variant, ending) if variant else (stem, ending)
        return has_file(name, os.path.join(folder, ".".join(parts)), **where)

    safe = ("safetensors", "safetensors.index.json")
    if any(is_there("model", ending) for ending in safe):
        return
    if any(is_there("pytorch_model", ending) for ending in ("bin", "bin.index.json")):
        raise ValueError(
            f"{name} has its weights in pytorch_model.bin alone. That is a pickle, which can run "
            "any code when it is read, so it is refused. Ask its owner for model.safetensors: "
            "`save_pretrained` writes it."
        )


def _check_files(files: list[str], name: str | os.PathLike) -> None:
    """Reject weights that are not safetensors or lie outside the local folder being loaded."""
    for file in files:
        if not str(file).endswith(".safetensors"):
            raise ValueError(
                f"{file} is not a safetensors file. Weights in other formats can run any code "
                "when they are read, so they are refused."
            )
        inside = Path(os.path.abspath(file)).is_relative_to(os.path.abspath(name))
        if os.path.isdir(name) and not inside:
            raise ValueError(
                f"model.safetensors.index.json in {name} names {file}, which lies outside that "
                "folder, so it is refused."
            )


def _stored_shapes(files: list[str]) -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = {}
    for file in files:
        with safe_open(file, framework="pt") as weights:
            shapes |= {key: weights.get_slice(key).get_shape() for key in weights.offset_keys()}
    return shapes


def _check_shapes(model: PreTrainedModel, stored: Mapping[str, list[int]]) -> None:
    """Reject a config that needs many more weights than the files have; they are not yet allocated.

    The model is still on the meta device.
    """
    missing = {
        key: tensor
        for key, tensor in model.state_dict().items()
        if key not in model.all_tied_weights_keys and stored.get(key) != list(tensor.shape)
    }
    n_missing = sum(tensor.numel() for tensor in missing.values())
    if n_missing > MOST_MISSING:
        largest = max(missing, key=lambda key: missing[key].numel())
        raise ValueError(
            f"the config needs {n_missing:,} numbers that the weights do not contain, such as "
            f"{largest} of the shape {tuple(missing[largest].shape)} (stored: "
            f"{stored.get(largest)}): config.json and the weights do not belong together."
        )
