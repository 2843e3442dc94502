"""An epoch of the label methods at full size: MRL and DMCM beside MRL's published code.

Towers of 4,096 numbers in both hidden layers, batches of 100, 2,173 pairs, as for Wikipedia;
vectors and labels are random, for the time does not depend on them. The floor is the measured time
of every product of the towers (forward, and both gradients) at the sizes of the run, and of Adam's
passes over the weights.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import datasets
import numpy as np
import torch
from published import Repository, cuda_calls_on
from torch import nn
from torch.nn import functional
from transformers.utils import logging
from work import Task, Work

from noisy_xmodal import (
    LABEL_METHODS,
    CommonSpaceProcessor,
    LabelDataset,
    LabelTrainingArguments,
    RobustTrainer,
    build_label_model,
)
from noisy_xmodal.losses import multimodal_contrastive_loss

IMAGE_SIZE, TEXT_SIZE, N_CLASSES, COMMON = 128, 100, 10, 512
BATCH_SIZE, NOISE_RATE = 100, 0.6
EPOCHS = 2  # of a run, whose start is part of the time


class MrlEpoch(Work):
    """Training alone, without evaluation and checkpoints."""

    title = "a training epoch of MRL, hidden layers of 4,096"
    repository = "penghu-cs/MRL"
    targets: ClassVar[dict[str, float]] = {"cpu": 2.0, "cuda": 5.0}
    tolerance = 1e-5
    devices = ("cpu", "cuda")
    method = "mrl"

    @property
    def sizes(self) -> dict[str, int]:
        """Pairs, and the width of the hidden layers."""
        return {"pairs": self.sized(2173, least=210), "hidden": self.sized(4096, least=16)}

    def vectors(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Random vectors of images and texts, and labels."""
        rng, n = np.random.default_rng(0), self.sizes["pairs"]
        image = rng.standard_normal((n, IMAGE_SIZE), np.float32)
        text = rng.standard_normal((n, TEXT_SIZE), np.float32)
        return image, text, rng.integers(0, N_CLASSES, n)

    def check(self, repository: Repository | None) -> float | None:
        """The largest difference of MRL's contrast, which both train by."""
        if repository is None:
            return None
        code = self._code(repository, {})
        torch.manual_seed(0)
        views = [functional.normalize(torch.randn(7, 5), dim=-1) for _ in range(2)]
        expected = code.cross_modal_contrastive_ctriterion(views, tau=0.5)
        return float(abs(multimodal_contrastive_loss(*views, 0.5).mean() - expected))

    def ours(self) -> Task:
        """Some epochs of the trainer, divided by their number."""
        logging.set_verbosity_error()
        image, text, labels = self.vectors()
        kind = datasets.ClassLabel(num_classes=N_CLASSES)
        rows = datasets.Dataset.from_dict(
            {
                "image_features": image,
                "text_features": text,
                "image_label": labels,
                "text_label": labels,
            }
        )
        for name in ("image_label", "text_label"):
            rows = rows.cast_column(name, kind)
        pairs = LabelDataset(rows)
        fields: dict = {"hidden_sizes": [self.sizes["hidden"]] * 2}
        if self.method == "dmcm":
            fields |= {"selection": "rate", "noise_rate": NOISE_RATE}

        def train() -> None:
            arguments = LabelTrainingArguments(
                output_dir=str(self.setting.folder / "run"),
                num_train_epochs=EPOCHS,
                warmup_epochs=0,
                per_device_train_batch_size=BATCH_SIZE,
                eval_strategy="no",
                save_strategy="no",
                load_best_model_at_end=False,
                plot_divisions=False,
                disable_tqdm=True,
                report_to="none",
                use_cpu=self.setting.device == "cpu",
            )
            model = build_label_model(self.method, pairs, **fields)
            trainer = RobustTrainer(
                model,
                arguments,
                LABEL_METHODS[self.method](),
                pairs,
                processing_class=CommonSpaceProcessor(),
            )
            trainer.train()

        note = f"{EPOCHS} epochs with the start of the run, divided by {EPOCHS}"
        return Task(train, scale=1 / EPOCHS, note=note, repetitions=2)

    def published(self, repository: Repository) -> Task:
        """The loop of its `main`, without its evaluation; its layers always have 4,096 numbers."""
        image, text, labels = self.vectors()
        n, device = len(labels), self.setting.device
        nets = [
            repository.names(f"nets/{name}.py", [name], {"nn": nn, "torch": torch, "F": functional})
            for name in ("ImageNet", "TextNet")
        ]
        models = [
            getattr(net, name)(input_dim=x.shape[1], output_dim=COMMON).to(device)
            for net, name, x in zip(nets, ("ImageNet", "TextNet"), (image, text), strict=True)
        ]
        centres = nn.init.orthogonal_(torch.empty(COMMON, COMMON))[:, :N_CLASSES].to(device)
        centres.requires_grad = True
        parameters = [centres, *(p for model in models for p in model.parameters())]
        data = [torch.from_numpy(x) for x in (image, text)]
        classes = torch.from_numpy(labels)
        order = torch.randperm(n).split(BATCH_SIZE)
        loss_code = repository.names(
            "src/utils.py", ["MeanClusteringError"], {"nn": nn, "torch": torch, "F": functional}
        )
        code = self._code(
            repository,
            {
                "args": SimpleNamespace(max_epochs=1, beta=0.7, tau=1.0),
                "multi_models": models,
                "C": centres,
                "optimizer": torch.optim.Adam(parameters, lr=1e-4, betas=(0.5, 0.999)),
                "criterion": loss_code.MeanClusteringError(N_CLASSES, tau=1.0).to(device),
                "train_loader": [([x[i] for x in data], [classes[i]] * 2, i) for i in order],
                "progress_bar": lambda *_: None,
                "print": lambda *_: None,
                "summary_writer": SimpleNamespace(add_scalars=lambda *_: None),
            },
        )

        def train() -> None:
            with cuda_calls_on(device):
                code.train(0)

        return Task(train, repetitions=3)

    def _code(self, repository: Repository, given: dict[str, Any]) -> Any:
        wanted = ["main.set_train", "main.cross_modal_contrastive_ctriterion", "main.train"]
        return repository.names("main_noisy.py", wanted, {"torch": torch, "n_view": 2} | given)

    def floor(self) -> Task:
        """Every product of a step, and Adam's pass over the weights, for as many steps."""
        steps = -(-self.sizes["pairs"] // BATCH_SIZE)
        rows, hidden = round(self.sizes["pairs"] / steps), self.sizes["hidden"]
        mixed = round(NOISE_RATE * rows) if self.method == "dmcm" else 0
        actions: list[Callable[[], object]] = []
        total = 0.0
        for size in (IMAGE_SIZE, TEXT_SIZE):
            layers = [(size, hidden), (hidden, hidden), (hidden, COMMON)]
            # With DMCM the mixed samples come on top, and a loss pass before the division.
            for count, trains in ((rows, True), (mixed, True), (rows * bool(mixed), False)):
                if count:
                    actions += self._products(count, layers, trains)
                    total += steps * operations(count, layers, trains)
            actions.append(self._adam(layers))
        note = f"products of {total / 1e9:.0f} Gflop and Adam's passes, nothing between them"
        return Task(lambda: [action() for action in actions], scale=steps, note=note)

    def _products(
        self, rows: int, layers: list[tuple[int, int]], trains: bool
    ) -> list[Callable[[], object]]:
        def product(*shape: int) -> Callable[[], object]:
            n, inner, m = shape
            a, b, out = (
                torch.randn(size, device=self.setting.device)
                for size in ((n, inner), (inner, m), (n, m))
            )
            return lambda: torch.mm(a, b, out=out)

        found = []
        for position, (inputs, outputs) in enumerate(layers):
            found.append(product(rows, inputs, outputs))
            if trains:
                found.append(product(outputs, rows, inputs))
                if position:  # nobody asks for the gradient of the features
                    found.append(product(rows, outputs, inputs))
        return found

    def _adam(self, layers: list[tuple[int, int]]) -> Callable[[], object]:
        weights = [nn.Parameter(torch.zeros(b, a, device=self.setting.device)) for a, b in layers]
        optimizer = torch.optim.AdamW(weights, lr=0.0, fused=True)
        for weight in weights:
            weight.grad = torch.zeros_like(weight)
        return optimizer.step


class DmcmEpoch(MrlEpoch):
    """DMCM does more in an epoch than MRL: a loss pass, a division, and mixed samples."""

    title = "a training epoch of DMCM (loss pass, division, mixing), beside MRL's published code"
    method = "dmcm"


def operations(rows: int, layers: list[tuple[int, int]], trains: bool) -> float:
    """Floating-point operations of the products of one tower for a batch."""
    passes = [(3 if position else 2) if trains else 1 for position in range(len(layers))]
    return sum(2 * rows * a * b * n for (a, b), n in zip(layers, passes, strict=True))
