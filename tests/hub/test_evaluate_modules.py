"""The modules of `evaluate` say what the plain functions say, and name what they cannot use."""

import contextlib
import doctest
import importlib
import io
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import metadata_load

from noisy_xmodal.hub.evaluate_modules import MODULES, module_folder
from noisy_xmodal.metrics import class_retrieval_metrics, retrieval_metrics

evaluate = pytest.importorskip("evaluate")

SCORES = [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]  # 3 texts, 2 images


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`evaluate` writes here alone, and leaves nothing imported."""
    home = tmp_path_factory.mktemp("evaluate")
    forget_modules()  # of another cache, which a test before these may have loaded
    with pytest.MonkeyPatch.context() as patch:
        usual = str(evaluate.config.HF_MODULES_CACHE)
        patch.setattr(sys, "path", [path for path in sys.path if path != usual])
        patch.setattr(evaluate.config, "HF_MODULES_CACHE", home / "modules")
        patch.setattr(evaluate.config, "HF_METRICS_CACHE", home / "metrics")
        patch.syspath_prepend(home)  # for its undo, which takes back what loading adds
        yield home
    forget_modules()


def forget_modules() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "evaluate_modules"]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def load(
    caches: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str], "evaluate.Metric"]:
    """Loads a module with rows of its own, without network."""

    def refuse(*arguments: Any) -> None:
        raise AssertionError(f"It connects: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return lambda name: evaluate.load(module_folder(name), cache_dir=str(tmp_path))


def scored_texts(n_images: int = 20, n_texts: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties, (n_texts, n_images), and the image of each text, in no order."""
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 25, (n_texts, n_images)).astype(np.float32)  # (n_texts, n_images)
    owners = np.concatenate([np.arange(n_images), rng.integers(0, n_images, n_texts - n_images)])
    rng.shuffle(owners)
    scores[np.arange(n_texts), owners] += 8
    return scores, owners


def label_pairs(n: int = 70) -> dict[str, Any]:
    rng = np.random.default_rng(4)
    return {
        "image_embeds": rng.standard_normal((n, 6)).astype(np.float32),
        "text_embeds": rng.standard_normal((n, 6)).astype(np.float32),
        "image_labels": rng.integers(0, 5, n),
        "text_labels": rng.integers(0, 5, n),
    }


def slow_recalls(scores: np.ndarray, owners: np.ndarray) -> dict[str, float]:
    """Every query by itself; what ties with the right answer goes first."""
    ranks: dict[str, list[int]] = {"i2t": [], "t2i": []}
    for row, owner in zip(scores.tolist(), owners, strict=True):
        ranks["t2i"].append(sum(score >= row[owner] for score in row))
    for image in range(scores.shape[1]):
        own = max(scores[text, image] for text in np.flatnonzero(owners == image))
        others = np.flatnonzero(owners != image)
        ranks["i2t"].append(1 + sum(scores[text, image] >= own for text in others))
    return {
        f"{way}_r{cutoff}": 100 * sum(rank <= cutoff for rank in found) / len(found)
        for way, found in ranks.items()
        for cutoff in (1, 5, 10)
    }


def slow_map(queries: Any, gallery: Any, labels: Any, others: Any, cutoff: int) -> float:
    """The mean of average precisions, each by walking down the ranked list."""
    values = []
    for query, label in zip(queries.astype(np.float64), labels, strict=True):
        cosines = gallery @ query / np.linalg.norm(gallery, axis=1)  # (n,)
        hits, precisions = 0, []
        for rank, item in enumerate(np.argsort(-cosines, kind="stable")[:cutoff], start=1):
            if others[item] == label:
                hits += 1
                precisions.append(hits / rank)
        values.append(sum(precisions) / len(precisions) if precisions else 0.0)
    return sum(values) / len(values)


