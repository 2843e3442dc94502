"""Errors as one line, and whether they are mistakes of the user or bugs of the program.

A mistake is one of these; every other error is a bug:

- an error of the system: a file, a network, memory, a package that is not installed;
- content that cannot be read: bytes that are not UTF-8, JSON or an archive, damaged weights, or an
  error while a reader of `datasets` had a file open;
- an error that this library, or a Hugging Face library that checks its arguments, raises with a
  `raise` statement. numpy and torch raise as well, but because of what the program did.
"""

import json
import linecache
import os
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any

_PACKAGE, _DISTRIBUTION = "noisy_xmodal", "noisy-xmodal"
#: Libraries whose errors are about names, options and files that the user chose.
_CHECKERS = (_PACKAGE, "transformers", "datasets", "huggingface_hub", "accelerate", "__main__")
#: Folder of the standard library.
_STANDARD = sysconfig.get_paths()["stdlib"]
_NETWORK = ("httpx", "httpcore", "requests", "urllib3")
_OF_CONTENT = (json.JSONDecodeError, UnicodeError, tarfile.TarError, zipfile.BadZipFile, EOFError)
#: Errors that no library raises to report a mistake of the user.
_FAULTS = (TypeError, LookupError, AttributeError, AssertionError, NameError, ArithmeticError)
_GENERATION = "An error occurred while generating the dataset"
_LONGEST = 400
#: What the errors of the Hub mean.
_OF_HUB = {
    "GatedRepoError": "access to it is restricted: ask for it on its page of the Hub, then log in "
    "with `hf auth login`",
    "RepositoryNotFoundError": "the Hub has no such repository, or a private one: correct the "
    "name, or log in with `hf auth login`",
    "HFValidationError": "it is not a name of the Hub, NAME or ORGANISATION/NAME: correct the path",
}


class Stopped(KeyboardInterrupt):
    """A signal stopped the work.

    Args:
        number: The signal number.
        message: The line to print; empty for the one of the command.

    Attributes:
        exit_code: 128 + the number.
    """

    def __init__(self, number: int, message: str = "") -> None:
        super().__init__(message)
        self.number = number
        self.exit_code = 128 + number


class ModelFilesError(OSError):
    """A model is missing, or its files cannot be read."""


def load_part(kind: Any, name: str | os.PathLike[str], **options: Any) -> Any:
    """Load a part of a model without running code of its folder; name the model if that fails.

    Args:
        kind: A class with `from_pretrained`, such as AutoConfig.
        name: Folder or Hub id.
        options: For `from_pretrained`.

    Raises:
        ModelFilesError: The model is missing or cannot be read.
    """
    try:
        return kind.from_pretrained(name, trust_remote_code=False, **options)
    except (MemoryError, ImportError):
        raise
    except Exception as error:
        if _is_raised_by(error, (_PACKAGE,)):
            raise  # the message is complete
        why = in_words(error)
        if isinstance(error, _FAULTS):  # a library failed on the content of the files
            part = kind.__name__.removeprefix("Auto").lower()
            why = f"the files of its {part} are damaged, or of another kind ({why})"
        where = "" if Path(name).expanduser().exists() else "is not a folder here, and as a model "
        where += "of the Hub " if where else ""
        raise ModelFilesError(f"{name} {where}cannot be loaded: {why}") from error


def is_mistake(error: BaseException) -> bool:
    """Whether an error is a mistake of the user; if not, it is a bug.

    Args:
        error: The error that ended the work.
    """
    if isinstance(error, (OSError, ImportError, MemoryError, *_OF_CONTENT)):
        return True
    if _package_of(error) in (_PACKAGE, "yaml", *_NETWORK) or has_no_memory(error):
        return True
    if _is_of_weights(error):
        return True
    if any(open_file(one) for one in causes(error)):
        return True
    return not isinstance(error, _FAULTS) and _is_raised_by(error, _CHECKERS)


def causes(error: BaseException) -> list[BaseException]:
    """An error and its causes, down to the root."""
    chain = [error]
    while True:
        last = chain[-1]
        before = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
        if before is None or before in chain:
            return chain
        chain.append(before)


