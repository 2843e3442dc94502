"""Real clients in a process of their own, where `loopback_hub` is the only Hub."""

import subprocess
import sys
from pathlib import Path

from loopback_hub import LoopbackHub

START = """
import sys
from pathlib import Path
from huggingface_hub import HfApi, ModelCard, errors, hf_hub_download, snapshot_download

def raises(error, function, *arguments, **options):
    try:
        function(*arguments, **options)
    except error as raised:
        return raised
    raise AssertionError(f"{function.__name__}{arguments} raised no {error.__name__}")
"""


def run(hub: LoopbackHub, home: Path, code: str, *arguments: object) -> None:
    """Run code after `START`, with these arguments; it must end well."""
    process = subprocess.run(
        [sys.executable, "-c", START + code, *map(str, arguments)],
        env=hub.environment(home),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, "\n".join([process.stdout, process.stderr, *hub.problems])
