"""Writing of a dataset as a Parquet folder for `load_dataset(folder, config)`.

OUT/README.md                      the card: configs, files, noise protocol
OUT/noise_protocol.json            the protocol of every config
OUT/{config}/train-*.parquet       one train split per config
OUT/evaluation/{split}-*.parquet   the evaluation splits, stored once, used by all configs

The raw data is read once for all configs. See parquet_layouts.py for the disk space of the configs,
and for the compact layout.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets

from ...files import atomic_write
from ..card import render_card
from ..columns import DatasetError
from .base import NoisyPairsBuilder
from .clean_split import CleanSplit
from .parquet_layouts import CompactLayout, FolderLayout, StoredSplit


def write_dataset(
    builder_class: type[NoisyPairsBuilder],
    out: str | Path,
    configs: Sequence[str] | None = None,
    seed: int = 0,
    noise_index: str | None = None,
    overwrite: bool = False,
    push_to_hub: str | None = None,
    private: bool = False,
    compact: bool = False,
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
        compact: Whether to store pictures and features once for all configs, see
            parquet_layouts.py.
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
    if compact and push_to_hub is not None:
        raise DatasetError(
            "The compact layout is for a local disk: readers other than `datasets` see the rows of "
            "all configs in one table. Push without --compact; the Hub stores equal data once."
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
    write_parquet_folder(builders, out, overwrite, compact)
    if push_to_hub is not None:
        push_folder(out, push_to_hub, private)
    return builders[0].clean_splits


def write_parquet_folder(
    builders: Sequence[NoisyPairsBuilder],
    out: str | Path,
    overwrite: bool = False,
    compact: bool = False,
) -> Path:
    """Builds configs of one dataset in one folder.

    A temporary folder is written and then renamed, so `out` is never incomplete.

    Args:
        builders: One per config, of the same dataset; the first is the card's default config.
        out: The output folder.
        overwrite: Whether to replace an existing `out`.
        compact: Whether to store pictures and features once for all configs.

    Returns:
        The folder.

    Raises:
        DatasetError: `out` exists and is not empty, and `overwrite` is false.
    """
    out = Path(os.path.abspath(out))
    check_out(out, overwrite)
    for builder in builders:
        builder.check_noise()
    for builder in builders:
        builder.clean_splits = builders[0].clean_splits
        builder.describe()  # raises an error for invalid noise before anything is written
    used = (path for split in builders[0].clean_splits.values() for path in split.raw_paths())
    inside = next((path for path in used if Path(path).absolute().is_relative_to(out)), None)
    if inside is not None:
        raise DatasetError(f"{out} contains {inside}, which is an input: give another folder.")
    with atomic_write(out) as folder:
        folder.mkdir()
        _fill(folder, builders, compact)
    return out


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


def _fill(folder: Path, builders: Sequence[NoisyPairsBuilder], compact: bool) -> None:
    first = builders[0]
    layout = CompactLayout(folder) if compact else FolderLayout(folder)
    configs: dict[str, dict[str, StoredSplit]] = {b.config.name: {} for b in builders}
    for split in first.clean_splits:
        stored = layout.write(split, builders)
        for config, splits in configs.items():
            splits[split] = stored[config]
    infos = {
        b.config.name: _add_sizes(b.info, [s.info for s in configs[b.config.name].values()])
        for b in builders
    }
    entries = {
        config: {
            "data_files": [{"split": k, "path": s.pattern} for k, s in splits.items()],
            **layout.reader_options(config, infos[config].features),
        }
        for config, splits in configs.items()
    }
    protocols = {b.config.name: b.corrupted().protocol for b in builders}
    (folder / "noise_protocol.json").write_text(json.dumps(protocols, indent=2) + "\n")
    text = first.card_text(first.clean_splits)
    render_card(text, infos, entries, protocols).save(folder / "README.md")


def _add_sizes(
    info: datasets.DatasetInfo, splits: Sequence[datasets.SplitInfo]
) -> datasets.DatasetInfo:
    result = info.copy()
    result.splits = datasets.SplitDict()
    for split in splits:
        result.splits.add(split)
    result.dataset_size = sum(split.num_bytes for split in splits)
    result.download_size = None
    return result
