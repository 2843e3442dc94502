"""NCR's training: one step of one network, and what an epoch adds to plain training.

SGR at the size of the recipe for Flickr30K: 36 regions of 2,048 numbers, tokens 1,024 wide, a
bi-GRU over words of 300 numbers, batches of 128. Data are random; the time does not depend on them.
"""

import contextlib
import io
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import datasets
import numpy as np
import torch
from published import Repository
from published_graphs import (
    N_REGIONS,
    N_WORDS,
    REGION_WIDTH,
    config_fields,
    network_like,
    published_network,
)
from scoring import caption_lengths
from sklearn.mixture import GaussianMixture
from torch import Tensor
from work import Task, Work

from noisy_xmodal import (
    MatchingConfig,
    MatchingModel,
    NcrConfig,
    NcrModel,
    NcrProcessor,
    RegionFeatureProcessor,
    RobustTrainer,
    RobustTrainingArguments,
    train_word_tokenizer,
)
from noisy_xmodal.methods import Ncr
from noisy_xmodal.methods.objectives import OBJECTIVES
from noisy_xmodal.training.memory import keep_freed_memory

LEARNING_RATE, MARGIN, MAX_NORM = 2e-4, 0.2, 2.0


class NcrStep(Work):
    """Forward, loss with soft margins, backward, clipping, Adam."""

    title = "a training step of one network of NCR: SGR, soft margins, Adam"
    repository = "XLearning-SCU/2021-NeurIPS-NCR"
    targets: ClassVar[dict[str, float]] = {"cpu": 2.0, "cuda": 8.0}
    tolerance = 1e-5
    devices = ("cpu", "cuda")

    @property
    def sizes(self) -> dict[str, int]:
        """Pairs of a batch."""
        return {"pairs": self.sized(128, least=4), "regions": N_REGIONS}

    def batch(self, n_pairs: int | None = None) -> tuple[Tensor, Tensor, list[int]]:
        """Random regions, word ids and lengths of captions, on the device."""
        torch.manual_seed(1)
        n_pairs = n_pairs or self.sizes["pairs"]
        lengths = np.random.default_rng(1).permutation(caption_lengths(n_pairs)).tolist()
        regions = torch.rand(n_pairs, N_REGIONS, REGION_WIDTH)
        ids = torch.randint(1, N_WORDS, (n_pairs, max(lengths)))
        return regions.to(self.setting.device), ids.to(self.setting.device), lengths

    def check(self, repository: Repository | None) -> float | None:
        """The difference of the losses without dropout, relative; weights are the same."""
        if repository is None:
            return None
        torch.manual_seed(0)
        published = published_network(repository)
        published.val_start()
        regions, ids, lengths = self.batch(12)
        model = network_like(published).to(self.setting.device).eval()
        # One margin for all: the published code gives a caption's negatives the margins of their
        # own images, this library that of the caption's pair.
        targets = torch.full((12,), 0.7, device=self.setting.device)
        with torch.no_grad():
            embedded = published.forward_emb(regions, ids, lengths)
            expected = published.criterion(
                published.forward_sim(*embedded),
                labels=targets.unsqueeze(1),
                soft_margin="exponential",
            )
            found = self.loss(model, (regions, ids, lengths), targets)
        return float(abs(found - expected) / expected)

    @staticmethod
    def loss(model: MatchingModel, batch: tuple[Tensor, Tensor, list[int]], targets: Tensor) -> Any:
        """The sum of NCR's losses of a batch of different images."""
        regions, ids, lengths = batch
        places = torch.arange(ids.shape[1], device=ids.device)
        mask = places < torch.tensor(lengths, device=ids.device).unsqueeze(1)
        output = model(
            input_ids=ids,
            attention_mask=mask.long(),
            regions=regions,
            few_pairs=model.training,
        )
        negatives = ~torch.eye(len(ids), dtype=torch.bool, device=ids.device)
        return (
            OBJECTIVES["triplet"](MARGIN, "exponential", 10.0)
            .robust(output, targets, negatives)
            .sum()
        )

    def ours(self) -> Task:
        """A step as the trainer makes it, which on a CPU keeps freed memory; bf16 on a GPU."""
        device = self.setting.device
        if device == "cpu":
            keep_freed_memory()
        torch.manual_seed(0)
        model = MatchingModel(MatchingConfig(**config_fields())).to(device).train()
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0, fused=True)
        batch = self.batch()
        targets = torch.ones(self.sizes["pairs"], device=device)

        def step() -> None:
            optimizer.zero_grad()
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                loss = self.loss(model, batch, targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM)
            optimizer.step()

        return Task(step, repetitions=3)

    def published(self, repository: Repository) -> Task:
        """Its own step, with labels of 1."""
        torch.manual_seed(0)
        network = published_network(repository)
        network.train_start()
        regions, ids, lengths = self.batch()
        labels = torch.ones(len(ids), 1, device=self.setting.device)

        def step() -> None:
            network.train(regions, ids, lengths, labels=labels, soft_margin="exponential")

        return Task(step, repetitions=3)


