"""What makes configs, models and processors at home on the Hub.

A saved folder names the classes of this package in `auto_map` and carries one small file that
imports them. With noisy_xmodal imported, `AutoModel.from_pretrained` needs no trust and never reads
that file; without the import, `trust_remote_code=True` finds the same installed classes through it.

What is loaded is not trusted: weights are read from safetensors alone, from inside the folder, and
a config that asks for far more than its weights hold is refused before memory is taken.
"""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from huggingface_hub.errors import HTTPError
from safetensors import safe_open
from transformers import PreTrainedConfig, PreTrainedModel, ProcessorMixin
from transformers.utils import has_file

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

#: The largest size, such as that of a vocabulary, and the most layers that a config may ask for.
LARGEST_SIZE, MOST_LAYERS = 2**24, 1000
_COUNTS_LAYERS = ("layer", "depth", "block", "steps")
MOST_LABELS, _DEEPEST = 2**16, 20
_KINDS: dict[str, tuple[type, ...]] = {
    "num_labels": (int,),
    **dict.fromkeys(("id2label", "label2id", "rope_scaling", "rope_parameters"), (dict,)),
    **dict.fromkeys(("dtype", "torch_dtype"), (str, dict, torch.dtype)),
}

#: Weights that a checkpoint may lack, in numbers; they are initialised, so they take memory.
MOST_MISSING = 2**28


class Installed:
    """A class that comes with this package and is found there, wherever its files come from."""

    @classmethod
    def register_for_auto_class(cls, auto_class: str | type = "") -> None:
        """Registers nothing, for the code of an installed class is never copied beside its files.

        transformers calls this on a class that it found through a repository's shim; were it
        registered, the next `save_pretrained` would copy its module without what that imports.
        """

    @classmethod
    def _family(cls) -> str | None:
        """ "Ncr" of NcrConfig, NcrModel and NcrProcessor; None for classes of somebody else."""
        if cls.__module__.partition(".")[0] != __name__.partition(".")[0]:
            return None
        for ending in ("Config", "Model", "Processor"):
            if cls.__name__.endswith(ending):
                return cls.__name__.removesuffix(ending)
        return None

    @contextmanager
    def _naming_the_shim(self, folder: str | os.PathLike) -> Iterator[None]:
        """While a folder is written: the shim is in it, and `auto_map` names what it has."""
        family = self._family()
        if family is not None:
            self.__dict__["auto_map"] = write_shim(family, folder)
        try:
            yield
        finally:
            self.__dict__.pop("auto_map", None)


def write_shim(family: str, folder: str | os.PathLike) -> dict[str, str]:
    """Writes the one-file shim into a folder, aside and then renamed.

    Args:
        family: What the names of its three classes begin with, such as "Ncr".
        folder: The folder of a saved model or processor; made if it is not there.

    Returns:
        What `auto_map` has to say of it.
    """
    names = {kind: f"{family}{kind.capitalize()}" for kind in ("config", "model", "processor")}
    path = Path(folder) / f"{SHIM}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    aside.write_text(_SHIM_CODE.format(**names), encoding="utf-8")
    os.replace(aside, path)
    return {f"Auto{kind.capitalize()}": f"{SHIM}.{name}" for kind, name in names.items()}


