"""What an error is called in a line, and whose fault it is."""

import json
import tarfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors

from noisy_xmodal.data import DatasetError
from noisy_xmodal.entry.errors import ModelFilesError, in_words, is_mistake, load_part
from noisy_xmodal.noise import parse_noise
from noisy_xmodal.training.failures import RunError


def raised(action: Any, *args: Any, **options: Any) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        action(*args, **options)
    return caught.value


def hub_error(kind: type[Exception]) -> Exception:
    error = kind.__new__(kind)
    Exception.__init__(error, "404 Client Error. (Request ID: x)\n\nMore.")
    return error


def wrapped(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (raised(parse_noise, "magic_20"), "'magic_20'"),  # raised on purpose, here
        (DatasetError("Row 3 is empty."), "Row 3 is empty."),
        (RunError("the disk is full"), "the disk is full"),
        (FileNotFoundError(2, "No such file or directory", "x.csv"), "x.csv"),
        (raised(json.loads, "{"), "not valid JSON"),
        (raised(b"\xe9".decode), "not UTF-8 text"),
        (raised(tarfile.open, Path(__file__)), "file could not be opened successfully"),
        (raised(__import__, "no_such_module"), "pip install no-such-module"),
        (ModuleNotFoundError("no", name="resvg_py"), "pip install 'noisy-xmodal[demo]'"),
        (ModuleNotFoundError("no", name="textblob.en"), "pip install 'noisy-xmodal[nouns]'"),
        (MemoryError(), "memory ran out"),
        (torch.OutOfMemoryError("CUDA out of memory."), "memory ran out"),
        (raised(datasets.Dataset.from_dict({"a": [1]}).select_columns, "b"), "b"),
        (raised(datasets.load_dataset, "no such/name/of/it"), "name"),
        (hub_error(RepositoryNotFoundError), "no such repository"),
        (SafetensorError("Error while serializing: I/O error: no space"), "cannot be written"),
        (raised(load_tensors, b"x"), "weights are damaged"),
        (raised(validate_repo_id, "/no/model"), "not a name of the Hub"),
        (wrapped(OSError("long\nstory"), hub_error(GatedRepoError)), "restricted"),
        (OfflineModeIsEnabled("Cannot reach the Hub"), "not in the cache"),
        (wrapped(OSError("We couldn't connect"), LocalEntryNotFoundError("x")), "not in the cache"),
    ],
)
def test_a_persons_mistake_is_told_in_a_line(error: BaseException, expected: str) -> None:
    assert is_mistake(error)
    line = in_words(error)
    assert expected in line
    assert "\n" not in line
    assert len(line) < 500


@pytest.mark.parametrize(
    "error",
    [
        raised(lambda: 1 / 0),
        raised(lambda: {}["x"]),
        raised(np.concatenate, []),
        raised(lambda: np.zeros((2, 3)) @ np.zeros((2, 3))),
        raised(torch.nn.functional.cross_entropy, torch.zeros(2, 3), torch.zeros(3).long()),
        raised(lambda: torch.zeros(2) + torch.zeros(3)),
        raised(int, "x"),
        raised(lambda: None.x),  # type: ignore[attr-defined]
        raised(torch.nn.Linear, "wide", 3),
    ],
)
def test_a_fault_of_the_program_is_none(error: BaseException) -> None:
    assert not is_mistake(error)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("train.parquet", b"", "0 bytes"),
        ("train.parquet", b"no parquet at all, but long enough", "arquet"),
        ("train.json", b'[{"image": "x", "capt', ""),
        ("train.csv", b'a,b\n1,"2\n3,4,5,6\n', ""),
        ("train.arrow", b"none", ""),
        ("README.md", b"---\nconfigs: [\n---\n", "YAML"),
    ],
)
def test_a_file_that_datasets_cannot_read_is_named(
    name: str, content: bytes, says: str, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_bytes(content)
    error = raised(datasets.load_dataset, str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    assert is_mistake(error)
    line = in_words(error)
    assert name in line
    assert says in line
    assert "An error occurred while generating" not in line


def test_what_goes_wrong_in_loading_names_the_model(tmp_path: Path) -> None:
    def load(error: BaseException, name: Path = tmp_path) -> BaseException:
        class AutoProcessor:
            @staticmethod
            def from_pretrained(name: Path, trust_remote_code: bool) -> None:
                assert not trust_remote_code
                raise error

        return raised(load_part, AutoProcessor, name)

    assert str(load(KeyError("added_tokens"))) == (
        f"{tmp_path} cannot be loaded: the files of its processor are damaged, or of another kind "
        "(KeyError: 'added_tokens')"
    )
    assert "its weights are damaged" in str(load(raised(load_tensors, b"123456789")))
    assert "other sizes" in str(load(RuntimeError("You set `ignore_mismatched_sizes` to False")))
    gone = load(OSError("gone"), Path("/nowhere"))
    assert str(gone).startswith("/nowhere is not a folder here, and as a model of the Hub cannot")
    assert isinstance(gone, ModelFilesError)
    for error in (MemoryError(), ImportError("no timm"), raised(parse_noise, "magic_20")):
        assert load(error) is error  # says all itself
