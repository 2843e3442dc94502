"""A module that waits for a trigger is imported after it, and not in the middle of an import."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from noisy_xmodal.entry.late_imports import LateImports

MODULES = {
    "library/__init__.py": "",
    "library/auto.py": "",
    "library/outer.py": "from . import auto\nLATER = True",
    "library/broken.py": "from . import auto\nraise RuntimeError('broken')",
    "ours/__init__.py": "",
    "ours/plugin.py": "from library import outer\nassert outer.LATER\nfrom . import parts\nparts.X",
    "ours/parts.py": "import library.auto\nX = 1",
}


@pytest.fixture
def late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LateImports]:
    """Waits for `library.auto` to import `ours.plugin`."""
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = LateImports({"library.auto": "ours.plugin"})
    monkeypatch.setattr(sys, "meta_path", [made, *sys.meta_path])
    yield made
    for name in [name for name in sys.modules if name.partition(".")[0] in ("library", "ours")]:
        del sys.modules[name]


@pytest.mark.parametrize("first", ["library.auto", "library.outer", "ours.parts", "ours.plugin"])
def test_whatever_is_imported_first_the_module_follows(late: LateImports, first: str) -> None:
    import_module("library")
    import_module("ours")
    assert "ours.plugin" not in sys.modules
    import_module(first)
    assert {"ours.plugin", "library.auto"} <= set(sys.modules)
    assert late.waiting == {}


def test_a_trigger_that_is_imported_before_counts(late: LateImports) -> None:
    finders = sys.meta_path[1:]
    sys.meta_path.remove(late)
    import_module("library.auto")
    sys.meta_path[:] = [late, *finders]
    assert "ours.plugin" not in sys.modules
    late.import_ready()
    assert "ours.plugin" in sys.modules


def test_an_import_that_fails_is_over(late: LateImports) -> None:
    with pytest.raises(RuntimeError, match="broken"):
        import_module("library.broken")
    assert late.depth == 0
    import_module("library.outer")
    assert "ours.plugin" in sys.modules