def test_recalls_are_those_of_every_query_by_itself(load: Any) -> None:
    scores, owners = scored_texts()
    metrics = load("retrieval_recall").compute(predictions=scores, references=owners)
    assert metrics == retrieval_metrics(scores.T, owners)
    slow = slow_recalls(scores, owners)
    assert {name: metrics[name] for name in slow} == pytest.approx(slow)
    assert metrics["rsum"] == pytest.approx(sum(slow.values()))
    assert 0 < metrics["i2t_r1"] != metrics["t2i_r1"] < 100


def test_folds_reach_the_function(load: Any) -> None:
    scores, owners = scored_texts()
    metric = load("retrieval_recall")
    folded = metric.compute(predictions=scores, references=owners, fold_size=5)
    assert folded == retrieval_metrics(scores.T, owners, fold_size=5)
    assert folded["rsum"] != metric.compute(predictions=scores, references=owners)["rsum"]


def test_rows_may_be_arrays_tensors_or_lists_and_come_in_batches(load: Any) -> None:
    scores, owners = scored_texts()
    expected = retrieval_metrics(scores.T, owners)
    metric = load("retrieval_recall")
    for start in range(0, 60, 25):
        rows = slice(start, start + 25)
        metric.add_batch(predictions=scores[rows], references=owners[rows])
    assert metric.compute() == expected
    for row, owner in zip(scores, owners, strict=True):
        metric.add(prediction=row, reference=owner)
    assert metric.compute() == expected
    assert metric.compute(predictions=scores.tolist(), references=owners.tolist()) == expected
    tensors = torch.tensor(scores, requires_grad=True), torch.tensor(owners)
    assert metric.compute(predictions=tensors[0], references=tensors[1]) == expected


def test_scores_are_compared_in_float32(load: Any) -> None:
    scores, owners = np.array([[0.5 + 1e-12, 0.5], [0.2, 0.8]]), [0, 1]  # (n_texts, n_images)
    metrics = load("retrieval_recall").compute(predictions=scores, references=owners)
    assert (metrics["t2i_r1"], retrieval_metrics(scores.T, owners)["t2i_r1"]) == (50.0, 100.0)


def test_class_map_is_that_of_every_query_by_itself(load: Any) -> None:
    pairs = label_pairs()
    metrics = load("class_map").compute(**pairs)
    assert metrics == class_retrieval_metrics(**pairs)
    images, texts, image_labels, text_labels = pairs.values()
    for suffix, cutoff in {"": 70, "_50": 50}.items():
        asked = slow_map(images, texts, image_labels, text_labels, cutoff)
        answered = slow_map(texts, images, text_labels, image_labels, cutoff)
        assert metrics[f"i2t_map{suffix}"] == pytest.approx(asked)
        assert metrics[f"t2i_map{suffix}"] == pytest.approx(answered)
        assert asked != pytest.approx(answered)


