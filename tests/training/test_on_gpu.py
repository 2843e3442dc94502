"""What training, saving and loading owe to a GPU; other tests show most of it on a CPU."""

from typing import Any

import numpy as np
import pytest
import torch

from noisy_xmodal import (
    NcrConfig,
    NcrModel,
    NcrProcessor,
    RegionFeatureProcessor,
    RobustTrainer,
    RobustTrainingArguments,
    inject_noise,
    train_word_tokenizer,
)
from noisy_xmodal.evaluation import score_matrix
from noisy_xmodal.methods import Ncr
from toy_pairs import REGION_SIZE, toy_pairs

pytestmark = pytest.mark.gpu
HAS_GPU = torch.cuda.is_available()
needs_gpu = pytest.mark.skipif(not HAS_GPU, reason="no CUDA here")


def trainer_of(out, **options: Any) -> RobustTrainer:
    rows = inject_noise(toy_pairs(24, seed=0), "cmp_40", seed=0)
    words = train_word_tokenizer(caption for row in rows["captions"] for caption in row)
    torch.manual_seed(0)
    model = NcrModel(
        NcrConfig(
            region_size=REGION_SIZE,
            hidden_size=16,
            word_size=16,
            vocab_size=len(words),
            similarity="sgr",
            similarity_options={"num_regions": 3, "similarity_size": 8},
            dropout=0.1,
        )
    )
    defaults = {
        "num_train_epochs": 3,
        "warmup_epochs": 1,
        "per_device_train_batch_size": 12,
        "save_strategy": "epoch",
        "eval_strategy": "no",
        "load_best_model_at_end": False,
        "save_total_limit": None,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "plot_divisions": False,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": not HAS_GPU,
        "dataloader_pin_memory": HAS_GPU,
        "max_grad_norm": 0.5,
        "seed": 3,
    }
    args = RobustTrainingArguments(output_dir=str(out), **defaults | options)
    processor = NcrProcessor(RegionFeatureProcessor(REGION_SIZE), words)
    return RobustTrainer(model, args, Ncr(), rows, processing_class=processor)


def losses(trainer: RobustTrainer) -> list[float]:
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, marks=needs_gpu),
        {"bf16": True},
        pytest.param({"fp16": True}, marks=needs_gpu),
        pytest.param({"torch_compile": True}, marks=needs_gpu),
        pytest.param({"tf32": True}, marks=needs_gpu),
    ],
    ids=lambda options: next(iter(options), "float32"),
)
def test_two_peers_learn_and_each_is_clipped(tmp_path, options):
    trainer = trainer_of(tmp_path, save_strategy="no", **options)
    norms: list[list[float]] = []

    class Watch(type(trainer)):
        def _clip_grad_norm(self, model):
            norm = super()._clip_grad_norm(model)
            grads = [
                [p.grad for p in net.parameters() if p.grad is not None] for net in self.networks()
            ]
            norms.append([float(torch.nn.utils.get_total_norm(each)) for each in grads])
            return norm

    trainer.__class__ = Watch
    trainer.train()
    assert next(trainer.model.parameters()).device.type == ("cuda" if HAS_GPU else "cpu")
    assert np.isfinite(losses(trainer)).all()
    finite = [each for each in norms if np.isfinite(each).all()]  # fp16 skips overflowing steps
    assert len(finite) > len(norms) / 2
    assert np.max(finite) < 0.501
    assert trainer.pair_state.divided_at == [1, 2]
    if not options:
        trainer_again = trainer_of(tmp_path / "again", save_strategy="no")
        trainer_again.train()
        np.testing.assert_allclose(losses(trainer_again), losses(trainer), rtol=1e-3)


@needs_gpu
@pytest.mark.parametrize("options", [{}, {"fp16": True}], ids=["float32", "fp16"])
def test_a_resumed_run_ends_like_the_whole_one(tmp_path, options):
    whole = trainer_of(tmp_path / "whole", **options)
    whole.train()
    second = sorted((tmp_path / "whole").glob("checkpoint-*"), key=lambda p: int(p.name[11:]))[1]
    resumed = trainer_of(tmp_path / "resumed", **options)
    resumed.train(resume_from_checkpoint=str(second))
    tolerance = {"rtol": 1e-2, "atol": 1e-3} if HAS_GPU else {"rtol": 0, "atol": 0}
    expected = whole.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], **tolerance, msg=name)
    np.testing.assert_array_equal(resumed.pair_state["is_clean"], whole.pair_state["is_clean"])


@needs_gpu
def test_a_model_is_loaded_onto_the_device_and_scores_as_on_the_cpu(tmp_path):
    trainer = trainer_of(tmp_path, num_train_epochs=2, save_strategy="no")
    trainer.save_model(str(tmp_path / "saved"))
    images = [np.full((3, REGION_SIZE), value, np.float32) for value in (0.1, 0.5, 0.9)]
    texts = ["concept1 and concept2", "concept3"]
    processor, scores = trainer.saved_processor(), {}
    for device in ("cpu", "cuda"):
        model = NcrModel.from_pretrained(tmp_path / "saved", device_map=device)
        assert model.device.type == device
        scores[device] = score_matrix(model, processor, images, texts)
    np.testing.assert_allclose(scores["cuda"], scores["cpu"], rtol=1e-3, atol=1e-4)
