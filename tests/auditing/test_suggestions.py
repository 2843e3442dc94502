"""What fits better from elsewhere, against a look at all pairs."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from noisy_xmodal.arguments.audit import AuditOptions
from noisy_xmodal.auditing.judge import ModelJudge
from noisy_xmodal.auditing.suggestions import suggest

ROW_OF_PAIR = np.array([0, 0, 1, 2, 2, 3])
CAPTIONS = ["red cat", "a cat", "one dog", "RED CAT", "a bird", "one dog"]


class Towers:
    """Gives rows of tables of vectors."""

    device = torch.device("cpu")
    training = False
    is_two_tower = True

    def __init__(self, images: np.ndarray, texts: np.ndarray) -> None:
        self.images, self.texts = torch.from_numpy(images), torch.from_numpy(texts)
        self.n_read = 0

    def train(self, mode: bool = True) -> None:
        self.training = mode

    def get_image_features(self, rows: Tensor) -> Tensor:
        self.n_read += len(rows)
        return self.images[rows]

    def get_text_features(self, rows: Tensor) -> Tensor:
        return self.texts[rows]


@pytest.fixture
def towers() -> Towers:
    rng = np.random.default_rng(0)
    return Towers(*(rng.normal(size=(n, 4)).astype(np.float32) for n in (4, 6)))


def find(
    towers: Towers,
    wanted: list[int],
    folder: Path,
    rows: Any = ROW_OF_PAIR,
    captions: Any = CAPTIONS,
) -> Any:
    ids = iter(range(6))

    def processor(images: Any = None, text: Any = None) -> dict[str, Tensor]:
        if images is not None:
            return {"rows": torch.tensor(images)}
        return {"rows": torch.tensor([next(ids) for _ in text])}

    images = list(range(len(towers.images)))
    pairs = SimpleNamespace(row_of_pair=rows, captions=lambda: captions, images=images)
    judge = ModelJudge(towers, processor, pairs, AuditOptions(disable_tqdm=True), folder)
    judgement = SimpleNamespace(fold_of_row=np.zeros(len(images), int))
    return [best[wanted] for best in suggest(judge, judgement, np.array(wanted))]


def test_the_best_of_other_images_are_found(towers: Towers, tmp_path: Path) -> None:
    wanted = [5, 0, 3, 2]
    texts, rows = find(towers, wanted, tmp_path)
    score = (towers.images @ towers.texts.T).numpy()  # (4, 6)
    for at, pair in enumerate(wanted):
        own = ROW_OF_PAIR[pair]
        others = [
            other
            for other in range(6)
            if ROW_OF_PAIR[other] != own and CAPTIONS[other].lower() != CAPTIONS[pair].lower()
        ]
        assert texts[at] == max(others, key=lambda other: score[own, other])
        assert rows[at] == max({0, 1, 2, 3} - {own}, key=lambda row: score[row, pair])


def test_vectors_that_are_there_are_used(towers: Towers, tmp_path: Path) -> None:
    first = find(towers, [0, 1], tmp_path)
    assert towers.n_read == 4
    second = find(towers, [0, 1], tmp_path)
    assert towers.n_read == 4
    np.testing.assert_array_equal(first, second)


def test_where_there_is_nothing_else_nothing_is_said(tmp_path: Path) -> None:
    towers = Towers(np.ones((1, 2), np.float32), np.ones((2, 2), np.float32))
    found = find(towers, [1], tmp_path, np.zeros(2, int), ["a", "b"])
    assert [one.tolist() for one in found] == [[-1], [-1]]
