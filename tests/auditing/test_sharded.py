"""Audits by parts: each pair is judged by models that have not seen it, however work is shared."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from PIL import Image

from img2dataset_folder import BROKEN, FILE_NAME, TROUBLE, write_folder
from noisy_xmodal import audit
from noisy_xmodal.arguments.audit import AuditOptions
from noisy_xmodal.auditing import kept_shards, sharded
from noisy_xmodal.auditing.cleaning import CleaningRefusedError
from noisy_xmodal.auditing.cross_fit import CrossFit
from noisy_xmodal.auditing.features import CaptionVectors, FrozenModels, distinct_texts
from noisy_xmodal.auditing.image_scan import content_digest
from noisy_xmodal.auditing.kept_shards import KeptShard
from noisy_xmodal.auditing.loading import AuditRows
from noisy_xmodal.auditing.reviews import Decision, ReviewFile
from noisy_xmodal.auditing.shard_cleaning import ShardCleaning
from noisy_xmodal.auditing.shard_judge import ShardJudge
from noisy_xmodal.data import load_pairs
from noisy_xmodal.data.pair_dataset import GridPairs
from noisy_xmodal.data.pictures import stored_pictures
from tar_files import Member, write_tar

RECIPE: dict[str, Any] = {"folds": 2, "rounds": 1, "epochs": 1, "batch_size": 16}
RECIPE |= {"text_model_name_or_path": "none", "disable_tqdm": True}
KINDS = ("right", "wrong")
MAPS = Path("/proc/self/maps")  # the mapped files of this process, on Linux
N_SHARDS, EACH, SIZE, N_SAMPLE = 4, 40, 6, 100


def write_vectors(folder: Path, copies: bool, wrong_every: int = 10**6) -> Path:
    """Tars of vectors with two captions each; the first image of each may be the same.

    Each `wrong_every`-th image of a tar has captions of other concepts.
    """
    rng = np.random.default_rng(0)
    concepts = rng.normal(size=(9, SIZE)).astype(np.float32)
    copy = rng.normal(size=SIZE).astype(np.float32)
    for shard in range(N_SHARDS):
        members: list[Member] = []
        for row in range(EACH):
            shown = rng.integers(9, size=2)
            array = concepts[shown] + 0.1 * rng.normal(size=(2, SIZE)).astype(np.float32)
            file = io.BytesIO()
            np.save(file, copy if row == 0 and copies else array.astype(np.float32))
            key = f"{EACH * shard + row:05d}"
            if row % wrong_every == wrong_every - 1:
                shown = (shown + rng.integers(1, 9, size=2)) % 9
            texts = [f"c{shown[0]} c{shown[1]}", f"a c{shown[0]} with {key}"]
            members += [(f"{key}.npy", file.getvalue()), (f"{key}.json", json.dumps(texts))]
        write_tar(folder / f"{shard:02d}.tar", members)
    return folder


def vector_members(rows: Iterable[int], caption: str | None = None) -> list[Member]:
    """Members of a tar: of each row a vector that is its own, and a caption."""
    members: list[Member] = []
    for row in rows:
        file = io.BytesIO()
        vector = np.random.default_rng(row).normal(size=SIZE)
        np.save(file, vector.astype(np.float32))
        text = caption or f"caption {row}"
        members += [(f"{row:05d}.npy", file.getvalue()), (f"{row:05d}.txt", text)]
    return members


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("parts")
    write_vectors(folder / "vectors", copies=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "cache")
        yield folder


@pytest.fixture(scope="module")
def options(place: Path) -> AuditOptions:
    name, output = str(place / "vectors"), place / "one" / "audit.parquet"
    return AuditOptions(name, sample=N_SAMPLE, output=output, **RECIPE)


@pytest.fixture(scope="module")
def watched() -> dict[str, dict[int, set[bytes]]]:
    """Images that the models of each fold were trained on, and those that they judged."""
    return {"seen": {}, "judged": {}}


@pytest.fixture(scope="module")
def summary(options: AuditOptions, watched: dict[str, dict[int, set[bytes]]]) -> dict[str, Any]:
    train, evidence = CrossFit.train, ShardJudge._evidence

    def images(pairs: Any) -> set[bytes]:
        return {image.tobytes() for image in pairs.images[:]}

    def watch_train(fit: CrossFit, rows: np.ndarray, weights: Any, seed: int, *others: Any) -> None:
        watched["seen"][(seed - fit.options.seed) % 1000] = images(fit.pairs.select(rows))
        train(fit, rows, weights, seed, *others)

    def watch_evidence(judge: ShardJudge, fold: int, part: Any, shard: KeptShard) -> Any:
        watched["judged"].setdefault(fold, set()).update(images(part))
        return evidence(judge, fold, part, shard)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CrossFit, "train", watch_train)
        patch.setattr(ShardJudge, "_evidence", watch_evidence)
        found = audit(options, "the command")
    return found


def table_of(options: AuditOptions) -> pa.Table:
    return pq.read_table(options.output.with_suffix(""))


def test_the_table_has_every_pair_in_parts(
    summary: dict[str, Any], options: AuditOptions, place: Path
) -> None:
    parts = sorted(options.output.with_suffix("").iterdir())
    assert [part.name for part in parts] == [f"part-{n:05d}.parquet" for n in range(N_SHARDS)]
    for number, part in enumerate(parts):
        table = pq.read_table(part)
        assert set(table["shard"].to_pylist()) == {f"{number:02d}.tar"}
        assert (np.diff(table["clean_probability"].to_numpy()) >= 0).all()
    table = table_of(options).sort_by("pair_id")
    n_pairs = 2 * N_SHARDS * EACH
    assert table["pair_id"].to_pylist() == list(range(n_pairs))
    assert table["image_id"].to_pylist() == [f"{pair // 2:05d}" for pair in range(n_pairs)]
    assert table["caption"][5].as_py() == "a c{} with 00002".format(
        table["caption"][4].as_py().split()[0][1:]
    )
    assert summary == json.loads(options.summary.read_text())
    wrong = table["clean_probability"].to_numpy() < 0.5
    assert summary["judged_wrong"] == wrong.sum()
    assert summary["n_pairs"] == n_pairs
    assert summary["sharded"]["sample_pairs"] == N_SAMPLE
    assert summary["sharded"]["copies"]["groups"] == 1
    assert summary["sharded"]["copies"]["images"] == N_SHARDS
    assert summary["sharded"]["copies"]["examples"] == [
        [f"{EACH * shard:05d} in {shard:02d}.tar" for shard in range(N_SHARDS)]
    ]
    assert f"random sample of {N_SAMPLE}" in options.report.read_text()
    assert sorted(file.name for file in options.output.parent.iterdir()) == [
        *("audit", "audit.html", "audit.json")
    ]


def test_no_image_is_judged_by_models_that_saw_it_or_a_copy(
    summary: dict[str, Any], watched: dict[str, dict[int, set[bytes]]]
) -> None:
    seen, judged = watched["seen"], watched["judged"]
    assert seen.keys() == judged.keys() == {0, 1}
    assert all(seen[fold] and not seen[fold] & judged[fold] for fold in seen)
    assert len(judged[0] | judged[1]) == N_SHARDS * (EACH - 1) + 1


def kept_pairs(folder: Path) -> list[tuple[str, str]]:
    """Image id and caption of all pairs of a clean dataset."""
    rows = load_dataset(str(folder), split="train", cache_dir=str(folder.parent / "cache"))
    pairs = zip(rows["image_id"], rows["captions"], strict=True)
    return [(image_id, caption) for image_id, captions in pairs for caption in captions]


def dropped_pairs(folder: Path) -> list[tuple[str, str]]:
    lines = map(json.loads, (folder / "dropped.jsonl").read_text().splitlines())
    return [(line["image_id"], line["caption"]) for line in lines]


@pytest.fixture(scope="module")
def able(options: AuditOptions, place: Path) -> AuditOptions:
    """Options of an audit that tells wrong pairs; the first one trains judges for all."""
    name = write_vectors(place / "wrong", copies=False, wrong_every=4)
    training = {"epochs": 10, "batch_size": 32, "learning_rate": 5e-3, "keep_work": True}
    output = place / "all" / "audit.parquet"
    return replace(options, dataset_name=str(name), sample=10**6, output=output, **training)


def write_reviews(path: Path, folder: Path) -> None:
    """Decisions about the first caption of 64 images, half of them wrong, and one of no dataset."""
    rows = load_pairs(folder)["train"]
    reviews = ReviewFile(path)
    for row in range(0, 128, 4):
        for name, decision in ((row, "right"), (row + 3, "wrong")):
            reviews.add(Decision(rows["image_id"][name], rows["captions"][name][0], decision))
    reviews.add(Decision(rows["image_id"][131], rows["captions"][131][1], "corrected", "c0 c0"))
    reviews.add(Decision("elsewhere", "a caption", "right"))


def test_a_sample_of_all_pairs_is_the_audit_in_one_piece(able: AuditOptions, place: Path) -> None:
    write_reviews(place / "reviews.parquet", Path(able.dataset_name))
    own = replace(able, clean=place / "clean_parts", reviews=place / "reviews.parquet")
    output = place / "whole" / "audit.parquet"
    whole = replace(own, sample=None, output=output, clean=place / "clean")
    summaries = [audit(each) for each in (own, whole)]
    tables = [table_of(own).sort_by("pair_id"), pq.read_table(whole.output).sort_by("pair_id")]
    assert tables[0]["caption"].to_pylist() == tables[1]["caption"].to_pylist()
    for name in ("loss", "clean_probability"):
        values = [table[name].to_numpy() for table in tables]
        np.testing.assert_allclose(*values, atol=1e-4)
    assert tables[0]["review"].to_pylist() == tables[1]["review"].to_pylist()
    assert summaries[0]["wrong_share"] == summaries[1]["wrong_share"]
    reviews = [summary["reviews"] for summary in summaries]
    shares = [facts.pop("wrong_share") for facts in reviews]
    assert shares[0] == pytest.approx(shares[1], abs=1e-4)
    assert reviews[0] == reviews[1]
    assert (reviews[0]["right"], reviews[0]["wrong"], reviews[0]["corrected"]) == (32, 32, 1)
    assert (reviews[0]["missing"], reviews[0]["calibrated"]) == (1, True)
    assert all(
        each.report.read_text().count("People reviewed 65 pairs") == 1 for each in (own, whole)
    )
    assert all("1 reviewed pair is not in" in str(summary["warnings"]) for summary in summaries)
    found = summaries[0].pairs()["clean_probability"].to_numpy()
    assert (np.diff(found) >= 0).all()
    counts = [summary["cleaned"] for summary in summaries]
    folders = [Path(count.pop("folder")) for count in counts]
    assert folders == [own.clean, whole.clean]
    assert counts[0] == counts[1]
    assert 40 < counts[0]["pairs_dropped"] < 120  # 80 are wrong
    assert kept_pairs(folders[0]) == kept_pairs(folders[1])
    assert dropped_pairs(folders[0]) == dropped_pairs(folders[1])
    corrected = [json.loads((folder / "corrected.jsonl").read_text()) for folder in folders]
    assert corrected[0].pop("shard") == "03.tar"
    assert corrected[0] == corrected[1]
    rows = load_dataset(str(folders[0]), split="train", cache_dir=str(place / "cache"))
    assert rows.column_names == ["regions", "image_id", "captions", "shard"]
    assert ["c0 c0"] in [captions[-1:] for captions in rows["captions"]]
    kept, dropped = set(kept_pairs(folders[0])), set(dropped_pairs(folders[0]))
    decisions = ReviewFile(place / "reviews.parquet").decisions()
    called = {kind: {p for p, one in decisions.items() if one.decision == kind} for kind in KINDS}
    assert called["right"] - kept == {("elsewhere", "a caption")}
    assert called["wrong"] <= dropped
    assert set(rows["shard"]) == {f"{number:02d}.tar" for number in range(N_SHARDS)}


def test_the_clean_dataset_has_weights_or_a_precision(able: AuditOptions, place: Path) -> None:
    audit(replace(able, clean=place / "weighted", clean_weights=True))
    rows = load_dataset(str(place / "weighted"), split="train", cache_dir=str(place / "cache"))
    table = table_of(able).sort_by("pair_id")["clean_probability"].to_numpy()
    weights = np.concatenate(rows["clean_probability"])
    np.testing.assert_allclose(weights, table.astype(np.float32))
    old = place / "old"
    able.output.with_suffix("").rename(old)
    found = audit(replace(able, clean=place / "precise", clean_precision=0.95, compare=old))
    assert found["comparison"]["pairs_of_both"] == len(table)
    assert found["comparison"]["rank_correlation"] == pytest.approx(1)
    found = found["cleaned"]
    kept = table[table >= found["threshold"]]
    assert len(kept) == found["pairs_kept"] == len(kept_pairs(place / "precise"))
    assert kept.mean() >= 0.95
    more = table[table >= table[table < found["threshold"]].max()]
    assert more.mean() < 0.95 + 1e-6
    with pytest.raises(CleaningRefusedError, match="All other files are written") as error:
        audit(replace(able, clean=place / "refused", clean_precision=1.0))
    assert not (place / "refused").exists()
    assert error.value.summary["cleaned"] is None
    assert "refused was not written" in error.value.summary["warnings"][-1]
    assert table_of(able).num_rows == len(table)
    name = Path(able.dataset_name).parent / "same"
    for number in range(N_SHARDS):
        rows = range(EACH * number, EACH * (number + 1))
        members = [m for row in rows for m in vector_members([row], caption=f"{1000 + row}")]
        write_tar(name / f"{number:02d}.tar", members)
    for sample in (10**6, None):
        own = replace(able, dataset_name=str(name), sample=sample, epochs=1, force_clean=True)
        own = replace(own, output=place / f"same-{sample}" / "audit.parquet", clean_threshold=0.0)
        with pytest.raises(CleaningRefusedError, match="no pair is left"):
            audit(replace(own, clean=place / "nothing", drop="digits"))
        assert not (place / "nothing").exists()
        assert own.summary.is_file()


def test_the_clean_dataset_is_not_put_in_the_place_of_the_table(options: AuditOptions) -> None:
    with pytest.raises(ValueError, match="writes files of its own: give two places"):
        audit(replace(options, clean=options.output.with_suffix(""), output=options.output))


def test_the_sample_keeps_no_shard_open_and_both_of_equal_pictures(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = place / "pictures"
    folder.mkdir()
    for number in range(N_SHARDS):
        rows = [(f"{number}-{row}", row // 2 + 10 * number) for row in range(8)]  # equal in pairs
        table = {
            "image_id": [name for name, _ in rows],
            "image": [Image.new("RGB", (8, 8), (seed, 0, 0)) for _, seed in rows],
            "captions": [[f"caption {name}"] for name, _ in rows],
        }
        datasets.Dataset.from_dict(table).to_parquet(
            folder / f"train-{number:05d}-of-{N_SHARDS:05d}.parquet"
        )
    own = AuditOptions(str(folder), sample=100, output=place / "p" / "audit.parquet", **RECIPE)

    def read(models: FrozenModels, rows: AuditRows, *_: Any) -> tuple[GridPairs, Any]:
        texts = distinct_texts(rows.pairs.captions())
        features = np.ones((rows.pairs.n_images, 1, SIZE), np.float16)
        vectors = CaptionVectors(texts, np.ones((len(texts), 2), np.float32))
        return GridPairs(rows.pairs.dataset, features), vectors

    monkeypatch.setattr(FrozenModels, "read", read)
    open_files: list[str] = []
    write_info = kept_shards._write_info

    def watch(folder: Path, *facts: Any) -> None:
        lines = MAPS.read_text().splitlines() if MAPS.exists() else []
        own_lines = {line for line in lines if str(place / "p") in line}
        open_files[:] = {line for line in own_lines if line.endswith("/texts.npy")}
        write_info(folder, *facts)

    monkeypatch.setattr(kept_shards, "_write_info", watch)
    parts = sharded.ShardedAudit(own, [], "cpu", False)
    parts.keep()
    assert len(open_files) <= 2  # of the first and of the last shard
    rows = parts.sample.rows("train")
    assert len(set(rows.scan.digests.tolist())) < rows.pairs.n_images
    wanted = np.arange(rows.pairs.n_images)
    pictured = parts.with_pictures(rows, wanted).pairs.dataset["image"][:]
    reds = [int(name[0]) * 10 + int(name[2:]) // 2 for name in rows.image_ids]
    assert [picture.getpixel((0, 0))[0] for picture in pictured] == reds


def test_leaks_from_other_splits_are_told(options: AuditOptions, place: Path) -> None:
    folder = place / "splits"
    for number, first in enumerate((0, 30)):
        write_tar(folder / f"train-{number:02d}.tar", vector_members(range(first, first + 30)))
    write_tar(folder / "test-00.tar", vector_members([100, 7]))
    write_tar(folder / "test-01.tar", vector_members([41, 101], caption="  Caption 12"))
    (folder / "validation-00.tar").write_bytes(b"broken")
    own = replace(options, dataset_name=str(folder), output=place / "leaks" / "audit.parquet")
    found = audit(own)
    assert found["unchecked_troubles"].keys() <= {"other_language"}
    assert found["troubles"]["leaked_images"]["n_images"] == 2
    assert found["troubles"]["leaked_captions"]["n_pairs"] == 2
    rows = table_of(own).sort_by("pair_id").to_pylist()
    troubles = {row["image_id"]: row["troubles"] for row in rows if row["troubles"]}
    assert troubles == {
        "00007": "leaked_images,leaked_captions",
        "00012": "leaked_captions",
        "00041": "leaked_images",
    }
    line = next(line for line in found["left_out"] if "validation" in line)
    assert line.startswith("validation-00.tar of the split validation: nothing was read")


def test_a_killed_audit_goes_on_with_what_is_missing(
    summary: dict[str, Any],
    options: AuditOptions,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = replace(options, output=place / "killed" / "audit.parquet")
    own = replace(own, clean=place / "killed_clean", force_clean=True)
    done: list[str] = []
    keep, write, clean = sharded.keep_shard, ShardJudge.write_part, ShardCleaning.write

    def once(name: str, work: Any, limit: int) -> Any:
        def one(*given: Any) -> None:
            if sum(other == name for other in done) == limit:
                done.append("killed")
                raise KeyboardInterrupt
            done.append(name)
            work(*given)

        return one

    with monkeypatch.context() as patch:
        patch.setattr(sharded, "keep_shard", once("keep", keep, 2))
        with pytest.raises(KeyboardInterrupt):
            audit(own)
    with monkeypatch.context() as patch:
        patch.setattr(sharded, "keep_shard", once("keep", keep, 99))
        patch.setattr(ShardJudge, "write_part", once("write", write, 3))
        with pytest.raises(KeyboardInterrupt):
            audit(own)
        patch.setattr(ShardJudge, "write_part", once("write", write, 99))
        patch.setattr(ShardCleaning, "write", once("clean", clean, 2))
        with pytest.raises(KeyboardInterrupt):
            audit(own)
        assert not own.clean.exists()
        patch.setattr(ShardCleaning, "write", once("clean", clean, 99))
        audit(own)
    assert done.count("keep") == done.count("write") == done.count("clean") == N_SHARDS
    wrong = table_of(own)["clean_probability"].to_numpy() < 0.5
    assert len(dropped_pairs(own.clean)) == wrong.sum()
    assert len(kept_pairs(own.clean)) == (~wrong).sum()
    assert table_of(own).equals(table_of(options))
    assert not list(own.output.parent.glob("*.work"))


def test_two_processes_write_the_table_of_one(
    summary: dict[str, Any],
    options: AuditOptions,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = replace(options, batch_size=None, output=place / "again" / "audit.parquet")
    one = replace(one, clean=place / "clean_by_one", clean_weights=True, force_clean=True)
    audit(one)
    two = replace(one, output=place / "two" / "audit.parquet", clean=place / "clean_by_two")
    flags = ["--folds=2", "--rounds=1", "--epochs=1", "--text-model=none", f"--sample={N_SAMPLE}"]
    command = [sys.executable, "-m", "noisy_xmodal", "audit", two.dataset_name]
    launched = {"OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}
    other = subprocess.Popen(
        [
            *(*command, *flags, f"--output={two.output}", f"--clean={two.clean}"),
            *("--clean-weights", "--force-clean"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | launched,
    )
    own: list[Path] = []
    keep = sharded.keep_shard

    def keep_one_each(*given: Any) -> None:
        """The other process reads a shard before this one reads its second."""
        folder, limit = given[-1], time.monotonic() + 120
        while own and len(list(folder.parent.glob("[0-9]*"))) == len(own):
            assert other.poll() is None, other.communicate()
            assert time.monotonic() < limit
            time.sleep(0.05)
        keep(*given)
        own.append(folder)

    monkeypatch.setattr(sharded, "keep_shard", keep_one_each)
    found = audit(two)
    assert other.wait(120) == 0
    assert other.communicate()[0].count("wrong") == 0  # it leaves the answer to the main process
    assert 0 < len(own) < N_SHARDS
    assert found["n_pairs"] == summary["n_pairs"]
    assert table_of(two).equals(table_of(one))
    assert one.clean is not None
    assert two.clean is not None
    files = [sorted(clean.glob("*/*")) for clean in (one.clean, two.clean)]
    assert [file.name for file in files[0]] == [file.name for file in files[1]]
    assert [f.read_bytes() for f in files[0]] == [f.read_bytes() for f in files[1]]


def test_trouble_of_img2dataset_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n_images = write_folder(place / "img2dataset")
    own = AuditOptions(
        str(place / "img2dataset"), sample=100, output=place / "d" / "audit.parquet", **RECIPE
    )

    def grids(models: FrozenModels, rows: AuditRows, *_: Any) -> tuple[GridPairs, None]:
        features = np.ones((rows.pairs.n_images, 1, SIZE), np.float16)
        return GridPairs(rows.pairs.dataset, features), None

    monkeypatch.setattr(FrozenModels, "read", grids)
    parts = sharded.ShardedAudit(own, [], "cpu", False)
    parts.keep()
    lines = parts.left_out()
    for trouble in (*TROUBLE.values(), BROKEN):
        assert sum(trouble in line for line in lines) == 1, (trouble, lines)
    assert parts.sample.info["n_images"] == n_images - 1
    rows = parts.sample.rows("train")
    pictured = stored_pictures(parts.with_pictures(rows, np.arange(3)).pairs.dataset)["image"][:]
    digests = [content_digest(picture["bytes"]) for picture in pictured if picture]
    assert digests == rows.scan.digests[:3].tolist()
    (trouble,) = parts.troubles()
    assert trouble.name == "file_names"
    assert trouble.has_it.sum() == trouble.n_images == 1
    assert trouble.examples == [("000000007", FILE_NAME)]
