"""Memory that a CPU's process keeps for its next step.

By its defaults the C library of Linux gives a large piece of memory back to the system as soon as
it is freed, and takes it anew, page by page and filled with zeros, for the next tensor: on two
cores an elementwise operation then runs at a fifth to a tenth of the speed of the memory. A
training step frees and takes the same pieces over and over, so the process had better keep them.
"""

import ctypes
import os
import platform

#: By any of these a person has chosen already how memory is handled.
CHOICES = ("GLIBC_TUNABLES", "LD_PRELOAD")
CHOICE_PREFIX = "MALLOC_"

# Parameters of glibc's mallopt and the values that make it keep what was freed: it returns nothing
# from the top, maps no piece by itself, and serves the thread of the backward pass from the same
# heap as the others.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_SETTINGS = {_ARENA_MAX: 1, _MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1}


def keep_freed_memory() -> bool:
    """Make this process keep freed memory for its next allocations, until it ends.

    The peak of its memory stays what it is; between peaks it does not shrink.

    Returns:
        Whether it does from now on: not where the C library is another one than glibc, or where the
        environment says how memory is handled (`MALLOC_*`, `GLIBC_TUNABLES`, `LD_PRELOAD`).
    """
    chosen = [name for name in os.environ if name in CHOICES or name.startswith(CHOICE_PREFIX)]
    if chosen or platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return all(library.mallopt(name, value) for name, value in _SETTINGS.items())
