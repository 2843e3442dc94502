"""Scores of all images with all captions by the heads that compare regions with words.

1,000 images of 36 regions with 5,000 captions of 6 to 40 words, all 1,024 wide, as in Flickr30K's
test split. A few captions are timed, taken evenly from all lengths; the rest is their share of all
words. Encoding is left out of all sides. On a GPU this library runs under bfloat16 autocast.
"""

from abc import abstractmethod
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from published import Repository
from published_graphs import N_REGIONS, SIMILARITY, WIDTH, copy_head, network_code
from torch import Tensor, nn
from work import Task, Work

from noisy_xmodal.evaluation.scoring import score_matrix
from noisy_xmodal.modules import Encoded
from noisy_xmodal.modules.similarity import build_similarity

BLOCK_SIZE = 64  # of score_matrix


def caption_lengths(n_texts: int) -> np.ndarray:
    """Made-up numbers of words, ascending, (n_texts,)."""
    drawn = np.random.default_rng(0).normal(14, 4.5, n_texts)
    return np.sort(np.clip(drawn.round(), 6, 40).astype(int))


class EncodedWorld:
    """A model whose encodings are there already, so that only its scores take time.

    Its captions are strings "number word word ..", as `score_matrix` wants texts.

    Args:
        head: The similarity head.
        images: Unit region vectors, (n_images, n_regions, width).
        texts: Unit word vectors of the longest length, (n_texts, n_words, width).
        lengths: Words of each text.
    """

    is_two_tower = False
    training = False

    def __init__(
        self, head: nn.Module, images: Tensor, texts: Tensor, lengths: Sequence[int]
    ) -> None:
        self.head, self.images, self.texts = head, images, texts
        self.lengths = torch.tensor(list(lengths), device=texts.device)
        self.captions = [
            " ".join([str(i), *["word"] * (n - 1)]) for i, n in enumerate(self.lengths.tolist())
        ]

    @property
    def device(self) -> torch.device:
        """Where the encodings are."""
        return self.images.device

    def train(self, mode: bool = True) -> None:
        """There is nothing to train."""

    @staticmethod
    def processor(images: Sequence[int] = (), text: Sequence[str] = ()) -> dict[str, Tensor]:
        """Places of images or texts."""
        return {"at": torch.tensor([int(str(item).split()[0]) for item in images or text])}

    def encode_image(self, at: Tensor) -> Encoded:
        """Regions of some images."""
        tokens = self.images[at]
        return Encoded(tokens, tokens.new_ones(tokens.shape[:2], dtype=torch.bool))

    def encode_text(self, at: Tensor) -> Encoded:
        """Words of some texts, as long as the longest of them."""
        longest = int(self.lengths[at].max())
        mask = torch.arange(longest, device=self.device) < self.lengths[at].unsqueeze(1)
        return Encoded(self.texts[at][:, :longest], mask)

    def score(self, image: Encoded, text: Encoded) -> Tensor:
        """Scores, on a GPU by bfloat16 products."""
        kind = self.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
            return self.head(image, text)

    def scores(self) -> np.ndarray:
        """All scores, (n_images, n_texts)."""
        n_images = list(range(len(self.images)))
        return score_matrix(self, self.processor, n_images, self.captions, BLOCK_SIZE)


