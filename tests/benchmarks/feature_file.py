"""The first training batch from a large feature file, beside reading the file whole.

The file is sparse: it has its full length, all zeros, and takes no room. Reading it costs what
reading from memory costs, which flatters a reader of the whole file most. Captions are real lines.
Both sides have their vocabulary ready, and the published code splits captions at spaces, as
installing its tokenizer is not worth it.

This library reads a folder that `dataset_scripts/precomp.py` made of the file, once. `datasets`
makes a copy in its cache when the folder is opened for the first time. Both are done beforehand;
what they took is among the facts.
"""

import copy
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.utils.data
from published import Repository
from work import Task, Work

from noisy_xmodal import NcrProcessor, RegionFeatureProcessor
from noisy_xmodal.data import PairCollator, PairDataset, load_pairs, validate_pairs
from noisy_xmodal.data.readers import Precomp, write_dataset
from noisy_xmodal.data.readers.array_file import open_array
from noisy_xmodal.modules import train_word_tokenizer

SHAPE = (36, 2048)  # regions and their length, of an image
ROW_BYTES = 2 * SHAPE[0] * SHAPE[1]  # float16
N_CAPTIONS = 5  # of an image
BATCH = 128
PART_IMAGES = 13_600  # 2 GB
LAYOUT = "coco_precomp"  # the name by which the published code knows it
WORDS = ["a", "picture", "seen", "from"]

_SCRIPT = Path(__file__).parents[2] / "dataset_scripts" / "precomp.py"
_OPEN = "import sys; from noisy_xmodal.data import load_pairs; load_pairs(sys.argv[1], 'clean')"


