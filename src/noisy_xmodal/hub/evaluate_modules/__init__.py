"""The retrieval metrics as modules of the Hugging Face `evaluate` library, one folder each.

    evaluate.load(module_folder("retrieval_recall")).compute(predictions=..., references=...)

The modules define inputs and documentation; `noisy_xmodal.metrics` has the implementation.
"""

from pathlib import Path

MODULES = ("retrieval_recall", "class_map")

__all__ = ["MODULES", "module_folder"]


def module_folder(name: str) -> str:
    """Folder of a module, for `evaluate.load`.

    Args:
        name: One of `MODULES`.

    Returns:
        The path.

    Raises:
        ValueError: If the module does not exist.
    """
    if name not in MODULES:
        raise ValueError(f"There is no module {name!r}: give one of {MODULES}")
    return str(Path(__file__).parent / name)