class _Scores(Work):
    """What the four heads share."""

    tolerance = 5e-6
    devices = ("cpu", "cuda")
    head_name: str
    head_options: ClassVar[dict[str, Any]] = {}
    #: Captions that are timed: blocks of ours, and single ones of the published loop.
    n_blocks, n_single = 2, 16

    @property
    def sizes(self) -> dict[str, int]:
        """Images and captions, and numbers of a token."""
        n_images = self.sized(1000, least=4)
        return {"images": n_images, "captions": 5 * n_images, "width": self.width}

    @property
    def width(self) -> int:
        """Numbers of a token; a small share is for trying out."""
        return WIDTH if self.setting.share > 0.02 else 32

    def head(self) -> nn.Module:
        """This library's head, with weights of its own."""
        torch.manual_seed(0)
        return build_similarity(self.head_name, hidden_size=self.width, **self.head_options).eval()

    def world(self, lengths: Sequence[int], n_images: int | None = None) -> EncodedWorld:
        """Made-up encodings, words being like regions, on the device."""
        torch.manual_seed(1)
        n_images = n_images or self.sizes["images"]
        images = torch.randn(n_images, N_REGIONS, self.width)
        texts = torch.randn(len(lengths), max(lengths), self.width)
        seen = torch.randint(N_REGIONS, texts.shape[:2])  # (n_texts, n_words)
        owners = (torch.arange(len(lengths)) % n_images).unsqueeze(1)
        texts += 1.5 * images[owners, seen]
        unit = [nn.functional.normalize(x, dim=-1).to(self.setting.device) for x in (images, texts)]
        return EncodedWorld(self.head().to(self.setting.device), *unit, lengths)

    def some_lengths(self, n_parts: int, size: int) -> tuple[list[int], float]:
        """Evenly chosen runs of captions among all, sorted; and all words / their words."""
        lengths = caption_lengths(self.sizes["captions"])
        size = min(size, len(lengths) // n_parts)
        starts = ((np.arange(n_parts) + 0.5) / n_parts * len(lengths) - size / 2).astype(int)
        chosen = np.concatenate([lengths[max(0, s) : max(0, s) + size] for s in starts])
        return chosen.tolist(), float(lengths.sum() / chosen.sum())

    def check(self, repository: Repository | None) -> float | None:
        """The largest difference of a score from the published code, or from float64."""
        world = self.world([3, 9, 9, 14, 7, 20, 9], n_images=6)
        with torch.inference_mode():
            if repository is None:
                expected = self._in_double(world)
            else:
                run = self.published_scores(repository, world)
                expected = run().float().cpu().numpy()
            return float(np.abs(world.scores() - expected).max())

    def ours(self) -> Task:
        """Blocks of captions of like length, as `score_matrix` makes them."""
        lengths, scale = self.some_lengths(self.n_blocks, BLOCK_SIZE)
        world = self.world(lengths)
        note = f"timed on {len(lengths)} captions of {np.mean(lengths):.1f} words"
        return Task(world.scores, scale=scale, note=note, repetitions=3)

    def published(self, repository: Repository) -> Task:
        """One caption after another against all images, as its evaluation does."""
        lengths, scale = self.some_lengths(self.n_single, 1)
        run = self.published_scores(repository, self.world(lengths))
        note = f"timed on {len(lengths)} captions of {np.mean(lengths):.1f} words"
        return Task(torch.inference_mode()(run), scale=scale, note=note, repetitions=3)

    def floor(self) -> Task:
        """The arithmetic at the rate of one large product."""
        dtype = torch.bfloat16 if self.setting.device == "cuda" else torch.float32
        rows = 65536 if self.setting.device == "cuda" else 4096
        x, weight = (
            torch.randn(n, self.width, device=self.setting.device, dtype=dtype)
            for n in (rows, SIMILARITY)
        )
        out = x.new_empty(rows, SIMILARITY)
        lengths = caption_lengths(self.sizes["captions"])
        work = self.sizes["images"] * sum(self.operations(int(n)) for n in lengths)
        note = f"{work / 1e12:.3g} Tflop of products at the rate of one large {dtype} product"
        scale = work / (2 * rows * self.width * SIMILARITY)
        return Task(lambda: torch.mm(x, weight.T, out=out), scale, note, repetitions=30)

    @abstractmethod
    def published_scores(self, repository: Repository, world: EncodedWorld) -> Any:
        """A call that scores a world by the published code; the world's head gets its weights."""

    @abstractmethod
    def operations(self, n_words: int) -> int:
        """Floating-point operations of the products of one image and one caption, at least."""

    def _in_double(self, world: EncodedWorld) -> np.ndarray:
        head = self.head().double()
        head.load_state_dict(world.head.state_dict())
        longest = int(world.lengths.max())
        mask = torch.arange(longest) < world.lengths.cpu().unsqueeze(1)
        images = world.images.cpu().double()
        real = images.new_ones(images.shape[:2], dtype=torch.bool)
        text = Encoded(world.texts.cpu().double(), mask)
        return head(Encoded(images, real), text).numpy()

    def attention_operations(self, n_words: int) -> int:
        """Those of the affinities of words and regions, and of the lengths of what is attended."""
        return 2 * N_REGIONS * n_words * (self.width + N_REGIONS)


class SgrScores(_Scores):
    """Similarity graph reasoning, the head of NCR."""

    title = "scores of SGR: 36 regions x 1024, ragged captions, all pairs"
    repository = "XLearning-SCU/2021-NeurIPS-NCR"
    targets: ClassVar[dict[str, float]] = {"cpu": 2.5, "cuda": 20.0}
    head_name = "sgr"
    head_options: ClassVar[dict[str, Any]] = {"num_regions": N_REGIONS}

    def published_scores(self, repository: Repository, world: EncodedWorld) -> Any:
        """`EncoderSimilarity` of NCR."""
        code = network_code(repository)
        torch.manual_seed(2)
        published = code.EncoderSimilarity(self.width, SIMILARITY, self.head_name.upper(), 3)
        published = published.eval().to(self.setting.device)
        copy_head(published, world.head)
        lengths = world.lengths.tolist()
        return lambda: published(world.images, world.texts, lengths)

    def operations(self, n_words: int) -> int:
        """Attention, nodes, two whole steps with one product for queries and keys, the last."""
        nodes, size = 1 + n_words, SIMILARITY
        local = 2 * n_words * self.width * (N_REGIONS + size)
        whole = 2 * self.width * size
        step = 4 * nodes * size * size + 4 * nodes * nodes * size
        last = 4 * size * size + 4 * nodes * size
        return self.attention_operations(n_words) + local + whole + 2 * step + last


class SafScores(SgrScores):
    """Similarity attention filtration."""

    title = "scores of SAF: 36 regions x 1024, ragged captions, all pairs"
    head_name = "saf"

    def operations(self, n_words: int) -> int:
        """Attention, nodes, their gates and their mean."""
        local = 2 * n_words * self.width * (N_REGIONS + SIMILARITY)
        nodes = 2 * self.width * SIMILARITY + 4 * (1 + n_words) * SIMILARITY
        return self.attention_operations(n_words) + local + nodes


class ScanTextToImageScores(_Scores):
    """Stacked cross attention, words asking regions."""

    title = "scores of SCAN text-image: 36 regions x 1024, ragged captions, all pairs"
    repository = "kuanghuei/SCAN"
    targets: ClassVar[dict[str, float]] = {"cpu": 2.5, "cuda": 20.0}
    head_name = "scan_t2i"
    direction = "t2i"
    smoothing, sharpness = 9.0, 6.0

    def published_scores(self, repository: Repository, world: EncodedWorld) -> Any:
        """`xattn_score_*` of SCAN."""
        # Its Softmax() names no dimension; of a matrix torch then took the second.
        layers = SimpleNamespace(Softmax=lambda: nn.Softmax(dim=1), LeakyReLU=nn.LeakyReLU)
        wanted = ["l2norm", "func_attention", "cosine_similarity", f"xattn_score_{self.direction}"]
        code = repository.names("model.py", wanted, {"torch": torch, "nn": layers})
        options = SimpleNamespace(
            raw_feature_norm="clipped_l2norm",
            agg_func="LogSumExp",
            lambda_softmax=self.smoothing,
            lambda_lse=self.sharpness,
        )
        score, lengths = getattr(code, wanted[-1]), world.lengths.tolist()
        return lambda: score(world.images, world.texts, lengths, options)

    def operations(self, n_words: int) -> int:
        """The attention is all of it."""
        return self.attention_operations(n_words)


class ScanImageToTextScores(ScanTextToImageScores):
    """Stacked cross attention, regions asking words."""

    title = "scores of SCAN image-text: 36 regions x 1024, ragged captions, all pairs"
    head_name = "scan_i2t"
    direction = "i2t"
    smoothing, sharpness = 4.0, 5.0

    def attention_operations(self, n_words: int) -> int:
        """As for the other direction, but the context are the words."""
        return 2 * N_REGIONS * n_words * (self.width + n_words)
