"""`import noisy_xmodal` is quick, and makes its classes known to transformers nevertheless."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import noisy_xmodal
from noisy_xmodal import NcrConfig, NcrModel

# Each line runs in a fork of a process that has imported this package first, then transformers.
PROGRAM = """
import os, sys
import noisy_xmodal
assert not {"torch", "transformers", "numpy"} & set(sys.modules)
import torch, transformers
assert "transformers.models.auto.configuration_auto" not in sys.modules
for line in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        exec(line)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, line
"""
LINES = (
    "assert transformers.AutoConfig.from_pretrained('ncr').model_type == 'noisy_xmodal_ncr'; "
    "assert type(transformers.AutoModel.from_pretrained('ncr')).__name__ == 'NcrModel'; "
    "assert type(transformers.AutoProcessor.from_pretrained('ncr')).__name__ == 'NcrProcessor'; "
    "found = transformers.AutoImageProcessor.from_pretrained('ncr', backend='pil'); "
    "assert type(found).__name__ == 'RegionFeatureProcessor'",
    "made = transformers.pipeline('image-text-retrieval', 'ncr'); "
    "assert type(made).__name__ == 'ImageTextRetrievalPipeline'",
    # Imports of which each reaches the Auto classes before it is complete.
    "import noisy_xmodal.modules; transformers.AutoModel.from_pretrained('ncr')",
    "transformers.PreTrainedModel; transformers.AutoModel.from_pretrained('ncr')",
)


def test_the_auto_classes_load_a_folder(
    tmp_path: Path, tiny_config: Any, tiny_processor: Any
) -> None:
    NcrModel(tiny_config(NcrConfig)).save_pretrained(tmp_path / "ncr")
    tiny_processor.save_pretrained(tmp_path / "ncr")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *LINES],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there() -> None:
    for name in noisy_xmodal.__all__:
        assert hasattr(noisy_xmodal, name), name
    assert set(noisy_xmodal.__all__) <= set(dir(noisy_xmodal))
