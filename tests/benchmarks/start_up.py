"""CPU seconds of every --help, of `import noisy_xmodal`, and of what that is compared with.

    python tests/benchmarks/start_up.py
    python tests/benchmarks/start_up.py --repetitions 5 --only import

Each figure is the least of several fresh processes, user and system time together. The reference of
`import noisy_xmodal` is `import torch, transformers`; the second pair also has what registers the
classes: the modules of transformers that it needs, with and without this library.
"""

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: The classes of transformers that the configs, models, processors and tasks are made of, and the
#: Auto classes and the registry that take them.
CLASSES = (
    "from transformers import PreTrainedConfig, PreTrainedModel, ProcessorMixin, AutoConfig, "
    "AutoModel, AutoProcessor, AutoImageProcessor, BaseImageProcessor, PreTrainedTokenizerBase, "
    "initialization; from transformers.image_processing_backends import PilBackend; "
    "from transformers.pipelines import PIPELINE_REGISTRY"
)
IMPORTS = {
    "import: torch, transformers": "import torch, transformers",
    "import: noisy_xmodal": "import noisy_xmodal",
    "import: torch, transformers, its classes": f"import torch, transformers; {CLASSES}",
    "import: noisy_xmodal, its classes": f"import noisy_xmodal, torch, transformers; {CLASSES}",
}


def commands() -> dict[str, list[str]]:
    """The command line of each figure, by its name."""
    found = {name: ["-c", code] for name, code in IMPORTS.items()}
    for words in ([], ["audit"], ["search"]):
        name = " ".join(["noisy-xmodal", *words, "--help"])
        found[name] = ["-m", "noisy_xmodal.cli", *words, "--help"]
    for folder in ("examples", "dataset_scripts"):
        for path in sorted((ROOT / folder).glob("*.py")):
            if "__main__" in path.read_text(encoding="utf-8"):
                found[f"{folder}/{path.name} --help"] = [str(path), "--help"]
    return found


def cpu_seconds(words: list[str]) -> float:
    """User and system time of a fresh Python."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    command = [sys.executable, *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=3, help="Processes of each figure, 3.")
    parser.add_argument("--only", default="", help="Words in the names of the figures to take.")
    args = parser.parse_args()
    for name, words in commands().items():
        if args.only in name:
            seconds = min(cpu_seconds(words) for _ in range(args.repetitions))
            print(f"{name:44}{seconds:8.2f} s", flush=True)


if __name__ == "__main__":
    main()
