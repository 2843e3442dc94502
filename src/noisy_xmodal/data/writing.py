"""Writing of a dataset as a Parquet folder for `load_dataset(folder, config)`.

OUT/README.md                      the card: configs, files, noise protocol
OUT/noise_protocol.json            the protocol of every config
OUT/{config}/train-*.parquet       one train split per config
OUT/evaluation/{split}-*.parquet   the evaluation splits, stored once, used by all configs

The raw data is read once for all configs. Configs differ in captions and labels and share pictures
and features; the Hub stores equal chunks once, a local disk once per config.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets

from ..files import atomic_write, write_json
from .card import render_card
from .clean_split import CleanSplit, block_table, split_lines
from .columns import DatasetError
from .parquet_shards import ParquetShards
from .protocol import TRAIN

if TYPE_CHECKING:  # the readers import this module
    from .readers.base import NoisyPairsBuilder

EVALUATION = "evaluation"  # folder of the evaluation splits


def write_dataset(
    builder_class: "type[NoisyPairsBuilder]",
    out: str | Path,
    configs: Sequence[str] | None = None,
    seed: int = 0,
    noise_index: str | None = None,
    overwrite: bool = False,
    push_to_hub: str | None = None,
    private: bool = False,
    **options: Any,
) -> dict[str, CleanSplit]:
    """Writes configs of a dataset to one folder, and optionally uploads it to the Hub.

    Args:
        builder_class: The dataset.
        out: The output folder.
        configs: Config names; the first is the default config. By default
            `builder_class.DEFAULT_CONFIGS`, or clean and noise_index if `noise_index` is set.
        seed: Seed of the noise.
        noise_index: A noise-index file with the noise of the one noisy config in `configs`.
        overwrite: Whether to replace an existing `out`.
        push_to_hub: Name of a dataset repository, such as "org/flickr30k-noisy".
        private: Whether to make a new repository private.
        options: Additional arguments of the builder, such as `data_dir`.

    Returns:
        The clean splits.

    Raises:
        DatasetError: A config is unknown, `out` is not empty, or raw data or noise is invalid. All
            errors are raised before anything is written.
    """
    if configs is None:
        configs = ("clean", "noise_index") if noise_index else builder_class.DEFAULT_CONFIGS
    noisy = [name for name in configs if name != "clean"]
    if noise_index is not None and len(noisy) != 1:
        raise DatasetError(
            f"A noise index is the noise of one config, but {len(noisy)} noisy ones are requested: "
            f"{noisy}. Give one, such as 'noise_index'."
        )
    if push_to_hub is not None:
        _check_login()
    check_out(out, overwrite)
    raw = [options.get("data_dir"), options.get("source"), noise_index]
    _check_outside(out, [path for path in raw if path is not None])
    builders = [
        builder_class(
            config_name=name,
            seed=seed,
            hash="written",  # nothing is cached, so the state of the raw data is not needed
            noise_index=noise_index if name != "clean" else None,
            **options,
        )
        for name in dict.fromkeys(configs)
    ]
    for builder in builders:
        builder.check_noise()
    for builder in builders:
        builder.splits = builders[0].splits
        builder.describe()  # raises an error for invalid noise before anything is written
    out = Path(os.path.abspath(out))
    used = (path for split in builders[0].splits.values() for path in split.raw_paths())
    inside = next((path for path in used if Path(path).absolute().is_relative_to(out)), None)
    if inside is not None:
        raise DatasetError(f"{out} contains {inside}, which is an input: give another folder.")
    with atomic_write(out) as folder:
        folder.mkdir()
        _fill(folder, builders)
    if push_to_hub is not None:
        push_folder(out, push_to_hub, private)
    return builders[0].splits


def check_out(out: str | Path, overwrite: bool) -> None:
    """Checks that an output folder can be created or replaced.

    Raises:
        DatasetError: `out` is a file, cannot be created, or is not empty and `overwrite` is false.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise DatasetError(f"{out} is a file; give a folder.")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise DatasetError(
            f"{out} is not empty. Give another folder. To replace it: overwrite=True."
        )
    parent = next(parent for parent in out.absolute().parents if parent.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        reason = "not writable" if parent.is_dir() else "a file"
        raise DatasetError(f"{out} cannot be created: {parent} is {reason}. Give another path.")


def _check_outside(out: str | Path, raw: Sequence[str | Path]) -> None:
    """Checks that `out` contains neither raw data nor the home or working directory."""
    folder = Path(out).expanduser().resolve()
    for path in (*raw, Path.home(), Path.cwd()):
        inner = Path(path).expanduser().resolve()
        if inner.exists() and (inner == folder or folder in inner.parents):
            raise DatasetError(
                f"{out} contains {path}, and would be replaced as a whole. Give another folder."
            )


def _check_login() -> None:
    """Checks the login to the Hub before long computations."""
    from huggingface_hub import HfApi

    try:
        HfApi().whoami()
    except OSError as error:
        raise DatasetError(
            f"You are not logged in to the Hub ({type(error).__name__}). Log in with "
            "`hf auth login`, or set HF_TOKEN."
        ) from error


def push_folder(folder: str | Path, repo_id: str, private: bool = False) -> str:
    """Uploads a dataset folder to a dataset repository of the Hub.

    Args:
        folder: The folder.
        repo_id: "name" or "organisation/name"; created if it does not exist.
        private: Whether to make a new repository private.

    Returns:
        The URL of the repository.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    url = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
    api.upload_folder(
        repo_id=url.repo_id,
        folder_path=folder,
        repo_type="dataset",
        commit_message="Upload dataset",
        delete_patterns=["*.parquet"],  # shards of an earlier upload would be loaded, too
    )
    return str(url)


def _fill(folder: Path, builders: "Sequence[NoisyPairsBuilder]") -> None:
    """Writes the files of all configs."""
    first = builders[0]
    infos = {builder.config.name: builder.info.copy() for builder in builders}
    files: dict[str, list[dict[str, str]]] = {config: [] for config in infos}
    for info in infos.values():
        info.splits, info.dataset_size, info.download_size = datasets.SplitDict(), 0, None
    for split in first.splits:
        writers = {b.config.name: b for b in builders} if split == TRAIN else {EVALUATION: first}
        sizes = _write_split(folder, split, writers)
        for config, info in infos.items():
            part = config if split == TRAIN else EVALUATION
            files[config].append({"split": split, "path": f"{part}/{split}-*.parquet"})
            info.splits.add(sizes[part])
            info.dataset_size += sizes[part].num_bytes
    protocols = {builder.config.name: builder.describe() for builder in builders}
    write_json(folder / "noise_protocol.json", protocols)
    values = {"splits": split_lines(first.splits), **first.card_values()}
    render_card(first.CARD, values, infos, files, protocols).save(folder / "README.md")


def _write_split(
    folder: Path, split: str, writers: "Mapping[str, NoisyPairsBuilder]"
) -> dict[str, datasets.SplitInfo]:
    """Writes a split of several configs, in one pass over the raw data; returns their sizes."""
    clean = next(iter(writers.values())).splits[split]
    noisy = {name: builder.noisy_columns(split) for name, builder in writers.items()}
    with ExitStack() as stack:
        shards = {
            name: stack.enter_context(ParquetShards(folder / name, split, builder.info.features))
            for name, builder in writers.items()
        }
        for first, last in clean.blocks(f"Writing {split}"):
            block = clean.read(first, last)
            for name, files in shards.items():
                files.write(block_table(block, noisy[name], first, last, files.schema))
    return {
        name: datasets.SplitInfo(split, num_bytes=files.n_bytes, num_examples=files.n_rows)
        for name, files in shards.items()
    }