class NcrOverhead(Work):
    """Loss pass, mixtures and predictions of both networks.

    The published code predicts in every step anew: a network predicts its clean pairs, and both
    predict the noisy ones. Here the loss pass predicts, too. Half of the pairs are judged clean.
    """

    title = "what an NCR epoch adds to plain training: loss pass, mixtures, predictions"
    repository = "XLearning-SCU/2021-NeurIPS-NCR"
    targets: ClassVar[dict[str, float]] = {"cpu": 2.0, "cuda": 2.0}
    devices = ("cpu", "cuda")
    batch_size = 64

    @property
    def sizes(self) -> dict[str, int]:
        """Pairs, and pairs of a batch."""
        n_batches = self.sized(4, least=2)
        size = self.batch_size if self.setting.share > 0.1 else 4
        return {"pairs": n_batches * size, "batch": size}

    def check(self, repository: Repository | None) -> float | None:
        """The losses are compared by `ncr_step`, and predictions have tests."""
        return None

    def ours(self) -> Task:
        """The trainer's own callbacks, reading data included."""
        trainer = self._trainer()

        def prepare() -> None:
            for name, values in trainer.loss_pass().items():
                trainer.pair_state[name] = values
            divisions = trainer.method.divide(trainer.pair_state["loss"])
            trainer.pair_state.keep_division(divisions)
            trainer.pair_state["target"] = trainer.method.targets()

        return Task(prepare, repetitions=3)

    def _trainer(self) -> RobustTrainer:
        rng, (n_pairs, batch_size) = np.random.default_rng(0), self.sizes.values()
        words = [f"w{i}" for i in range(500)]
        captions = [
            [" ".join(rng.choice(words, max(1, n - 2)))]  # the tokenizer adds a beginning and end
            for n in rng.permutation(caption_lengths(n_pairs))
        ]
        rows = datasets.Dataset.from_dict(
            {
                "image_id": [str(i) for i in range(n_pairs)],
                "regions": list(rng.random((n_pairs, N_REGIONS, REGION_WIDTH), dtype=np.float32)),
                "captions": captions,
            },
            features=datasets.Features(
                {
                    "image_id": datasets.Value("string"),
                    "regions": datasets.Array2D((N_REGIONS, REGION_WIDTH), "float32"),
                    "captions": datasets.List(datasets.Value("string")),
                }
            ),
        )
        tokenizer = train_word_tokenizer([text for texts in captions for text in texts])
        processor = NcrProcessor(RegionFeatureProcessor(REGION_WIDTH), tokenizer)
        config = NcrConfig(**config_fields() | {"vocab_size": len(tokenizer)})
        arguments = RobustTrainingArguments(
            output_dir=str(self.setting.folder / "run"),
            per_device_train_batch_size=batch_size,
            disable_tqdm=True,
            plot_divisions=False,
            eval_strategy="no",
            save_strategy="no",
            load_best_model_at_end=False,
            report_to="none",
            use_cpu=self.setting.device == "cpu",
            bf16=self.setting.device == "cuda",
        )
        trainer = RobustTrainer(
            NcrModel(config), arguments, Ncr(), rows, processing_class=processor
        )
        if self.setting.device == "cpu":
            keep_freed_memory()
        return trainer

    def published(self, repository: Repository) -> Task:
        """`eval_train`, and the predictions that `train` makes in every step."""
        networks = [published_network(repository) for _ in range(2)]
        n_pairs, size = self.sizes.values()
        batches = list(self._batches(n_pairs, size))
        code = repository.names(
            "NCR/co_train.py",
            ["eval_train"],
            {
                "torch": torch,
                "np": np,
                "GaussianMixture": GaussianMixture,
                "AverageMeter": lambda *_: SimpleNamespace(update=lambda *_: None),
                "ProgressMeter": lambda *_, **__: SimpleNamespace(display=lambda *_: None),
                "time": SimpleNamespace(time=lambda: 0.0),
            },
        )
        options = SimpleNamespace(log_step=100)
        half = len(batches) // 2

        def prepare() -> None:
            with contextlib.redirect_stdout(io.StringIO()):
                code.eval_train(options, *networks, batches, n_pairs, [[], []], None, 0)
            with torch.no_grad():
                for own, other in (networks, networks[::-1]):
                    for clean, noisy in zip(batches[:half], batches[half:], strict=True):
                        own.predict(*clean[:3])
                        own.predict(*noisy[:3])
                        other.predict(*noisy[:3])

        return Task(prepare, repetitions=3)

    def _batches(self, n_pairs: int, size: int) -> Iterator[tuple[Tensor, Tensor, list[int], list]]:
        torch.manual_seed(1)
        lengths = np.random.default_rng(0).permutation(caption_lengths(n_pairs))
        for start in range(0, n_pairs, size):
            own = lengths[start : start + size].tolist()
            regions = torch.rand(size, N_REGIONS, REGION_WIDTH)
            yield (
                regions,
                torch.randint(1, 500, (size, max(own))),
                own,
                [*range(start, start + size)],
            )
