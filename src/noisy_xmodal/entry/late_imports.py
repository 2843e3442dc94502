"""Import modules of this library as soon as another library has imported modules of its own.

transformers has no entry points for plugins: classes are registered by calls, and a call imports
what takes seconds. So the calls wait until a program imports the Auto classes itself.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType


class LateImports(MetaPathFinder):
    """Imports each module after its trigger, once no import of either library is under way.

    A module that is imported in the middle of another one may find that one half-initialized.

    Args:
        modules: Full names of the modules to import, by the full name of their trigger.
    """

    def __init__(self, modules: Mapping[str, str]) -> None:
        self.waiting = dict(modules)
        self.packages = {name.partition(".")[0] for pair in modules.items() for name in pair}
        self.depth = 0  # imports of the two libraries that are under way

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module of the libraries like Python does, but with a loader that reports."""
        if fullname.partition(".")[0] not in self.packages:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path, self)
        return spec

    def import_ready(self) -> None:
        """Import the modules whose triggers are imported, if no import is under way."""
        while self.depth == 0 and (ready := self.waiting.keys() & sys.modules.keys()):
            import_module(self.waiting.pop(min(ready)))


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, late: LateImports) -> None:
        super().__init__(fullname, path)
        self.late = late

    def exec_module(self, module: ModuleType) -> None:
        self.late.depth += 1
        try:
            super().exec_module(module)
        finally:
            self.late.depth -= 1
        self.late.import_ready()