def test_class_map_in_batches_and_with_options(load: Any) -> None:
    pairs = label_pairs()
    pairs["text_labels"][pairs["text_labels"] == 4] = 0  # images of class 4 find nothing
    metric = load("class_map")
    for start in range(0, 70, 30):
        rows = slice(start, start + 30)
        metric.add_batch(**{name: column[rows] for name, column in pairs.items()})
    metrics = metric.compute(cutoffs=(3, 7), no_relevant="skip")
    assert metrics == class_retrieval_metrics(**pairs, cutoffs=(3, 7), no_relevant="skip")
    assert {"t2i_map_3", "i2t_map_7"} < set(metrics)
    assert metrics["i2t_map"] != metric.compute(**pairs)["i2t_map"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictions": [[0.9, 0.1], [0.2], [0.7, 0.3]]}, "2 numbers in row 0 but 1 in row 1"),
        ({"predictions": [[0.9, 0.1], [0.7, 0.3], None]}, "2 numbers in row 0 but 0 in row 2"),
        ({"predictions": SCORES[:2]}, r"predictions \(2\) and references \(3\)"),
        ({"predictions": [], "references": []}, "predictions has no rows"),
        ({"predictions": [[0.9, 0.1], [0.2, np.nan], [0.7, 0.3]]}, "image 1 and text 1"),
        ({"predictions": [[0.9, 0.1], [0.2, None], [0.7, 0.3]]}, "image 1 and text 1"),
        ({"predictions": [0.9, 0.2, 0.7]}, "expected format"),
        ({"references": [0, 1, 2]}, "gives text 2 image row 2"),
        ({"references": [1, 1, 1]}, "leaves 1 of 2 images without a text"),
        ({"fold_size": 3}, "fold_size is 3 for 2 images"),
    ],
)
def test_bad_recall_input_is_named(load: Any, change: dict[str, Any], message: str) -> None:
    metric = load("retrieval_recall")
    with pytest.raises(ValueError, match=message):
        metric.compute(**{"predictions": SCORES, "references": [0, 1, 0], **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text_embeds": [[1.0, 2.0], [3.0, 4.0], [5.0]]}, "text_embeds has 2 .* but 1 in row 2"),
        ({"image_embeds": np.ones((3, 5))}, "image_embeds has 5 dimensions and text_embeds 2"),
        ({"image_embeds": np.ones((4, 2))}, r"image_embeds \(4\) and text_embeds \(3\)"),
        ({"text_embeds": np.full((3, 2), np.inf)}, "text_embeds is not finite in 3 rows"),
        ({"text_labels": [0, 1]}, r"text_labels \(2\)"),
        ({"image_labels": [0, -1, 1]}, "image_labels is -1 in row 1"),
        ({"no_relevant": "half"}, "no_relevant is 'half'"),
        ({"cutoffs": [0]}, "a cutoff is 0"),
    ],
)
def test_bad_class_input_is_named(load: Any, change: dict[str, Any], message: str) -> None:
    good = {name: column[:3] for name, column in label_pairs().items()}
    good |= {"image_embeds": np.ones((3, 2)), "text_embeds": np.ones((3, 2))}
    metric = load("class_map")
    with pytest.raises(ValueError, match=message):
        metric.compute(**good | change)


def test_a_failed_computation_leaves_no_rows_behind(load: Any) -> None:
    metric = evaluate.load(module_folder("retrieval_recall"), keep_in_memory=True)
    with pytest.raises(ValueError, match="without a text"):
        metric.compute(predictions=SCORES, references=[0, 0, 0])
    assert metric.compute(predictions=SCORES, references=[0, 1, 0])["rsum"] == 600


@pytest.mark.parametrize("name", MODULES)
def test_a_copied_folder_loads(load: Any, caches: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "elsewhere" / name
    shutil.copytree(module_folder(name), copy)
    metric = evaluate.load(str(copy), cache_dir=str(tmp_path))
    assert (metric.name, metric.module_type) == (name, "metric")
    assert type(metric).__module__.startswith("evaluate_modules.metrics.")
    assert list((caches / "modules").rglob(f"{name}.py"))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_are_true(load: Any, name: str) -> None:
    text = load(name).inputs_description
    examples = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    said = io.StringIO()
    assert doctest.DocTestRunner().run(examples, out=said.write).attempted > 3, text
    assert said.getvalue() == ""

    readme = (Path(module_folder(name)) / "README.md").read_text(encoding="utf-8")
    example = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[0]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(example, {})
    assert printed.getvalue().split() == re.findall(r"print\(.*\)  # (.*)", example)[0].split()


@pytest.mark.parametrize("name", MODULES)
def test_the_card_is_that_of_a_metric(load: Any, name: str) -> None:
    readme = Path(module_folder(name)) / "README.md"
    space = metadata_load(readme)
    assert space is not None
    assert (space["sdk"], space["tags"]) == ("gradio", ["evaluate", "metric"])
    assert len(space["short_description"]) <= 60  # the Hub's limit
    metric = load(name)
    assert metric.citation in readme.read_text(encoding="utf-8")
    for column in metric.features:
        assert f"    {column}: " in metric.inputs_description


def test_an_unknown_module_is_named() -> None:
    with pytest.raises(ValueError, match=r"no module 'recall': give one of .*class_map"):
        module_folder("recall")
