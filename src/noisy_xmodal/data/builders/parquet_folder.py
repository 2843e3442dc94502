"""Writes a dataset as a folder of Parquet that `load_dataset(folder, config)` opens.

OUT/README.md                      the card: configs, files, noise protocol
OUT/noise_protocol.json            the protocol of every config
OUT/{config}/train-*.parquet       one train split per config
OUT/evaluation/{split}-*.parquet   the evaluation splits, stored once, used by all configs

The raw data is read once, whatever the number of configs. See parquet_layouts.py for what the
configs cost on disk, and for the compact layout.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets

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
    """Writes some configs of a dataset into one folder, and sends it to the Hub if asked.

    Args:
        builder_class: The dataset.
        out: The folder to make.
        configs: Config names, the first of which is the default config; those of
            `builder_class.DEFAULT_CONFIGS` by default, or clean and noise_index where a file is
            given.
        seed: Seed of the noise.
        noise_index: A noise-index file: the noise of the one noisy config in `configs`.
        overwrite: Replace `out` where it exists.
        push_to_hub: Name of a dataset repository, such as "org/flickr30k-noisy".
        private: Make that repository private, where it is new.
        compact: Store pictures and features once for all configs, see parquet_layouts.py.
        options: More arguments of the builder: `data_dir` and others.

    Returns:
        The clean splits.

    Raises:
        DatasetError: An unknown config, an `out` that is not empty, raw data or noise that does not
            fit; all before anything is written.
    """
    if configs is None:
        configs = ("clean", "noise_index") if noise_index else builder_class.DEFAULT_CONFIGS
    noisy = [name for name in configs if name != "clean"]
    if noise_index is not None and len(noisy) != 1:
        raise DatasetError(
            f"A noise index is the noise of one config, but {len(noisy)} noisy ones are asked: "
            f"{noisy}. Give one, such as 'noise_index'."
        )
    if compact and push_to_hub is not None:
        raise DatasetError(
            "The compact layout is for a local disk: other readers than `datasets` see the rows of "
            "all configs in one table. Push without --compact; the Hub itself keeps one copy."
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
            hash="written",  # nothing is cached, so that the state of the raw data need not be read
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
    """Builds some configs of one dataset into one folder.

    The folder is written aside and then renamed: it is whole, or it is not there.

    Args:
        builders: One per config, of the same dataset; the first is the card's default config.
        out: The folder to make.
        overwrite: Replace `out` where it exists.
        compact: Store pictures and features once for all configs.

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
        builder.describe()  # noise that does not fit stops here, before any writing
    used = (path for split in builders[0].clean_splits.values() for path in split.raw_paths())
    inside = next((path for path in used if Path(path).absolute().is_relative_to(out)), None)
    if inside is not None:
        raise DatasetError(f"{out} holds {inside}, which is read from: give another folder.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with _aside(out) as aside:
        folder = aside / "dataset"
        folder.mkdir()
        _fill(folder, builders, compact)
        _swap(folder, out, aside / "replaced")
    return out


def _swap(new: Path, out: Path, replaced: Path) -> None:
    """Puts `new` in the place of `out`, which is put back should that fail."""
    if not out.exists():
        os.replace(new, out)
        return
    os.replace(out, replaced)
    try:
        os.replace(new, out)
    except BaseException:
        os.replace(replaced, out)
        raise


@contextmanager
def _aside(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write in; what a killed run left there is put right first."""
    aside = out.with_name(f".{out.name}.partial")
    if (aside / "replaced").exists() and not out.exists():
        os.replace(aside / "replaced", out)  # killed between the two renames
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def check_out(out: str | Path, overwrite: bool) -> None:
    """Refuses a folder with content, unless it may be replaced.

    Raises:
        DatasetError: `out` is a file or cannot be made, or is a folder that is not empty while
            `overwrite` is false.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise DatasetError(f"{out} is a file; give a folder.")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise DatasetError(
            f"{out} is not empty. Give another folder. To replace it: overwrite=True."
        )
    there = next(parent for parent in out.absolute().parents if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        why = "not yours to write" if there.is_dir() else "a file"
        raise DatasetError(f"{out} cannot be made: {there} is {why}. Give another place.")


def _check_outside(out: str | Path, raw: Sequence[str | Path]) -> None:
    """Refuses an `out` whose replacement would take raw data, the home or this folder with it."""
    folder = Path(out).expanduser().resolve()
    for path in (*raw, Path.home(), Path.cwd()):
        inner = Path(path).expanduser().resolve()
        if inner.exists() and (inner == folder or folder in inner.parents):
            raise DatasetError(
                f"{out} holds {path}, and would be replaced as a whole. Give a folder of its own."
            )


def _check_login() -> None:
    """Refuses to work for long on what cannot be sent."""
    from huggingface_hub import HfApi

    try:
        HfApi().whoami()
    except OSError as error:
        raise DatasetError(
            f"The Hub does not know you ({type(error).__name__}). Log in with `hf auth login`, or "
            "set HF_TOKEN."
        ) from error


def push_folder(folder: str | Path, repo_id: str, private: bool = False) -> str:
    """Sends a written folder to a dataset repository of the Hub.

    Args:
        folder: The folder.
        repo_id: "name" or "organisation/name"; made where it does not exist.
        private: Make it private, where it is new.

    Returns:
        The address of the repository.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    url = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
    api.upload_folder(
        repo_id=url.repo_id,
        folder_path=folder,
        repo_type="dataset",
        commit_message="Upload dataset",
        delete_patterns=["*.parquet"],  # shards of an earlier upload would be read along
    )
    return str(url)


def _fill(folder: Path, builders: Sequence[NoisyPairsBuilder], compact: bool) -> None:
    first = builders[0]
    layout = CompactLayout(folder) if compact else FolderLayout(folder)
    written: dict[str, dict[str, StoredSplit]] = {b.config.name: {} for b in builders}
    for split in first.clean_splits:
        stored = layout.write(split, builders)
        for config, splits in written.items():
            splits[split] = stored[config]
    infos = {
        b.config.name: _whole_info(b.info, [s.info for s in written[b.config.name].values()])
        for b in builders
    }
    entries = {
        config: {
            "data_files": [{"split": k, "path": s.pattern} for k, s in splits.items()],
            **layout.reader_options(config, infos[config].features),
        }
        for config, splits in written.items()
    }
    protocols = {b.config.name: b.corrupted().protocol for b in builders}
    (folder / "noise_protocol.json").write_text(json.dumps(protocols, indent=2) + "\n")
    text = first.card_text(first.clean_splits)
    render_card(text, infos, entries, protocols).save(folder / "README.md")


def _whole_info(
    info: datasets.DatasetInfo, splits: Sequence[datasets.SplitInfo]
) -> datasets.DatasetInfo:
    whole = info.copy()
    whole.splits = datasets.SplitDict()
    for split in splits:
        whole.splits.add(split)
    whole.dataset_size = sum(split.num_bytes for split in splits)
    whole.download_size = None
    return whole