class FirstBatch(Work):
    """30 GB of region features, four times those of Flickr30K."""

    title = f"a first batch of {BATCH} pairs from a feature file, against np.load as in NCR"
    repository = "XLearning-SCU/2021-NeurIPS-NCR"
    most_seconds = 2.0
    most_mib = 1024.0

    @property
    def sizes(self) -> dict[str, int]:
        """How many images and captions, and of how many bytes."""
        n_images = self.sized(203_500, least=BATCH)
        captions = N_CAPTIONS * n_images
        return {"images": n_images, "captions": captions, "bytes": n_images * ROW_BYTES}

    def check(self, repository: Repository | None) -> float | None:
        """The largest difference of a feature of a small file; infinite if a caption is another."""
        raw, out = self.setting.folder / "small", self.setting.folder / "small_parquet"
        features = np.random.default_rng(0).standard_normal((10, *SHAPE)).astype(np.float16)
        _write_captions(raw / LAYOUT, len(features))
        np.save(raw / LAYOUT / "train_ims.npy", features)
        write_dataset(Precomp, out, ["clean"], data_dir=str(raw / LAYOUT))
        pairs = PairDataset(load_pairs(out, "clean")["train"])
        items = pairs.__getitems__(range(len(pairs)))
        lines = (raw / LAYOUT / "train_caps.txt").read_text().splitlines()
        if [item["caption"] for item in items] != lines:
            return float("inf")
        if repository is None:
            theirs = np.repeat(features, N_CAPTIONS, axis=0)  # (n_captions, *SHAPE)
        else:
            theirs = np.stack([item[0].numpy() for item in _published_pairs(repository, raw)])
        return float(np.abs(np.stack([item["regions"] for item in items]) - theirs).max())

    def ours(self) -> Task:
        """Opens a converted folder, checks its rows as trainers do, and reads a batch at random."""
        out = self.setting.folder / "parquet"
        self._convert(out)
        self.notes |= json.loads((self.setting.folder / "beforehand.json").read_text())
        processor = NcrProcessor(RegionFeatureProcessor(SHAPE[1]), train_word_tokenizer(WORDS))

        def run() -> None:
            times = [time.perf_counter()]
            rows = load_pairs(out, "clean")["train"]
            times.append(time.perf_counter())
            validate_pairs(rows, minimum_pairs=BATCH)
            times.append(time.perf_counter())
            _first(PairDataset(rows), PairCollator(processor))
            times.append(time.perf_counter())
            steps = ("seconds to open", "to check every row", "to the batch")
            self.notes |= {
                name: round(b - a, 2) for name, (a, b) in zip(steps, pairwise(times), strict=True)
            }

        return Task(run, note="from a folder that was converted and opened before", cold=True)

    def published(self, repository: Repository) -> Task:
        """Reads a file of 2 GB whole, then a batch at random."""
        n_images = self.sizes["images"]
        part = min(PART_IMAGES, n_images)
        raw = self._raw("part", part).parent
        collate = _data_code(repository).collate_fn
        whole = self.sizes["bytes"] / 2**30
        note = f"timed on {part:,} of {n_images:,} images; at full size it holds {whole:.3g} GiB"
        return Task(
            lambda: _first(_published_pairs(repository, raw), collate),
            scale=n_images / part,
            note=note + " of features",
            cold=True,
        )

    def floor(self) -> Task:
        """Opens the file and reads the rows of a batch."""
        path = self._raw("raw", self.sizes["images"]) / "train_ims.npy"
        rows = np.random.default_rng(0).integers(0, self.sizes["images"], BATCH).tolist()

        def run() -> None:
            file = open_array(path, dimensions=(3,))
            for row in rows:
                file[row : row + 1]

        return Task(run, note="the rows of one batch, read one by one from the raw file", cold=True)

    def _raw(self, name: str, n_images: int) -> Path:
        """The field's layout, made where it is not there yet."""
        folder = self.setting.folder / name / LAYOUT
        if not folder.exists():
            _write_captions(folder, n_images)
            np.lib.format.open_memmap(
                folder / "train_ims.npy", mode="w+", dtype="<f2", shape=(n_images, *SHAPE)
            )
        return folder

    def _convert(self, out: Path) -> None:
        """What a user does once: convert the file, and open the folder for the first time."""
        beforehand = self.setting.folder / "beforehand.json"
        if beforehand.exists():
            return
        raw = self._raw("raw", self.sizes["images"])
        free, needed = shutil.disk_usage(out.parent).free, 1.1 * self.sizes["bytes"]
        if free < needed:
            raise OSError(
                f"{out.parent} has {free / 1e9:.0f} GB free, and opening the folder for the first "
                f"time takes {needed / 1e9:.0f} GB: set TMPDIR to a larger disk, or lower --share"
            )
        options = ["--data_dir", raw, "--out", out, "--configs", "clean"]
        seconds = {
            "seconds to convert, once": _seconds_of_command([_SCRIPT, *options]),
            "seconds to open for the first time, once": _seconds_of_command(["-c", _OPEN, out]),
        }
        beforehand.write_text(json.dumps(seconds))


def _write_captions(folder: Path, n_images: int) -> None:
    folder.mkdir(parents=True)
    numbers = ((image, caption) for image in range(n_images) for caption in range(N_CAPTIONS))
    with open(folder / "train_caps.txt", "w") as file:
        file.writelines(f"a picture {image} seen from {caption}\n" for image, caption in numbers)


def _first(pairs: Any, collate: Callable[..., Any]) -> Any:
    """The first batch, in the order of a shuffled epoch."""
    loader = torch.utils.data.DataLoader(pairs, BATCH, shuffle=True, collate_fn=collate)
    return next(iter(loader))


def _seconds_of_command(arguments: list[Any]) -> float:
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{arguments[0]} failed: {done.stderr.strip()[-300:]}")
    return round(time.perf_counter() - start, 1)


def _data_code(repository: Repository) -> SimpleNamespace:
    spaces = SimpleNamespace(tokenize=SimpleNamespace(word_tokenize=str.split))
    given = {"np": np, "torch": torch, "data": torch.utils.data, "nltk": spaces}
    given |= {"os": os, "copy": copy}
    wanted = ["get_dataset", "PrecompDataset", "collate_fn"]
    return repository.names("NCR/data.py", wanted, given)


def _published_pairs(repository: Repository, raw: Path) -> Any:
    """The pairs of a folder, as the published code reads them."""
    code = _data_code(repository)
    captions, images = code.get_dataset(str(raw), LAYOUT, "train", len)
    return code.PrecompDataset(captions, images, "train")
