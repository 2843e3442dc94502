"""The options that a processor is called with, as transformers' own processors take them.

An option stands by itself, as in `processor(images=pictures, size=32)`, or in a dict of its side:
`images_kwargs`, `text_kwargs`, or `common_kwargs` for what both sides know. transformers warns of a
name that it does not know, and goes on; here it is refused.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from transformers.image_processing_backends import PilBackend
from transformers.processing_utils import TextKwargs

from ..modules.image_loading import load_images
from ..modules.list_inputs import tokenizer_input

#: Options of texts with places for images in them, which no model of this library reads.
_OF_PLACES = {
    "return_mm_token_type_ids",
    "return_text_replacement_offsets",
    "sanitize_control_tokens",
}
_TEXT, _IMAGES, _COMMON = "text_kwargs", "images_kwargs", "common_kwargs"

Options = dict[str, Any]


def options_by_side(image_processor: Any, options: Mapping[str, Any]) -> tuple[Options, Options]:
    """Deals options to the sides that know them.

    Args:
        image_processor: That of the processor; None where neither pictures nor texts are read, and
            `return_tensors` is the only option.
        options: All but images and text of a call.

    Returns:
        The options of the tokenizer and those of the image processor.

    Raises:
        ValueError: If an option is not known, or is given twice.
    """
    names = {_TEXT: {"return_tensors"}, _IMAGES: {"return_tensors"}}
    if image_processor is not None:
        names[_TEXT] = set(TextKwargs.__annotations__) - _OF_PLACES
        names[_IMAGES] = set(image_processor.valid_kwargs.__annotations__)
    alone = {name: value for name, value in options.items() if name not in (*names, _COMMON)}
    _check_names(alone, names[_TEXT] | names[_IMAGES], "", names)
    common = _options_in(options, _COMMON)
    _check_names(common, names[_TEXT] & names[_IMAGES], _COMMON, names)
    dealt = []
    for side, known in names.items():
        own = _options_in(options, side)
        _check_names(own, known, side, names)
        for name in own.keys() & alone.keys():
            raise ValueError(f"`{name}` is given twice, by itself and in `{side}`: give it once.")
        dealt.append(common | own | {name: alone[name] for name in known & alone.keys()})
    return dealt[0], dealt[1]


def _options_in(options: Mapping[str, Any], name: str) -> Options:
    given = options.get(name) or {}
    if not isinstance(given, Mapping):
        raise ValueError(f"`{name}` is a {type(given).__name__}: pass a dict of options.")
    return dict(given)


def _check_names(
    given: Iterable[str], known: set[str], where: str, names: Mapping[str, set[str]]
) -> None:
    for name in given:
        if name not in known:
            place = f" in `{where}`" if where else ""
            raise ValueError(
                f"`{name}`{place} is no option of this processor. Texts take "
                f"{', '.join(sorted(names[_TEXT]))}; images take "
                f"{', '.join(sorted(names[_IMAGES]))}."
            )


def picture_inputs(image_processor: Any, images: Any, options: Options) -> Mapping[str, Any]:
    """What an image processor makes of pictures, as torch tensors by default.

    Args:
        image_processor: The image processor.
        images: One or several, see `load_images`.
        options: Its options. With `do_rescale=False` arrays of floats are not scaled.
    """
    device = options.get("device")
    if isinstance(image_processor, PilBackend) and str(device or "cpu") != "cpu":
        raise ValueError(
            f"`device` is {str(device)!r}: this image processor works on the CPU. Leave it out, "
            "and move what it gives by `.to(device)`."
        )
    rescales = options.get("do_rescale", getattr(image_processor, "do_rescale", True))
    pictures = load_images(images, scale_floats=bool(rescales))
    return image_processor(pictures, **({"return_tensors": "pt"} | options))


def token_inputs(
    tokenizer: Any, text: Any, options: Options, padding: bool | str = True
) -> Mapping[str, Any]:
    """What a tokenizer makes of texts: by default padded, cut, as torch tensors.

    Args:
        tokenizer: The tokenizer.
        text: One text or several.
        options: Its options.
        padding: How texts are padded, where the options do not say it.
    """
    defaults = {"padding": padding, "truncation": True, "return_tensors": "pt"}
    defaults["return_token_type_ids"] = False
    return tokenizer(tokenizer_input(text), **(defaults | options))
