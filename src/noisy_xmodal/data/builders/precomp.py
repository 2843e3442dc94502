"""Region-feature datasets of the field, from the files that its repositories read.

    Precomp(config_name="cmp_40", data_dir="f30k_precomp").download_and_prepare()

`write_precomp` makes a Parquet folder out of several configs; see precomp_files.py for the layout.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import datasets
from datasets.fingerprint import Hasher

from ..card import CardText
from ..columns import LABELS, REGIONS, DatasetError
from ..regions import region_feature
from .base import (
    IDENTITY_FEATURES,
    INDEX_CONFIG,
    CleanSplit,
    NoisyPairsBuilder,
    NoisyPairsConfig,
    noise_configs,
)
from .parquet_folder import check_out, write_parquet_folder
from .precomp_files import PrecompSplit, open_precomp_splits

_VERSION = "1.0.0"
_PERCENTAGES = (20, 40, 50, 60, 80)


class Precomp(NoisyPairsBuilder):
    """Builder of the layout that `precomp_files` describes; `data_dir` is needed."""

    VERSION = datasets.Version(_VERSION)
    DEFAULT_WRITER_BATCH_SIZE = 256  # rows held in memory: 75 MB at 36 x 2048 float32
    SUMMARY = "Region features with captions, in the layout of SCAN and VSE++."
    BUILDER_CONFIGS = [  # noqa: RUF012
        *noise_configs(
            "clean",
            *(f"cmp_{percent}" for percent in _PERCENTAGES),
            *(f"cmp_image_{percent}" for percent in _PERCENTAGES),
            version=_VERSION,
        ),
        NoisyPairsConfig(name=INDEX_CONFIG, version=_VERSION, noise=INDEX_CONFIG),
    ]

    @classmethod
    def source_version(cls, data_dir: str | None) -> str | None:
        """Names the state of the files by size and time, so that changed files are read anew."""
        if data_dir is None:
            return None
        files = sorted(Path(data_dir).glob("*_*.*"))
        return str(Hasher.hash([(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]))

    def open_splits(self) -> dict[str, CleanSplit]:
        """Opens the splits and scans their features.

        Raises:
            DatasetError: No `data_dir`, or a file breaks the layout.
        """
        if self.config.data_dir is None:
            raise DatasetError("Precomp reads files: give data_dir=FOLDER.")
        splits = open_precomp_splits(self.config.data_dir)
        for split in splits.values():
            split.check_finite()
        return cast(dict[str, CleanSplit], splits)

    def visual_features(self, splits: dict[str, CleanSplit]) -> dict[str, Any]:
        """Returns the types of regions, id and labels."""
        split = cast(PrecompSplit, next(iter(splits.values())))
        dtype, dim = str(split.features.dtype), split.features.shape[2]
        columns: dict[str, Any] = {REGIONS: region_feature(dim, dtype), **IDENTITY_FEATURES}
        if split.labels is not None:
            columns[LABELS] = datasets.List(datasets.Value("int64"))
        return columns


def write_precomp(
    data_dir: str | Path,
    out: str | Path,
    configs: Sequence[str] | None = None,
    noise_index: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, PrecompSplit]:
    """Writes a Parquet folder with some configs.

    Args:
        data_dir: The raw files.
        out: The folder to make.
        configs: Config names; clean, cmp_20, cmp_40 and cmp_60 by default, or clean and
            noise_index where a file is given.
        noise_index: A noise-index file: the noise of the one noisy config in `configs`.
        seed: Seed of the noise.
        overwrite: Replace `out` where it exists.

    Returns:
        The clean splits that were found.

    Raises:
        DatasetError: An unknown config, an `out` that is not empty, or files that break the layout.
    """
    if configs is None:
        configs = (
            ("clean", INDEX_CONFIG) if noise_index else ("clean", "cmp_20", "cmp_40", "cmp_60")
        )
    noisy = [name for name in configs if name != "clean"]
    if noise_index is not None and len(noisy) != 1:
        raise DatasetError(
            f"A noise index is the noise of one config, but {len(noisy)} noisy ones are asked: "
            f"{noisy}. Give one, such as '{INDEX_CONFIG}'."
        )
    check_out(out, overwrite)
    builders = [
        Precomp(
            config_name=name,
            data_dir=str(data_dir),
            seed=seed,
            noise_index=noise_index if name != "clean" else None,
        )
        for name in dict.fromkeys(configs)
    ]
    splits = cast(dict[str, PrecompSplit], builders[0].clean_splits)
    for builder in builders:
        builder.clean_splits = builders[0].clean_splits
        builder.noisy_pairs()  # so that noise that does not fit stops here, before any writing
    write_parquet_folder(builders, out, _card_text(splits), overwrite)
    return splits


def _card_text(splits: dict[str, PrecompSplit]) -> CardText:
    lines = [
        f"- {name}: {len(split.captions):,} images, {len(split.captions[0])} caption(s) each, "
        f"features {split.features.shape[1]} x {split.features.shape[2]} {split.features.dtype}"
        + (f"; the raw file repeats every row {split.copies} times" if split.copies > 1 else "")
        for name, split in splits.items()
    ]
    return CardText(
        title="Image-caption pairs with region features",
        body="Region features and captions, converted by `dataset_scripts/precomp.py`.\n\n"
        + "\n".join(lines),
        credit="The terms of the raw features and captions apply; name them here before sharing.",
    )
