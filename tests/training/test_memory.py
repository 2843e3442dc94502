"""What a process keeps of its freed memory, seen from outside in a process of its own."""

import os
import subprocess
import sys

import pytest

from noisy_xmodal.training import memory
from noisy_xmodal.training.memory import CHOICES, keep_freed_memory

PROGRAM = """
import ctypes, resource, runpy, sys
keep_freed_memory = runpy.run_path(sys.argv[2])["keep_freed_memory"]  # without torch
print(keep_freed_memory() if sys.argv[1] == "keep" else None)
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
def use():
    piece = library.malloc(64 * 2**20)
    ctypes.memset(piece, 1, 64 * 2**20)
    library.free(piece)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(choice: str) -> tuple[str, int]:
    free = {k: v for k, v in os.environ.items() if k not in CHOICES and not k.startswith("MALLOC_")}
    command = [sys.executable, "-c", PROGRAM, choice, memory.__file__]
    said, faults = subprocess.run(
        command, env=free, capture_output=True, text=True, check=True
    ).stdout.split()
    return said, int(faults)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone has these settings")
def test_a_piece_that_was_freed_is_used_again_without_a_page_fault():
    said, faults = page_faults("keep")
    if said == "False":
        pytest.skip("this C library is not glibc")
    assert faults < 1000
    assert page_faults("return")[1] > 10_000  # 4 x 64 MiB in pages of 4 KiB: 65,536


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "LD_PRELOAD"])
def test_what_the_environment_says_is_left_alone(name, monkeypatch):
    monkeypatch.setenv(name, "1")
    assert not keep_freed_memory()
