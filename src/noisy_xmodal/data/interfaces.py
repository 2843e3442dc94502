"""Option names in messages, as the interface at hand (a command or a script) spells them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ..entry.options import spelled
from .messages import spell_options

#: Keywords in messages of the data layer, with other names that an interface may use.
_KEYWORDS: dict[str, tuple[str, ...]] = {
    "config_name": ("source_config", "dataset_config_name"),
    "noise": ("inject_noise",),
    **dict.fromkeys(
        (
            *("split", "image_column", "caption_column", "id_column", "text_column"),
            *("label_column", "image_label_column", "text_label_column", "source", "noise_index"),
            *("objects_from", "overwrite", "on_bad_image", "per_device_train_batch_size"),
        ),
        (),
    ),
}


def spelling(names: Mapping[str, str]) -> Callable[[str], str]:
    """Returns a function that rewrites the options in a message for an interface.

    Args:
        names: The interface's spelling of each option, by the option's name in scripts.
    """
    keywords = {
        keyword: next((names[name] for name in (*others, keyword) if name in names), None)
        for keyword, others in _KEYWORDS.items()
    }
    on_bad_image = names.get("on_bad_image")
    keywords["left_out"] = f"{on_bad_image} skip" if on_bad_image else None
    return lambda message: spell_options(spelled(message, names), keywords)


def script_spelling(*kinds: Any) -> Callable[[str], str]:
    """Returns `spelling` for a script.

    Args:
        kinds: The dataclasses of the script's options.
    """
    fields = (field.name for kind in kinds for field in dataclasses.fields(kind))
    return spelling({name: f"--{name}" for name in fields})
