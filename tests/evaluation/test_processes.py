"""An evaluation shared by several processes is the one that a single process makes, bit by bit."""

import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from transformers import BertConfig

from noisy_xmodal import (
    CommonSpaceProcessor,
    LabelDataset,
    LabelRetrievalEvaluator,
    MatchingConfig,
    MatchingModel,
    NcrProcessor,
    RcarModel,
    RegionFeatureProcessor,
    RetrievalEvaluator,
    build_label_model,
    train_word_tokenizer,
)
from noisy_xmodal.data import PairDataset
from noisy_xmodal.evaluation import (
    AverageEvaluator,
    RerankEvaluator,
    rerank,
    score_matrix,
    shared_evaluation,
)
from noisy_xmodal.evaluation.processes import gather_rows, own_rows
from tiny_rcar import TEXT_SIZES, rcar_config
from toy_labels import toy_labels
from toy_pairs import REGION_SIZE, toy_pairs

N_IMAGES, PER_IMAGE, BLOCK = 7, 2, 2
WORLDS = (2, 3)
LIMIT = 60  # seconds
CHOSEN = np.random.default_rng(0).random((N_IMAGES, N_IMAGES * PER_IMAGE)) < 0.4
CHOSEN[2] = False  # an image on no shortlist


class CountingProcessor:
    """Counts the images and texts that it is given."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self.image_processor = processor.image_processor
        self.seen = {"images": 0, "text": 0}

    def __call__(self, **inputs: Any) -> Any:
        for name, values in inputs.items():
            self.seen[name] += len(values)
        return self.processor(**inputs)


def make_case() -> dict[str, Any]:
    """Data, and a model of every kind."""
    rows = toy_pairs(N_IMAGES)
    words = [caption for row in rows["captions"] for caption in row]
    processor = NcrProcessor(RegionFeatureProcessor(REGION_SIZE), train_word_tokenizer(words))
    sizes = {"region_size": REGION_SIZE, "vocab_size": len(processor.tokenizer), "hidden_size": 8}
    text = BertConfig(**(TEXT_SIZES | {"vocab_size": len(processor.tokenizer)}))
    labelled = LabelDataset(toy_labels(N_IMAGES), "validation")
    return {
        "pairs": PairDataset(rows),
        "processor": processor,
        "two towers": MatchingModel(MatchingConfig(similarity="cosine", word_size=6, **sizes)),
        "scan": MatchingModel(MatchingConfig(similarity="scan_t2i", word_size=6, **sizes)),
        "joint": RcarModel(rcar_config(region_size=REGION_SIZE, text_config=text)),
        "labelled": labelled,
        "labels": build_label_model("dmcm", labelled, hidden_sizes=[7], embedding_size=8),
    }


def scores_of(case: dict[str, Any], block_size: int) -> dict[str, np.ndarray]:
    """Everything that the processes can share, as arrays."""
    pairs, processor, labelled = case["pairs"], case["processor"], case["labelled"]
    texts = pairs.captions()
    found: dict[str, Any] = {
        name: score_matrix(case[name], processor, pairs.images, texts, block_size)
        for name in ("two towers", "scan")
    }
    found["rerank"] = rerank(case["joint"], processor, pairs.images, texts, CHOSEN, block_size)
    evaluators = {
        "two towers": RetrievalEvaluator(processor, block_size),
        "scan": RetrievalEvaluator(processor, block_size, fold_size=N_IMAGES),
        "mean": AverageEvaluator([processor] * 2, block_size=block_size),
        "joint": RerankEvaluator(processor, case["two towers"], processor, 3, block_size),
    }
    case = case | {"mean": [case["scan"], case["two towers"]]}
    for name, evaluator in evaluators.items():
        metrics = evaluator(case[name], pairs)
        found[f"metrics of {name}"] = np.array(list(metrics.values()))
    by_label = LabelRetrievalEvaluator(CommonSpaceProcessor(), block_size)
    found["images"], found["texts"] = by_label.embed(case["labels"], labelled)
    found["metrics of labels"] = np.array(list(by_label(case["labels"], labelled).values()))
    return found


def own_rows_of(n_rows: int, process: int, n_processes: int) -> int:
    """How many rows of blocks a process has, counted one by one."""
    blocks = [range(start, min(start + BLOCK, n_rows)) for start in range(0, n_rows, BLOCK)]
    first, last = (len(blocks) * p // n_processes for p in (process, process + 1))
    return sum(len(block) for block in blocks[first:last])


def work(case: dict[str, Any], process: int, n_processes: int, folder: Path) -> None:
    torch.set_num_threads(1)  # a forked process must not use its parent's pool of threads
    store = f"file://{folder}/store{n_processes}"
    dist.init_process_group("gloo", init_method=store, rank=process, world_size=n_processes)
    assert dist.get_world_size() == n_processes
    found: dict[str, np.ndarray] = {}
    for block_size in (BLOCK, 64):
        alone = scores_of(case, block_size)
        with shared_evaluation():
            shared = scores_of(case, block_size)
        found |= {f"alone {block_size} {name}": values for name, values in alone.items()}
        found |= {f"shared {block_size} {name}": values for name, values in shared.items()}
    counting = CountingProcessor(case["processor"])
    with shared_evaluation():
        RetrievalEvaluator(counting, BLOCK)(case["two towers"], case["pairs"])
    with shared_evaluation():
        evaluator = RetrievalEvaluator(case["processor"], BLOCK)
        held = evaluator.scores(case["scan"], case["pairs"])
    own = own_rows_of(N_IMAGES, process, n_processes)
    assert held.shape == (own, N_IMAGES * PER_IMAGE), "a process holds its own scores"
    found["seen"] = np.array([counting.seen["images"], counting.seen["text"]])
    with shared_evaluation():
        for n_rows in range(6):
            own = torch.arange(n_rows)[own_rows(n_rows, 1)]  # (n_own,)
            found[f"rows {n_rows}"] = gather_rows(own, n_rows, 1, torch.device("cpu")).numpy()
    differing = torch.nn.BatchNorm1d(3)
    torch.nn.init.constant_(differing.weight, process)
    differing.num_batches_tracked.fill_(process + 5)
    with shared_evaluation(differing):
        pass
    state = differing.state_dict().values()
    found["model"] = torch.cat([value.double().flatten() for value in state]).numpy()
    if process == 0:  # the others are waited for by nobody
        scores_of(case, BLOCK)
    np.savez(folder / f"{n_processes}-{process}.npz", **found)
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory: Any) -> dict[tuple[int, int], dict[str, np.ndarray]]:
    """What every process of every world found."""
    folder = tmp_path_factory.mktemp("worlds")
    case = make_case()
    fork = multiprocessing.get_context("fork")
    jobs = [
        fork.Process(target=work, args=(case, process, n_processes, folder), daemon=True)
        for n_processes in WORLDS
        for process in range(n_processes)
    ]
    for job in jobs:
        job.start()
    deadline = time.monotonic() + LIMIT
    for job in jobs:
        job.join(max(0.0, deadline - time.monotonic()))
    codes = [job.exitcode for job in jobs]
    for job in jobs:
        job.kill()
    assert codes == [0] * len(jobs), "a process failed, or waits for the others"
    return {
        (n, process): dict(np.load(folder / f"{n}-{process}.npz"))
        for n in WORLDS
        for process in range(n)
    }


EVERY_PROCESS = pytest.mark.parametrize("which", [(n, p) for n in WORLDS for p in range(n)])


@EVERY_PROCESS
def test_every_process_gets_what_one_process_alone_would(results, which):
    """Blocks of 2, of which a process has some, and of 64, of which there is one."""
    found = results[which]
    first = results[WORLDS[0], 0]
    names = [name for name in found if name.startswith("alone ")]
    assert len(names) == 2 * 10
    for name in names:
        shared = found[name.replace("alone", "shared")]
        np.testing.assert_array_equal(shared, found[name], err_msg=name)
        np.testing.assert_array_equal(shared, first[name], err_msg=name)
        assert shared.dtype == found[name].dtype


def test_the_scores_are_real(results):
    found = results[WORLDS[0], 0]
    scores = found["shared 2 two towers"]
    assert scores.shape == (N_IMAGES, N_IMAGES * PER_IMAGE)
    assert len(np.unique(scores)) > N_IMAGES
    rescored = found["shared 2 rerank"]
    np.testing.assert_array_equal(np.isnan(rescored), ~CHOSEN)


@pytest.mark.parametrize("n_processes", WORLDS)
def test_the_work_is_split(results, n_processes):
    """4 blocks of images and 7 of texts; the images one by one, the texts as vectors."""
    images, texts = zip(*(results[n_processes, p]["seen"] for p in range(n_processes)), strict=True)
    assert images == {2: (4, 3), 3: (2, 2, 3)}[n_processes]
    assert texts == {2: (6, 8), 3: (4, 4, 6)}[n_processes]


@EVERY_PROCESS
def test_no_row_is_lost_or_repeated(results, which):
    for n_rows in range(6):
        assert results[which][f"rows {n_rows}"].tolist() == list(range(n_rows))


@EVERY_PROCESS
def test_the_model_of_the_main_process_is_evaluated(results, which):
    """Weight, bias, mean, variance and count of batches."""
    assert results[which]["model"].tolist() == [0.0] * 9 + [1.0] * 3 + [5.0]


def test_without_a_group_a_shared_evaluation_is_the_usual_one():
    case = make_case()
    pairs = case["pairs"]
    material = (case["scan"], case["processor"], pairs.images, pairs.captions(), BLOCK)
    alone = score_matrix(*material)
    with shared_evaluation():
        np.testing.assert_array_equal(score_matrix(*material), alone)
        assert own_rows(5, 2) == slice(0, 5)
