"""Where models run: a device is checked before anything is read."""

from typing import Any


def device_of(name: Any = None) -> str:
    """The device of a name, after a look whether it is there.

    Args:
        name: As torch names devices: "cpu", "cuda", "cuda:1", "mps"; None for a GPU of CUDA where
            there is one, else the CPU.

    Returns:
        A name that torch takes.

    Raises:
        ValueError: There is no such device, and what there is.
    """
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    have = _devices()
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or (device.type != "cpu" and device.type not in have):
        hint = " (a GPU is called cuda)" if str(name).lower().startswith("gpu") else ""
        raise ValueError(f"there is no device {str(name)!r} here{hint}: give {' or '.join(have)}")
    if device.index is not None and device.index >= have[device.type]:
        last = f" to {device.type}:{have[device.type] - 1}" if have[device.type] > 1 else ""
        first = f"{device.type}:0" if device.type != "cpu" else "cpu"
        raise ValueError(f"there is no device {str(name)!r} here: give {first}{last}")
    return str(device)


def _devices() -> dict[str, int]:
    """How many there are of each type, what computes fastest first."""
    import torch

    counts = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "xpu": torch.xpu.device_count() if torch.xpu.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    return {kind: count for kind, count in counts.items() if count}
