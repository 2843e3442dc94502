"""Devices that models run on, checked before any data is read."""

from typing import Any


def device_of(name: Any = None) -> str:
    """Check that a device exists.

    Args:
        name: Name of the device in torch, such as "cpu", "cuda", "cuda:1" or "mps"; None for CUDA
            if it is available, else the CPU.

    Returns:
        The name in torch.

    Raises:
        ValueError: The device does not exist; the message lists those that do.
    """
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    present = _devices()
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or (device.type != "cpu" and device.type not in present):
        hint = " (a GPU is called cuda)" if str(name).lower().startswith("gpu") else ""
        raise ValueError(
            f"there is no device {str(name)!r} here{hint}: give {' or '.join(present)}"
        )
    if device.index is not None and device.index >= present[device.type]:
        last = f" to {device.type}:{present[device.type] - 1}" if present[device.type] > 1 else ""
        first = f"{device.type}:0" if device.type != "cpu" else "cpu"
        raise ValueError(f"there is no device {str(name)!r} here: give {first}{last}")
    return str(device)


def _devices() -> dict[str, int]:
    """The number of devices of each type, the fastest type first."""
    import torch

    counts = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "xpu": torch.xpu.device_count() if torch.xpu.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    return {kind: count for kind, count in counts.items() if count}
