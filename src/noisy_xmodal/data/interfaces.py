"""What commands and scripts call the options that messages name."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ..entry.options import spelled
from .messages import spell_options

#: Keywords of the data layer's messages, and what else an interface may call them.
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
    """What writes the options of a message as an interface calls them.

    Args:
        names: What the interface calls each of its options, by the name that scripts have for it.
    """
    keywords = {
        keyword: next((names[name] for name in (*others, keyword) if name in names), None)
        for keyword, others in _KEYWORDS.items()
    }
    skipping = names.get("on_bad_image")
    keywords["left_out"] = f"{skipping} skip" if skipping else None
    return lambda message: spell_options(spelled(message, names), keywords)


def script_spelling(*kinds: Any) -> Callable[[str], str]:
    """The same for a script.

    Args:
        kinds: The dataclasses of its options.
    """
    fields = (field.name for kind in kinds for field in dataclasses.fields(kind))
    return spelling({name: f"--{name}" for name in fields})