def has_no_memory(error: BaseException) -> bool:
    """Whether the machine or the GPU ran out of memory."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def in_words(error: BaseException) -> str:
    """The cause of an error in one line, with the file that was read.

    Args:
        error: Any error. An error that only wraps another one is described by the inner one.
    """
    if has_no_memory(error):
        return f"memory ran out ({_short(error)}): take fewer pairs, or smaller batches or models"
    chain = causes(error)
    cause = next((one for one in chain if not _only_wraps(one)), chain[-1])
    text = _text(cause) if _is_ours(cause) else _of_the_hub(chain) or _text(cause)
    file = next((path for one in chain if (path := open_file(one))), None)
    if file is not None and file not in text:
        text = f"{file} cannot be read: {text}"
    notes = (note for one in chain[: chain.index(cause) + 1] for note in _notes(one))
    return " ".join([text, *notes])


def open_file(error: BaseException) -> str | None:
    """The file that a reader of `datasets` had open; its errors do not name it."""
    for frame, _ in walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).startswith("datasets.packaged_modules."):
            file = frame.f_locals.get("file")
            if isinstance(file, str):
                return str(file.get_origin() if hasattr(file, "get_origin") else file)
    return None


def place_of(error: BaseException) -> str:
    """File and line of this library where an error was raised."""
    frames = list(walk_tb(error.__traceback__))
    own = [at for at in frames if _module(at[0]) in (_PACKAGE, "__main__")] or frames
    if not own:
        return "an unknown place"
    frame, line = own[-1]
    return f"{Path(frame.f_code.co_filename).name}, line {line}"


def _only_wraps(error: BaseException) -> bool:
    """Whether an error of `datasets` or of a strict dataclass hides its cause."""
    kind = type(error)
    return error.__cause__ is not None and (
        str(error).strip() == _GENERATION
        or any(base.__name__ == "StrictDataclassError" for base in kind.__mro__)
    )


def _text(error: BaseException) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"it is not {error.encoding.upper()} text ({error}): save it as UTF-8"
    if isinstance(error, json.JSONDecodeError):
        return f"it is not valid JSON ({error})"
    if isinstance(error, ModuleNotFoundError) and error.name and not _is_ours(error):
        return f"the package {error.name} is not installed: {_how_to_install(error.name)}"
    details = getattr(error, "details", None)
    if type(error).__name__ == "CastError" and callable(details):  # of datasets
        return f"all files must have the same columns, but {details()}"
    if _package_of(error) == "yaml":
        return f"the YAML of a README.md is not valid ({_short(error)})"
    if _is_of_weights(error):
        is_written = "while serializing" in str(error)
        what = (
            "weights cannot be written" if is_written else "its weights are damaged or incomplete"
        )
        return f"{what} ({error})"
    message = _short(error)
    if "ignore_mismatched_sizes" in message:
        return "its weights have other sizes than its config.json says"
    is_bare = isinstance(error, LookupError) or (
        isinstance(error, _FAULTS) and not _is_raised_by(error, _CHECKERS)
    )
    return f"{type(error).__name__}: {message}" if is_bare else message


def _short(error: BaseException) -> str:
    """The message in one line: ours in full, the first lines of others."""
    message = str(error).strip()
    if "Traceback (most recent call last)" in message:  # of a data loader process
        message = message.splitlines()[-1].partition(": ")[2]
    if _is_ours(error):
        return " ".join(message.split())
    message = message.removeprefix(_GENERATION).strip()
    first, *more = [line.strip() for line in message.splitlines() if line.strip()] or [""]
    while more and (first.endswith(":") or len(first) < 40):
        first = f"{first} {more.pop(0)}"
    first = first or type(error).__name__
    return first if len(first) <= _LONGEST else f"{first[:_LONGEST].rstrip()} ..."


def _of_the_hub(chain: list[BaseException]) -> str | None:
    """What an answer of the Hub means, if one is among the causes."""
    kinds = {kind.__name__ for error in chain for kind in type(error).__mro__}
    for kind, meaning in _OF_HUB.items():
        if kind in kinds:
            return meaning
    if kinds.isdisjoint({"OfflineModeIsEnabled", "LocalEntryNotFoundError"}) and not any(
        _package_of(error) in _NETWORK for error in chain
    ):
        return None
    if getattr(sys.modules.get("huggingface_hub.constants"), "HF_HUB_OFFLINE", False):
        return "it is not in the cache, and HF_HUB_OFFLINE forbids to ask the Hub"
    return "it is not in the cache, and the Hub cannot be reached: check the connection"


def _how_to_install(module: str) -> str:
    """The command that installs a module: an extra of this library, or its own package."""
    package = module.partition(".")[0].replace("_", "-").lower()
    try:
        lines = requires(_DISTRIBUTION) or []
    except PackageNotFoundError:
        lines = []
    for line in lines:
        name, _, extra = line.partition("; extra == ")
        if extra and name.lower().startswith(package):
            return f"pip install 'noisy-xmodal[{extra.strip(chr(34) + chr(39))}]'"
    return f"pip install {package}"


def _is_of_weights(error: BaseException) -> bool:
    """Whether a file of weights is damaged or could not be written."""
    return type(error).__name__ == "SafetensorError"


def _notes(error: BaseException) -> Iterator[str]:
    for note in getattr(error, "__notes__", ()):
        yield " ".join(str(note).split())


def _is_ours(error: BaseException) -> bool:
    return _package_of(error) == _PACKAGE or _is_raised_by(error, (_PACKAGE, "__main__"))


def _package_of(error: BaseException) -> str:
    return type(error).__module__.partition(".")[0]


def _is_raised_by(error: BaseException, modules: tuple[str, ...]) -> bool:
    """Whether a `raise` statement of these packages raised an error."""
    frames = list(walk_tb(error.__traceback__))
    if not frames:
        return False
    frame, line = frames[-1]
    statement = linecache.getline(frame.f_code.co_filename, line).lstrip()
    return _module(frame) in modules and statement.startswith("raise ")


def _module(frame: FrameType) -> str:
    """The package of a frame; `__main__` for a script outside of all library folders."""
    path = frame.f_code.co_filename
    name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    is_installed = any(part in path for part in ("site-packages", "dist-packages", "<", _STANDARD))
    return name if is_installed or name == _PACKAGE else "__main__"