class SharedConfig(Installed, PreTrainedConfig):
    """A config whose folder loads on any machine that has this package.

    A field that has no effect beside the others is refused where it is set; a config that was
    stored, as its `transformers_version` tells, is taken as it is.
    """

    #: When a field is read, where it is not always.
    rules: ClassVar[Mapping[str, Rule]] = {}

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save it, and the shim beside it; see `PreTrainedConfig.save_pretrained`."""
        with self._naming_the_shim(save_directory):
            super().save_pretrained(save_directory, **kwargs)

    def __post_init__(self, **kwargs: Any) -> None:
        kwargs.pop("auto_map", None)  # what the folder said of its classes, which are these
        given = vars(self) | kwargs
        _refuse_sizes(given)  # here too, for transformers makes lists of such lengths
        _refuse_strange_fields(given)
        try:
            super().__post_init__(**kwargs)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise ValueError(
                f"{type(self).__name__} cannot be made ({type(error).__name__}: {error}): one of "
                f"{[*self.sub_configs_defaults, *kwargs]} is nothing that transformers can read. "
                "Correct it, or leave it out."
            ) from error
        if self.transformers_version is None:
            self.check_fields(kwargs)

    def check_fields(self, further: Mapping[str, Any]) -> None:
        """Refuse fields of a new config that nothing reads.

        Args:
            further: What was passed beside the fields.

        Raises:
            ValueError: If there is one.
        """
        for name in further:
            is_read = hasattr(self, name) or hasattr(self, f"_{name}")
            if (name in vars(self) or not is_read) and not name.startswith("_"):
                known = ", ".join(sorted(field.name for field in fields(type(self))))
                raise ValueError(f"{type(self).__name__} has no field `{name}`; it has: {known}.")
        refuse_unread(vars(self), field_defaults(type(self)), self.rules)

    def validate_limits(self) -> None:
        """Refuse sizes that no model of this library has, before anything is built."""
        _refuse_sizes(vars(self))

    def validate_finite(self) -> None:
        """Refuse NaN and infinity, with which comparisons of other checks say nothing."""
        own = {key: v for key, v in vars(self).items() if not isinstance(v, PreTrainedConfig)}
        for name, value in _numbers(own):
            if not math.isfinite(value):
                raise ValueError(f"`{name}` must be a finite number, found {value}.")

    def validate_rope(self) -> None:
        """Nothing, for no model of this library has rotary positions of its own."""


def _refuse_sizes(fields: Mapping[str, Any]) -> None:
    for name, value in _numbers(fields):
        if isinstance(value, float):
            continue
        most = MOST_LAYERS if any(word in name for word in _COUNTS_LAYERS) else LARGEST_SIZE
        most = MOST_LABELS if name.endswith("num_labels") else most
        if value > most:
            raise ValueError(f"`{name}` is {value:,}: more than {most:,} is refused.")


def _refuse_strange_fields(fields: Mapping[str, Any]) -> None:
    """Fields of transformers that it uses before it looks at their types."""
    for name, kind in _KINDS.items():
        value = fields.get(name)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            names = " or ".join(each.__name__ for each in kind)
            raise ValueError(f"`{name}` must be a {names}, found {value!r}.")
    for name in ("dtype", "torch_dtype"):
        value = fields.get(name)
        if isinstance(value, str) and not isinstance(getattr(torch, value, None), torch.dtype):
            raise ValueError(f"`{name}` is {value!r}, no number format of torch such as 'float32'.")


def _numbers(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, int | float]]:
    """Every number inside a config, and how long its lists are, by their dotted names."""
    if depth > _DEEPEST:
        raise ValueError(f"`{name[:100]}` is nested more than {_DEEPEST} deep, and is refused.")
    if isinstance(value, PreTrainedConfig):
        value = vars(value)
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key != "label2id":  # names of classes with their numbers, no sizes
                yield from _numbers(inner, f"{name}.{key}" if name else str(key), depth + 1)
    elif isinstance(value, list | tuple):
        yield f"the number of layers in {name}", len(value)
        for inner in value:
            yield from _numbers(inner, name, depth + 1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value


class SharedProcessor(Installed, ProcessorMixin):
    """A processor whose folder loads on any machine that has this package."""

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> list[str]:
        """Save it, and the shim beside it; see `ProcessorMixin.save_pretrained`."""
        with self._naming_the_shim(save_directory):
            return super().save_pretrained(save_directory, **kwargs)


class SharedModel(Installed, PreTrainedModel):
    """A model that is read from safetensors alone, and only where they hold what it asks for."""

    @classmethod
    def is_custom_code(cls) -> bool:
        """False, as every `_init_weights` here respects weights that are loaded.

        Of other code transformers initialises no module whose weights are its children's, such as
        CLIP's attention: a backbone that a checkpoint lacks would not be that of a new model.
        """
        return False

    def mark_tied_weights_as_initialized(self, loading_info: Any) -> None:
        """Counts a layer that two towers share as loaded under both its names."""
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
        """Load it from a folder or the Hub; see `PreTrainedModel.from_pretrained`.

        Raises:
            ValueError: If the weights are there as pickles only, or `use_safetensors` is False; if
                the config asks for much that the weights do not hold, or for a file outside the
                folder.
            OSError: If the folder, the repository, the revision or its weights are not there, or
                the download breaks off.
        """
        if kwargs.pop("use_safetensors", None) is False:
            raise ValueError(
                "`use_safetensors=False` asks for pickled weights, which can run any code when "
                "they are read: leave it out."
            )
        if pretrained_model_name_or_path is not None and kwargs.get("gguf_file") is None:
            _refuse_pickles(str(pretrained_model_name_or_path), kwargs)
        try:
            return super().from_pretrained(
                pretrained_model_name_or_path, *args, use_safetensors=True, **kwargs
            )
        except OSError as error:
            if not isinstance(error.__cause__, HTTPError):
                raise
            raise OSError(  # transformers says that the name may be wrong
                f"the download of {pretrained_model_name_or_path} broke off: {error.__cause__}. "
                "Nothing of the file is left half-written; try again."
            ) from error

    @staticmethod
    def _load_pretrained_model(
        model: PreTrainedModel,
        state_dict: dict | None,
        checkpoint_files: list[str] | None,
        load_config: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Looks at the files that transformers chose before it takes memory for them."""
        if state_dict is None and checkpoint_files is not None:
            folder = load_config.pretrained_model_name_or_path
            _refuse_strange_files(checkpoint_files, folder)
            _refuse_hollow_models(model, checkpoint_files)
        return PreTrainedModel._load_pretrained_model(
            model, state_dict, checkpoint_files, load_config, *args, **kwargs
        )


