"""What every dataset builder keeps, whatever its raw files look like."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from karpathy_layout import COCO_CATEGORIES, karpathy_entries, write_instances, write_karpathy
from noisy_xmodal.data import DatasetError, noise_protocol, readers, validate_pairs
from noisy_xmodal.data.columns import (
    CAPTIONS,
    IMAGE_FEATURES,
    IMAGE_ID,
    IMAGE_LABEL,
    IS_NOISY,
    TEXT_LABEL,
    TRUE_LABEL,
)
from noisy_xmodal.data.readers import NoisyPairsBuilder, write_dataset
from noisy_xmodal.data.readers.base import offered_configs

N = 30


@dataclass
class Case:
    """A dataset, small.

    Attributes:
        builder: Its class.
        write: Writes the raw files into a folder.
        noisy: A noisy config.
        options: Arguments of the builder beside the folder.
        folder_option: The argument that takes the folder.
    """

    builder: type[NoisyPairsBuilder]
    write: Callable[[Path], object]
    noisy: str
    options: dict[str, Any] = field(default_factory=dict)
    folder_option: str = "data_dir"

    def arguments(self, tmp_path: Path) -> dict[str, Any]:
        raw = tmp_path / "raw"
        if not raw.exists():
            raw.mkdir()
            self.write(raw)
        return {self.folder_option: str(raw), **self.options}

    @property
    def first(self) -> str:
        return self.builder.config_names()[0]


def regions(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for split, n in (("train", N), ("dev", 6)):
        np.save(folder / f"{split}_ims.npy", rng.standard_normal((n, 3, 4)).astype(np.float32))
        lines = [f"{split} {i} caption {k}" for i in range(n) for k in range(5)]
        (folder / f"{split}_caps.txt").write_text("\n".join(lines) + "\n")


def labelled_regions(folder: Path) -> None:
    regions(folder)
    for split, n in (("train", N), ("dev", 6)):
        lines = [f"{i % 4}" for i in range(n)]
        (folder / f"{split}_labels.txt").write_text("\n".join(lines) + "\n")


def coco(folder: Path) -> None:
    entries = karpathy_entries({"train": N, "val": 5, "test": 5}, coco=True)
    write_karpathy(folder, "coco", entries)
    ids = [category["id"] for category in COCO_CATEGORIES]
    shown = {e["cocoid"]: [ids[i % 3], ids[3 + i % 4]] for i, e in enumerate(entries)}
    write_instances(folder, entries, shown)


def flickr(name: str) -> Callable[[Path], object]:
    entries = karpathy_entries({"train": N, "val": 4, "test": 4})
    return lambda folder: write_karpathy(folder, name, entries)


def conceptual(folder: Path) -> None:
    rng = np.random.default_rng(1)
    for split, n in (("train", N), ("dev", 4)):
        np.save(folder / f"{split}_ims.npy", rng.standard_normal((n, 3, 4)).astype(np.float32))
        lines = [f"{split}{i}\tcaption {i} of {split}" for i in range(n)]
        (folder / f"{split}_caps.tsv").write_text("\n".join(lines) + "\n")


def vectors(folder: Path) -> None:
    rng = np.random.default_rng(2)
    for split, n in (("train", N), ("val", 10), ("test", 10)):
        for modality, dim in (("image", 6), ("text", 4)):
            rows = rng.standard_normal((n, dim)).astype(np.float32)
            np.save(folder / f"{split}_{modality}.npy", rows)
        (folder / f"{split}_labels.txt").write_text("".join(f"{i % 5}\n" for i in range(n)))


def pascal(folder: Path) -> None:
    for name in ("bird", "boat"):
        for i in range(20):
            picture = folder / "dataset" / name / f"2008_{i:06d}.jpg"
            text = folder / "sentence" / name / f"2008_{i:06d}.txt"
            for path in (picture, text):
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (i, 9 * i, len(name))).save(picture)
            text.write_text("".join(f"{name} {i} sentence {k}\n" for k in range(5)))


def table(folder: Path) -> None:
    lines = ["image,caption"]
    for i in range(N):
        Image.new("RGB", (6, 6), (i, 2 * i, 7)).save(folder / f"{i}.png")
        lines += [f"{i}.png,a dog and cat {i % 3}", f"{i}.png,a bird {i}"]
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")


CASES = {
    "precomp": Case(readers.Precomp, regions, "cmp_40"),
    "precomp with labels": Case(readers.Precomp, labelled_regions, "sym_40"),
    "flickr30k": Case(readers.Flickr30k, flickr("flickr30k"), "cmp_image_40"),
    "flickr30k regions": Case(readers.Flickr30k, regions, "cmp_40"),
    "flickr8k": Case(readers.Flickr8k, flickr("flickr8k"), "cmp_60"),
    "coco": Case(readers.Coco, coco, "part_40"),
    "cc152k": Case(readers.CC152K, conceptual, "natural"),
    "wikipedia": Case(readers.Wikipedia, vectors, "sym_40"),
    "pascal sentence": Case(readers.PascalSentence, pascal, "sym_shared_40"),
    "xmedianet": Case(readers.XMediaNet, vectors, "sym_60"),
    "own pairs": Case(readers.OwnPairs, table, "cmp_40", folder_option="source"),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def write(case: Case, tmp_path: Path, name: str = "out", **options: Any) -> Path:
    configs = list(dict.fromkeys([case.first, case.noisy]))
    arguments = case.arguments(tmp_path)
    write_dataset(case.builder, tmp_path / name, configs, **arguments, **options)
    return tmp_path / name


def load(out: Path, config: str) -> datasets.DatasetDict:
    return datasets.load_dataset(str(out), config)


def rows(dataset: datasets.Dataset, without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """The rows, pictures as they are stored."""
    for name, feature in dataset.features.items():
        if isinstance(feature, datasets.Image):
            dataset = dataset.cast_column(name, datasets.Image(decode=False))
    kept = [name for name in dataset.column_names if name not in without]
    return dataset.select_columns(kept).to_list()


def test_there_is_a_case_for_every_builder() -> None:
    public = [getattr(readers, name) for name in readers.__all__]
    known = {b for b in public if isinstance(b, type) and issubclass(b, NoisyPairsBuilder)}
    embedded = {NoisyPairsBuilder, readers.OpenMoji, readers.OpenMojiLabels}  # no raw files
    assert {case.builder for case in CASES.values()} == known - embedded


def test_rows_keep_the_column_contract(case: Case, tmp_path: Path) -> None:
    out = write(case, tmp_path)
    for config in {case.first, case.noisy}:
        for split, dataset in load(out, config).items():
            assert len(set(dataset[IMAGE_ID])) == len(dataset)
            if IMAGE_FEATURES not in dataset.column_names:
                validate_pairs(dataset, split)
            assert (IS_NOISY in dataset.column_names) == (
                CAPTIONS in dataset.column_names and not case.builder.NATURALLY_NOISY
            )


def test_noise_touches_what_it_says_and_counts_it(case: Case, tmp_path: Path) -> None:
    out = write(case, tmp_path)
    clean, noisy = load(out, case.first), load(out, case.noisy)
    protocol = noise_protocol(noisy["train"])
    assert protocol is not None
    assert protocol == json.loads((out / "noise_protocol.json").read_text())[case.noisy]
    assert {"type", "level", "ratio", "share_wrong", "seed", "version"} <= set(protocol)
    for split in set(clean) - {"train"}:
        assert rows(clean[split]) == rows(noisy[split])
    label_noise = case.noisy.startswith("sym")
    touched = (IMAGE_LABEL, TEXT_LABEL) if label_noise else (CAPTIONS, IS_NOISY)
    assert rows(clean["train"], touched) == rows(noisy["train"], touched)
    if case.builder.NATURALLY_NOISY:
        assert protocol["share_wrong"] is None
    elif label_noise:
        true = np.array(noisy["train"][TRUE_LABEL])
        wrong = [int((np.array(noisy["train"][c]) != true).sum()) for c in touched]
        assert protocol["n_wrong"] == sum(wrong) > 0
        assert rows(clean["train"])[0][IMAGE_LABEL] == true[0]
    else:
        home = {t: i for i, texts in enumerate(clean["train"][CAPTIONS]) for t in texts}
        if len(home) == protocol["n_pairs"]:  # texts tell where they belong
            moved = [
                [home[text] != i for text in texts]
                for i, texts in enumerate(noisy["train"][CAPTIONS])
            ]
            assert moved == noisy["train"][IS_NOISY][:]
        n_wrong = sum(map(sum, noisy["train"][IS_NOISY]))
        assert protocol["n_wrong"] == n_wrong == round(protocol["ratio"] * protocol["n_pairs"])


def test_a_seed_decides_the_noise_and_nothing_else(case: Case, tmp_path: Path) -> None:
    first, same, other = (
        load(write(case, tmp_path, name, seed=seed), case.noisy)
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    for split in first:
        assert rows(first[split]) == rows(same[split])
        if split != "train":
            assert rows(first[split]) == rows(other[split])
    touched = (CAPTIONS, IS_NOISY, IMAGE_LABEL, TEXT_LABEL)
    assert rows(first["train"], touched) == rows(other["train"], touched)
    differs = rows(first["train"]) != rows(other["train"])
    assert differs == (not case.builder.NATURALLY_NOISY)


def test_the_builder_gives_what_the_folder_gives(case: Case, tmp_path: Path) -> None:
    out = write(case, tmp_path, seed=2)
    builder = case.builder(config_name=case.noisy, seed=2, **case.arguments(tmp_path))
    builder.download_and_prepare()
    built, written = builder.as_dataset(), load(out, case.noisy)
    for split in written:
        assert rows(built[split]) == rows(written[split])
        assert built[split].features == written[split].features
    assert noise_protocol(built["train"]) == noise_protocol(written["train"])


def test_the_builder_reads_changed_files_anew(case: Case, tmp_path: Path) -> None:
    def built() -> tuple[str, datasets.DatasetDict]:
        builder = case.builder(config_name=case.noisy, **case.arguments(tmp_path))
        builder.download_and_prepare()
        return builder.cache_dir, builder.as_dataset()

    where, before = built()
    assert built()[0] == where
    raw = next(path for path in sorted((tmp_path / "raw").rglob("*")) if path.is_file())
    os.utime(raw, (1, 1))
    elsewhere, after = built()
    assert elsewhere != where
    assert rows(after["train"]) == rows(before["train"])


@pytest.mark.parametrize("option", ["on_bad_image", "objects_from"])
def test_options_are_checked(case: Case, tmp_path: Path, option: str) -> None:
    options = case.arguments(tmp_path) | {option: "banana"}
    with pytest.raises(DatasetError, match=f"{option} is 'banana': choose"):
        write_dataset(case.builder, tmp_path / "out", [case.first], **options)


def test_raw_data_is_never_replaced(case: Case, tmp_path: Path) -> None:
    arguments = case.arguments(tmp_path)
    for out in (tmp_path / "raw", tmp_path):
        with pytest.raises(DatasetError, match="would be replaced"):
            write_dataset(case.builder, out, [case.first], overwrite=True, **arguments)
    assert any((tmp_path / "raw").iterdir())


def bulk_bytes(file: Path) -> list[bytes]:
    """The stored bytes of the picture or feature column, one a row group."""
    metadata, found = pq.read_metadata(file), []
    data = file.read_bytes()
    for group in range(metadata.num_row_groups):
        for number in range(metadata.row_group(group).num_columns):
            column = metadata.row_group(group).column(number)
            if column.path_in_schema.split(".")[0] in ("image", "regions", IMAGE_FEATURES):
                start = column.data_page_offset
                found.append(data[start : start + column.total_compressed_size])
    return found


def test_pictures_and_features_are_the_same_bytes_in_all_configs(
    case: Case, tmp_path: Path
) -> None:
    out = write(case, tmp_path)
    stored = [
        [hashlib.sha256(column).hexdigest() for column in bulk_bytes(file)]
        for config in dict.fromkeys([case.first, case.noisy])
        for file in sorted((out / config).glob("train-*.parquet"))
    ]
    assert stored[0]
    assert all(columns == stored[0] for columns in stored)


def test_the_card_tells_what_is_there(case: Case, tmp_path: Path) -> None:
    out = write(case, tmp_path)
    card = (out / "README.md").read_text()
    entries = yaml.safe_load(card.split("---\n")[1])["configs"]
    assert [entry["config_name"] for entry in entries] == list(
        dict.fromkeys([case.first, case.noisy])
    )
    assert "## Licence and credit" in card
    assert "## Noise protocol" in card
    assert str(tmp_path) not in card
    loaded = load(out, case.first)
    for split in loaded:
        assert f"| {split} | {len(loaded[split]):,} |" in card


def test_an_unknown_config_lists_the_known_ones(case: Case, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        write_dataset(case.builder, tmp_path / "out", ["cmp_41"], **case.arguments(tmp_path))
    assert offered_configs(case.builder) in str(caught.value)
    out = write(case, tmp_path)
    with pytest.raises(ValueError, match=case.noisy):
        load(out, "cmp_41")


def test_a_folder_with_content_is_kept(case: Case, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(DatasetError, match=r"not empty.*overwrite=True"):
        write(case, tmp_path)
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep"
