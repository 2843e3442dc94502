"""What a benchmark is made of: a piece of work, and the sides that do it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from published import Repository


@dataclass(frozen=True)
class Setting:
    """How works are measured.

    Attributes:
        folder: A folder for files; all sides of a work share it, and it is deleted afterwards.
        device: "cpu" or "cuda".
        share: Part of the full size of a work, from above 0 to 1; less than 1 is for trying out.
        threads: Threads of a CPU.
        repetitions: Timings after one to warm up, of which the median counts.
    """

    folder: Path
    device: str = "cpu"
    share: float = 1.0
    threads: int = 2
    repetitions: int = 5


@dataclass(frozen=True)
class Task:
    """Something to time, with its inputs ready.

    Attributes:
        run: What is timed; inputs stay as they are, as it is called several times.
        scale: Whole work / part that `run` does. Seconds are multiplied by it, memory is not.
        note: What was done, where that is not plain.
        cold: Time the first call of a fresh process, and no other.
        repetitions: Timings after the warm-up, where the setting's are too many.
    """

    run: Callable[[], object]
    scale: float = 1.0
    note: str = ""
    cold: bool = False
    repetitions: int | None = None


class Work(ABC):
    """A piece of work that is done by this library, by published code, and at least by a floor.

    Each method is called in a fresh process of its own: what one prepares, no other sees, except
    for files in `setting.folder`.

    Attributes:
        title: What is done, in a line.
        repository: The published code, "owner/name"; empty where there is none.
        peer_name: What `peer` runs: installed code that others would use.
        targets: How many times as fast as the published code this library means to be, by device.
        most_seconds: What this library may take.
        most_mib: The most memory that it may hold.
        tolerance: The largest difference of results that is no error.
        devices: Where this library does the work.
        setting: How it is measured.
        notes: Facts for the report beside the figures; every method may add some.
    """

    title: ClassVar[str]
    repository: ClassVar[str] = ""
    peer_name: ClassVar[str] = ""
    targets: ClassVar[Mapping[str, float]] = {}
    most_seconds: ClassVar[float | None] = None
    most_mib: ClassVar[float | None] = None
    tolerance: ClassVar[float] = 0.0
    devices: ClassVar[tuple[str, ...]] = ("cpu",)

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.notes: dict[str, Any] = {}

    @property
    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """How large the work is, at the share that was asked for."""

    @abstractmethod
    def check(self, repository: Repository | None) -> float | None:
        """Compares results, before anything is timed.

        Args:
            repository: The published code, where the user has given it.

        Returns:
            The largest difference from the published code, or from a plain computation where that
            is not given; None where there is nothing to compare with.
        """

    @abstractmethod
    def ours(self) -> Task:
        """Prepares the work as this library does it."""

    def published(self, repository: Repository) -> Task | None:
        """Prepares the work as the published code does it."""
        return None

    def peer(self) -> Task | None:
        """Prepares the work as installed code of others does it."""
        return None

    def floor(self) -> Task | None:
        """Prepares the least that any way of doing the work has to do; the note says what."""
        return None

    def sized(self, full: int, least: int = 1) -> int:
        """A full size at the share that was asked for, at least `least`."""
        return max(least, round(full * self.setting.share))
