"""Options of a processor call, in the form that the processors of transformers use.

An option is passed directly, as in `processor(images=pictures, size=32)`, or in a dict for its
side: `images_kwargs`, `text_kwargs`, or `common_kwargs` for options of both sides. transformers
only warns about an unknown name; here it is an error.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from transformers.image_processing_backends import PilBackend
from transformers.processing_utils import TextKwargs

from ..modules.image_loading import load_images
from ..modules.list_inputs import tokenizer_input

#: Options of texts with image placeholders, which no model of this library reads.
_PLACEHOLDER_OPTIONS = {
    "return_mm_token_type_ids",
    "return_text_replacement_offsets",
    "sanitize_control_tokens",
}
_TEXT, _IMAGES, _COMMON = "text_kwargs", "images_kwargs", "common_kwargs"

Options = dict[str, Any]


def options_by_side(image_processor: Any, options: Mapping[str, Any]) -> tuple[Options, Options]:
    """Assign options to the tokenizer and the image processor.

    Args:
        image_processor: Image processor of the processor; None if it reads neither pictures nor
            texts, so that `return_tensors` is the only option.
        options: All arguments of the call except images and text.

    Returns:
        Options of the tokenizer, options of the image processor.

    Raises:
        ValueError: If an option is unknown or is passed twice.
    """
    names = {_TEXT: {"return_tensors"}, _IMAGES: {"return_tensors"}}
    if image_processor is not None:
        names[_TEXT] = set(TextKwargs.__annotations__) - _PLACEHOLDER_OPTIONS
        names[_IMAGES] = set(image_processor.valid_kwargs.__annotations__)
    direct = {name: value for name, value in options.items() if name not in (*names, _COMMON)}
    _check_names(direct, names[_TEXT] | names[_IMAGES], "", names)
    common = _options_in(options, _COMMON)
    _check_names(common, names[_TEXT] & names[_IMAGES], _COMMON, names)
    by_side = []
    for side, side_names in names.items():
        in_dict = _options_in(options, side)
        _check_names(in_dict, side_names, side, names)
        for name in in_dict.keys() & direct.keys():
            raise ValueError(f"`{name}` is passed twice, directly and in `{side}`: pass it once.")
        own = {name: direct[name] for name in side_names & direct.keys()}
        by_side.append(common | in_dict | own)
    return by_side[0], by_side[1]


def _options_in(options: Mapping[str, Any], name: str) -> Options:
    value = options.get(name) or {}
    if not isinstance(value, Mapping):
        raise ValueError(f"`{name}` is a {type(value).__name__}: pass a dict of options.")
    return dict(value)


def _check_names(
    options: Iterable[str], valid_names: set[str], where: str, names: Mapping[str, set[str]]
) -> None:
    for name in options:
        if name not in valid_names:
            place = f" in `{where}`" if where else ""
            raise ValueError(
                f"`{name}`{place} is not an option of this processor. Texts take "
                f"{', '.join(sorted(names[_TEXT]))}; images take "
                f"{', '.join(sorted(names[_IMAGES]))}."
            )


def picture_inputs(image_processor: Any, images: Any, options: Options) -> Mapping[str, Any]:
    """Prepare pictures with an image processor, as torch tensors by default.

    Args:
        image_processor: The image processor.
        images: One or several; see `load_images`.
        options: Options of the image processor. With `do_rescale=False` arrays of floats are not
            scaled.

    Raises:
        ValueError: If `device` is not the CPU and the image processor runs only there.
    """
    device = options.get("device")
    if isinstance(image_processor, PilBackend) and str(device or "cpu") != "cpu":
        raise ValueError(
            f"`device` is {str(device)!r}: this image processor runs on the CPU. Leave it out, "
            "and move the outputs with `.to(device)`."
        )
    rescales = options.get("do_rescale", getattr(image_processor, "do_rescale", True))
    pictures = load_images(images, scale_floats=bool(rescales))
    return image_processor(pictures, **({"return_tensors": "pt"} | options))


def token_inputs(
    tokenizer: Any, text: Any, options: Options, padding: bool | str = True
) -> Mapping[str, Any]:
    """Tokenize texts; by default padded, truncated and returned as torch tensors.

    Args:
        tokenizer: The tokenizer.
        text: One text or several.
        options: Options of the tokenizer.
        padding: How texts are padded if the options do not set it.
    """
    defaults = {"padding": padding, "truncation": True, "return_tensors": "pt"}
    defaults["return_token_type_ids"] = False
    return tokenizer(tokenizer_input(text), **(defaults | options))