def _refuse_pickles(name: str, options: Mapping[str, Any]) -> None:
    """Says why weights that are pickles are not read, where there are no others.

    Here and not by transformers, which would ask a service on the Hub to convert them.
    """
    if Path(name).is_file():
        return  # `_refuse_strange_files` looks at it
    known = ("revision", "token", "proxies", "local_files_only", "cache_dir")
    where = {key: options[key] for key in known if options.get(key) is not None}
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
            "any code when it is read, and is refused. Ask its owner for model.safetensors: "
            "`save_pretrained` writes it."
        )


def _refuse_strange_files(files: list[str], name: str | os.PathLike) -> None:
    """Weights are safetensors, and where a local folder is loaded they lie in it."""
    for file in files:
        if not str(file).endswith(".safetensors"):
            raise ValueError(
                f"{file} is no safetensors file. Weights in another form can run any code when "
                "they are read, and are refused."
            )
        inside = Path(os.path.abspath(file)).is_relative_to(os.path.abspath(name))
        if os.path.isdir(name) and not inside:
            raise ValueError(
                f"model.safetensors.index.json in {name} names {file}, which lies outside that "
                "folder, and is refused."
            )


def _refuse_hollow_models(model: PreTrainedModel, files: list[str]) -> None:
    """What the files lack is initialised: a little is a partial checkpoint, much is no checkpoint.

    The model is on the meta device still, so its weights have shapes and take no memory.
    """
    stored: dict[str, list[int]] = {}
    for file in files:
        with safe_open(file, framework="pt") as weights:
            for key in list(weights.keys()):
                stored[key] = weights.get_slice(key).get_shape()
    tied = model.all_tied_weights_keys
    lacking = {
        key: tuple(tensor.shape)
        for key, tensor in model.state_dict().items()
        if key not in tied and stored.get(key) != list(tensor.shape)
    }
    missing = sum(math.prod(shape) for shape in lacking.values())
    if missing > MOST_MISSING:
        largest = max(lacking, key=lambda key: math.prod(lacking[key]))
        raise ValueError(
            f"the config asks for {missing:,} numbers that the weights do not hold, such as "
            f"{largest} of the shape {lacking[largest]} (stored: {stored.get(largest)}). That is "
            f"more than the {MOST_MISSING:,} that a partial checkpoint may lack: config.json and "
            "the weights do not belong together."
        )
