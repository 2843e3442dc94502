"""The shards of a dataset are listed, here and on the Hub, without reading one."""

from pathlib import Path

import datasets
import pytest

from loopback_hub import LoopbackHub
from noisy_xmodal.data import DatasetError
from noisy_xmodal.data.any_dataset.listing import local_shard, shard_files, shard_state
from tar_files import pairs, write_tar

FROM_HUB = """
api = HfApi()
api.create_repo("org/shards", repo_type="dataset")
api.upload_folder(folder_path=sys.argv[1], repo_id="org/shards", repo_type="dataset")
from noisy_xmodal.data.any_dataset.listing import local_shard, shard_files
split, shards = shard_files("org/shards")
assert split == "train", split
assert [shard.rsplit("/", 1)[1] for shard in shards] == ["0.tar", "1.tar"], shards
for shard in shards:
    copy = local_shard(shard, Path(sys.argv[2]))
    assert copy.read_bytes() == Path(sys.argv[1], copy.name).read_bytes()
"""


def test_tars_and_parquet_files_by_split(tmp_path: Path) -> None:
    for name in ("train-0.tar", "train-1.tar", "val-0.tar"):
        write_tar(tmp_path / "tars" / name, pairs([1]))
    tars = tmp_path / "tars"
    expected = [str(tars / "train-0.tar"), str(tars / "train-1.tar")]
    assert shard_files(tars) == ("train", expected)
    assert shard_files(tars, split="dev") == ("validation", [str(tars / "val-0.tar")])
    assert shard_files(f"{tars}/train-{{0..1}}.tar") == ("train", expected)
    assert shard_files(tars / "train-0.tar") == ("train", expected[:1])
    with pytest.raises(DatasetError, match="has no split 'test': choose one of train, validation"):
        shard_files(tars, split="test")
    rows = datasets.Dataset.from_dict({"caption": ["a"]})
    (tmp_path / "rows").mkdir()
    for number in range(2):
        rows.to_parquet(tmp_path / "rows" / f"test-{number}.parquet")
    split, shards = shard_files(tmp_path / "rows")
    assert (split, [Path(shard).name for shard in shards]) == (
        "test",
        ["test-0.parquet", "test-1.parquet"],
    )


def test_a_local_shard_is_read_in_place_and_known_by_its_state(tmp_path: Path) -> None:
    shard = write_tar(tmp_path / "0.tar", pairs([1]))
    assert local_shard(str(shard), tmp_path / "copies") == shard
    before = shard_state(str(shard))
    write_tar(shard, pairs([1, 2, 3, 4, 5, 6, 7, 8, 9]))
    assert shard_state(str(shard)) != before


def test_what_is_not_in_shards_is_refused(tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text("file_name,caption\na.png,a thing\n")
    with pytest.raises(DatasetError, match=r"is not in shards, such as .*captions\.csv"):
        shard_files(tmp_path)
    with pytest.raises(DatasetError, match="cannot be opened"):
        shard_files(tmp_path / "nowhere")


def test_shards_of_the_hub_are_fetched_one_by_one(tmp_path: Path) -> None:
    for number in range(2):
        write_tar(tmp_path / "d" / f"{number}.tar", pairs([number]))
    (tmp_path / "copies").mkdir()
    with LoopbackHub() as hub:
        hub.run(tmp_path / "home", FROM_HUB, tmp_path / "d", tmp_path / "copies")
        assert not hub.problems
    assert not list((tmp_path / "home").rglob("*.tar"))
