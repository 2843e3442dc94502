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

    counts = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "xpu": torch.xpu.device_count() if torch.xpu.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    numbered = [f"{kind}:{number}" for kind, n in counts.items() for number in range(n)]
    names = [*(kind for kind, n in counts.items() if n), *numbered]
    if name is None:
        return "cuda" if "cuda" in names else "cpu"
    if str(name) not in names:
        raise ValueError(f"there is no device {str(name)!r} here: give one of {', '.join(names)}")
    return str(name)
