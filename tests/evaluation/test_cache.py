"""Arrays in files: made block by block, taken up, and never taken for whole where they are not."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from noisy_xmodal.evaluation import cache
from noisy_xmodal.evaluation.cache import complete_rows, stored_rows

ROWS = np.arange(21.0, dtype=np.float32).reshape(7, 3)
Make = Callable[[int, int], np.ndarray]


class Maker:
    """Makes rows of an array, says which, and can be stopped before one."""

    def __init__(self, rows: np.ndarray = ROWS, stops_at: int | None = None) -> None:
        self.rows, self.stops_at = rows, stops_at
        self.made: list[tuple[int, int]] = []

    def __call__(self, start: int, end: int) -> np.ndarray:
        if start == self.stops_at:
            raise KeyboardInterrupt
        self.made.append((start, end))
        return self.rows[start:end]


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of rows of which the first four are there."""
    monkeypatch.setattr(cache, "_SAVE_INTERVAL", -1.0)
    with pytest.raises(KeyboardInterrupt):
        stored_rows(tmp_path / "a.npy", 7, Maker(stops_at=4), block_size=2)
    return tmp_path / "a.npy"


def test_rows_are_made_once_and_mapped(tmp_path: Path) -> None:
    path, make = tmp_path / "deep" / "a.npy", Maker()
    rows = stored_rows(path, 7, make, block_size=3)
    assert make.made == [(0, 3), (3, 6), (6, 7)]
    assert isinstance(rows, np.memmap)
    assert not rows.flags.writeable
    np.testing.assert_array_equal(rows, ROWS)
    again = Maker()
    np.testing.assert_array_equal(stored_rows(str(path), 7, again), ROWS)
    assert again.made == []
    visible = [file.name for file in path.parent.iterdir() if not file.name.endswith(".lock")]
    assert visible == ["a.npy"]


def test_a_stopped_run_is_taken_up(stopped: Path) -> None:
    assert not stopped.exists()  # what exists is whole
    state = stopped.with_name(".a.npy.json")
    assert json.loads(state.read_text()) == {"done": 4}
    rest = Maker()
    np.testing.assert_array_equal(stored_rows(stopped, 7, rest, block_size=2), ROWS)
    assert rest.made == [(4, 6), (6, 7)]
    assert not state.exists()
    assert not stopped.with_name(".a.npy.partial").exists()


@pytest.mark.parametrize("state", ["{", "[1]", "{}", '{"done": 8}', '{"done": -1}', None])
def test_rows_of_an_unknown_state_are_made_anew(stopped: Path, state: str | None) -> None:
    file = stopped.with_name(".a.npy.json")
    if state is None:
        file.unlink()
    else:
        file.write_text(state)
    make = Maker()
    np.testing.assert_array_equal(stored_rows(stopped, 7, make), ROWS)
    assert make.made == [(0, 7)]


def test_a_partial_file_that_was_cut_is_made_anew(stopped: Path) -> None:
    aside = stopped.with_name(".a.npy.partial")
    aside.write_bytes(aside.read_bytes()[:-4])
    make = Maker()
    np.testing.assert_array_equal(stored_rows(stopped, 7, make), ROWS)
    assert make.made == [(0, 7)]


def test_a_partial_file_of_another_number_of_rows_is_made_anew(stopped: Path) -> None:
    make = Maker(ROWS[:5])
    np.testing.assert_array_equal(stored_rows(stopped, 5, make), ROWS[:5])
    assert make.made == [(0, 5)]


@pytest.mark.parametrize("damage", ["cut", "rows", "text", "empty", "flat"])
def test_a_whole_file_that_does_not_fit_is_made_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.npy"
    np.save(path, {"rows": ROWS[:6], "flat": np.float32(1)}.get(damage, ROWS))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-4])
    elif damage in ("text", "empty"):
        path.write_text("not an array" * (damage == "text"))
    size = path.stat().st_size
    assert complete_rows(path, 7) is None
    assert path.stat().st_size == size  # looking has not lengthened it
    np.testing.assert_array_equal(stored_rows(path, 7, Maker()), ROWS)


def test_blocks_that_do_not_fit_are_refused(stopped: Path) -> None:
    for other in (ROWS[:, :2], ROWS.astype(np.float64), ROWS[None, :, 0]):
        with pytest.raises(ValueError, match=r"rows 4 to 5 .*\.a\.npy\.partial has float32"):
            stored_rows(stopped, 7, Maker(other), block_size=2)
    with pytest.raises(ValueError, match="rows 4 to 5"):  # one row would fill both
        stored_rows(stopped, 7, lambda start, end: ROWS[:1], block_size=2)


@pytest.mark.parametrize(("n_rows", "block_size"), [(0, 1), (1, 0)])
def test_nothing_to_make_is_an_error(tmp_path: Path, n_rows: int, block_size: int) -> None:
    with pytest.raises(ValueError, match="give at least one"):
        stored_rows(tmp_path / "a.npy", n_rows, Maker(), block_size)


def test_a_second_run_waits_for_the_first(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def make(start: int, end: int) -> np.ndarray:
        calls.append(start)
        begun.set()
        assert go_on.wait(10)
        return ROWS[start:end]

    threads = [
        threading.Thread(target=stored_rows, args=(tmp_path / "a.npy", 7, make)) for _ in range(2)
    ]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    threads[1].join(0.2)
    assert threads[1].is_alive()
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert calls == [0]


def test_rows_that_are_not_finite_are_named(tmp_path: Path) -> None:
    block = np.ones((3, 2, 2), np.float16)
    block[1, 1, 0] = np.inf
    with pytest.raises(ValueError, match="row 1 of the vectors is not finite"):
        stored_rows(tmp_path / "a.npy", 3, Maker(block))
