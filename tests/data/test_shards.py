"""Tars of the WebDataset layout are read whole: every pair is there, or named and counted."""

import io
import json
from pathlib import Path

import datasets
import numpy as np
import pytest

from noisy_xmodal.data import DatasetError, PairDataset, load_pairs, validate_pairs
from noisy_xmodal.data.any_dataset.columns import ColumnOptions
from noisy_xmodal.data.any_dataset.shards import read_shards
from tar_files import Member, pairs, picture, write_tar

Found = dict[int, list[str]]
PNG = picture(7)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def load(path: Path | str, **options: str) -> tuple[dict[str, Found], dict[str, list[str]]]:
    """Captions by shade of every split, and the lines about what was left out."""
    left_out: dict[str, list[str]] = {}
    found = {}
    for split, rows in load_pairs(path, left_out=left_out, **options).items():
        validate_pairs(rows, split)
        names = rows["image_id"][:]
        assert len(set(names)) == len(names)
        shades = [image.getpixel((3, 3))[0] for image in PairDataset(rows).images[:]]
        found[split] = dict(zip(shades, rows["captions"][:], strict=True))
    return found, left_out


def ids(path: Path | str) -> list[str]:
    return list(load_pairs(path, left_out={})["train"]["image_id"])


def shades_of(*numbers: int) -> dict[str, Found]:
    return {"train": {number: [f"shade {number}"] for number in numbers}}


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "bmp", "gif", "tiff"])
def test_endings_may_differ_from_shard_to_shard(tmp_path: Path, kind: str) -> None:
    write_tar(tmp_path / "d" / "0.tar", pairs(range(6)))
    write_tar(tmp_path / "d" / "1.tar", pairs(range(6, 9), kind.upper(), kind))
    write_tar(tmp_path / "d" / "2.tar", [("a.caption", "shade 9"), ("a.png", picture(9))])
    assert load(tmp_path / "d") == (shades_of(*range(10)), {"train": []})


ONE = [("a.png", PNG), ("a.txt", "one")]
OTHER = picture(1)
#: Members, the captions of the picture of shade 7, and how many pairs there are.
SAMPLES: dict[str, tuple[list[Member], list[str], int]] = {
    "members apart": (
        [("a.txt", "one"), ("b.txt", "two"), ("b.png", OTHER), ("a.png", PNG)],
        ["one"],
        2,
    ),
    "folders": (
        [("./x/a.png", PNG), ("x/", ""), ("x/a.txt", "one"), ("y/a.txt", "2"), ("y/a.png", OTHER)],
        ["one"],
        2,
    ),
    "upper case": ([("a.PNG", PNG), ("a.TXT", "one")], ["one"], 1),
    "a byte order mark": ([("a.png", PNG), ("a.txt", b"\xef\xbb\xbfone")], ["one"], 1),
    "json": ([("a.png", PNG), ("a.json", '{"caption": "one", "url": "u"}')], ["one"], 1),
    "json list": ([("a.png", PNG), ("a.json", '["one", "two", ""]')], ["one", "two"], 1),
    "json objects": (
        [("a.png", PNG), ("a.json", '{"captions": [{"raw": "one"}, {"raw": "two"}]}')],
        ["one", "two"],
        1,
    ),
    "text over json": ([("a.json", '{"caption": "two"}'), *ONE], ["one"], 1),
    "json where the text is empty": (
        [("a.txt", " \n"), ("a.png", PNG), ("a.json", '{"text": "one"}')],
        ["one"],
        1,
    ),
    "broken json beside a text": ([("a.json", "{"), *ONE], ["one"], 1),
    "half a character elsewhere": (
        [("a.png", PNG), ("a.json", '{"caption": "one", "x": "\\ud83d"}')],
        ["one"],
        1,
    ),
    "several texts": (
        [("a.10.txt", "three"), ("a.2.txt", "two"), ("a.png", PNG), ("a.0.txt", "one")],
        ["one", "two", "three"],
        1,
    ),
    "a list as text": ([("a.png", PNG), ("a.txt", '["one", "two"]')], ["one", "two"], 1),
    "a bracket": ([("a.png", PNG), ("a.txt", "[one]")], ["[one]"], 1),
    "dots in names": (
        [("a.1.png", PNG), ("a.1.txt", "one"), ("a.2.png", OTHER), ("a.2.txt", "two")],
        ["one"],
        2,
    ),
    "a mask": ([("a.mask.png", OTHER), *ONE], ["one"], 1),
    "two formats": ([*ONE, ("a.webp", picture(1, "webp"))], ["one"], 1),
    "a hard link": (
        [("b.png", PNG), ("b.txt", "one"), ("x/a.png", "-> b.png"), ("x/a.txt", "one")],
        ["one"],
        1,
    ),
    "a soft link": (
        [("p/b.png", PNG), ("p/b.txt", "one"), ("x/a.png", "~> ../p/b.png"), ("x/a.txt", "two")],
        ["one", "two"],
        1,
    ),
    "replaced later": ([("a.png", OTHER), ("a.txt", "one"), ("a.png", PNG)], ["one"], 1),
    "joined shards": ([*ONE, ("a.png", OTHER), ("a.txt", "two")], ["one"], 2),
    "the same twice": ([*ONE, *ONE], ["one"], 1),
    "side files": (
        [("._a.png", "x"), ("__MACOSX/a.png", "x"), *ONE, ("__index__", "x"), ("a.npy", "x")],
        ["one"],
        1,
    ),
    "hostile names": (
        [("../../a.png", PNG), ("../../a.txt", "one"), ("/etc/b.png", OTHER), ("/etc/b.txt", "2")],
        ["one"],
        2,
    ),
    "two forms of a letter": ([("e\u0301.png", PNG), ("\xe9.txt", "one")], ["one"], 1),
    "bytes that are no text": ([("\udce9.png", PNG), ("\udce9.txt", "one")], ["one"], 1),
    "long names": (
        [(f"{'x' * 200}/a.png", PNG), (f"{'x' * 200}/a.txt", "one")],
        ["one"],
        1,
    ),
}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.filterwarnings("ignore:Split 'train' of")
def test_samples(tmp_path: Path, name: str) -> None:
    members, expected, n = SAMPLES[name]
    found, _ = load(write_tar(tmp_path / "0.tar", members))
    assert found["train"][7] == expected
    assert len(found["train"]) == n
    assert len(load_pairs(tmp_path / "0.tar")["train"]) == n


@pytest.mark.parametrize(
    ("members", "line"),
    [
        ([("b.png", OTHER)], "1 sample without a caption: b in 0.tar"),
        ([("b.txt", "two")], "1 sample without a picture: b in 0.tar"),
        ([("b.png", OTHER), ("b.txt", " ")], "1 sample with an empty caption: b in"),
        ([("b.png", OTHER), ("b.txt", "")], "1 sample with an empty caption: b in"),
        ([("b.png", OTHER), ("b.txt", b"caf\xe9")], "1 sample with a caption that is not UTF-8: b"),
        ([("b.png", OTHER), ("b.json", "{")], "1 sample with a .json that cannot be read: b"),
        ([("b.png", OTHER), ("b.json", '{"caption": null}')], "1 sample without a caption: b"),
        (
            [("b.png", OTHER), ("b.json", '{"caption": "\\ud83d"}')],
            "an empty caption: b",
        ),
        ([("b.png", "~> c.png"), ("b.txt", "two")], "1 sample without a picture: b"),
        (
            [(f"{n}.png", OTHER) for n in range(5)],
            "5 samples without a caption: 0 in 0.tar, 1 in 0.tar, 2 in 0.tar and 2 more",
        ),
    ],
)
def test_lost_pairs_are_named_or_refused(tmp_path: Path, members: list[Member], line: str) -> None:
    path = write_tar(tmp_path / "0.tar", [*ONE, *members])
    found, left_out = load(path)
    assert found == {"train": {7: ["one"]}}
    assert line in " | ".join(left_out["train"])
    with pytest.raises(DatasetError, match=r"0\.tar is incomplete: .*left_out=") as refused:
        load_pairs(path)
    assert line in str(refused.value)


@pytest.mark.parametrize(
    ("members", "line"),
    [
        (
            [("b.json", '{"status": "failed_to_download", "caption": "two"}')],
            "1 picture that img2dataset could not download: b in 0.tar",
        ),
        ([("about/readme.txt", "Pairs.")], "1 member of no sample: about/readme in 0.tar"),
        ([("__index__.json", "{}")], "1 member of no sample: __index__ in 0.tar"),
        ([("a.npy", b"1")], "1 member of an unsupported kind: a.npy in 0.tar"),
        ([("a.left.png", OTHER)], "1 member after another picture of the sample: a in 0.tar"),
        ([("a.txt", "one")], "1 member replaced by a later one of the same name"),
        ([("c.png", "-> none.png")], "1 member with a link to no member: c.png in 0.tar"),
    ],
)
def test_what_is_no_pair_is_said(tmp_path: Path, members: list[Member], line: str) -> None:
    path = write_tar(tmp_path / "0.tar", [*ONE, *members])
    found, left_out = load(path)
    assert found == {"train": {7: ["one"]}}
    assert [line in said for said in left_out["train"]] == [True]
    with pytest.warns(UserWarning, match="Split 'train' of .*0.tar: 1 "):
        assert len(load_pairs(path)["train"]) == 1


def test_keys_that_begin_again_get_the_name_of_their_shard(tmp_path: Path) -> None:
    for shard in range(2):
        write_tar(
            tmp_path / "d" / f"s{shard}.tar",
            [
                member
                for key in range(2)
                for member in (
                    (f"{key}.png", picture(10 * shard + key)),
                    (f"{key}.txt", f"shade {10 * shard + key}"),
                )
            ],
        )
    found, _ = load(tmp_path / "d")
    assert found == shades_of(0, 1, 10, 11)
    assert ids(tmp_path / "d") == ["s0/0", "s0/1", "s1/0", "s1/1"]
    assert ids(tmp_path / "d" / "s0.tar") == ["0", "1"]


def test_a_picture_that_several_keys_have_is_one_row(tmp_path: Path) -> None:
    members = [("0.png", PNG), ("0.txt", "one"), ("1.png", PNG), ("1.txt", "two")]
    found, _ = load(write_tar(tmp_path / "0.tar", members))
    assert found == {"train": {7: ["one", "two"]}}


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar"])
def test_compressed_tars(tmp_path: Path, suffix: str) -> None:
    mode = {"bz2": "w:bz2", ".xz": "w:xz"}.get(suffix[-3:], "w:gz")
    write_tar(tmp_path / "d" / f"val-0{suffix}", pairs([3, 4]), mode)
    expected = {"validation": shades_of(3, 4)["train"]}
    assert load(tmp_path / "d") == (expected, {"validation": []})
    found, _ = load(tmp_path / "d" / f"val-0{suffix}")
    assert list(found.values()) == list(expected.values())


@pytest.mark.parametrize("keep", [2049, 2560, 3072, 3583, 3584, 3840, 4096, 5000, 6144])
def test_a_tar_that_was_cut_off_is_read_as_far_as_it_is_whole(tmp_path: Path, keep: int) -> None:
    path = write_tar(tmp_path / "0.tar", pairs(range(3)))
    path.write_bytes(path.read_bytes()[:keep])
    found, left_out = load(path)
    n = (keep + 512 - len("shade 0")) // 2048  # a pair takes 2,048 bytes, of which the last are 0
    assert found == shades_of(*range(n))
    assert left_out["train"][0].endswith(f" complete members: {n:,} pairs were read from it")
    with pytest.raises(DatasetError, match=r"0.tar is (truncated|without the end mark)"):
        load_pairs(path)


@pytest.mark.parametrize("share", [0.7, 0.99])
@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
def test_a_compressed_tar_that_was_cut_off(tmp_path: Path, mode: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 3000), np.uint8)
    members = [(f"{n:03d}.txt", f"shade {n}") for n in range(200)]
    members += [(f"{n:03d}.bmp", picture(n, "bmp") + noise[n].tobytes()) for n in range(200)]
    path = write_tar(tmp_path / "0.tar.gz", members, mode)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    found, left_out = load(path)
    n = len(found["train"])
    assert found == shades_of(*range(n))
    assert share - 0.4 < n / 200 < share + 0.1
    assert f"{n:,} pairs were read from it" in left_out["train"][0]
    assert f"{200 - n} samples without a picture: {n:03d} in" in left_out["train"][1]


def test_bytes_that_changed_on_the_way(tmp_path: Path) -> None:
    """A tar is read or refused in one line, whatever is in it."""
    random = np.random.default_rng(0)
    whole = write_tar(tmp_path / "0.tar", [*pairs(range(3)), ("x" * 150 + "/\xe9.png", PNG)])
    data = whole.read_bytes()[: 10 * 1024]
    for number in range(40):
        changed = bytearray(data)
        header = 512 * random.integers(0, 20)
        at = header + random.choice([0, 100, 124, 148, 156, 157, 257, 345])
        changed[at : at + random.integers(0, 20)] = random.bytes(random.integers(1, 20))
        (tmp_path / f"{number}.tar").write_bytes(changed)
        try:
            opened = read_shards([tmp_path / f"{number}.tar"], ColumnOptions(), "train")
        except DatasetError as error:
            refused = str(error)
        else:
            assert len(opened.dataset) <= 4
            continue
        assert f"{number}.tar" in refused
        assert "\n" not in refused


def test_a_damaged_header_ends_a_tar(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", pairs(range(3)))
    data = bytearray(path.read_bytes())
    data[4 * 1024 : 4 * 1024 + 512] = b"x" * 512
    path.write_bytes(bytes(data))
    found, left_out = load(path)
    assert found == shades_of(0, 1)
    assert left_out["train"] == [
        "0.tar is damaged (6,144 bytes were not read), after 4 complete members: 2 pairs were read "
        "from it"
    ]


def test_tars_that_were_joined_end_to_end(tmp_path: Path) -> None:
    parts = [write_tar(tmp_path / f"{n}.tar", pairs([n])).read_bytes() for n in range(3)]
    (tmp_path / "all.tar").write_bytes(b"".join(parts))
    assert load(tmp_path / "all.tar") == (shades_of(0, 1, 2), {"train": []})
    (tmp_path / "all.tar").write_bytes(b"".join(parts) + b"<html>" * 200)
    found, left_out = load(tmp_path / "all.tar")
    assert found == shades_of(0, 1, 2)
    assert (
        "followed by data that is not a tar (1,200 bytes were not read), after 6 complete members"
        in left_out["train"][0]
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>404</html>", "is not a tar file: it starts with b'<html>404"),
        (b"<html>" * 2000, "is not a tar file: it starts with b'<html>"),
        (b"", "is not a tar file: it is empty"),
        (bytes(10240), "no picture has a caption .*there are none"),
        (b"\x1f\x8b" + b"x" * 100, "is truncated or damaged in its compression"),
        (b"BZh9" + b"x" * 100, "is truncated or damaged in its compression"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "starts with b'version"),
    ],
)
def test_what_is_no_tar_is_refused_in_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "0.tar").write_bytes(content)
    for left_out in (None, {}):
        with pytest.raises(DatasetError, match=message) as refused:
            load_pairs(tmp_path / "0.tar", left_out=left_out)
        assert str(tmp_path / "0.tar") in str(refused.value)
        assert "\n" not in str(refused.value)


def img2dataset(folder: Path, shades: dict[str, list[int]], **stats: int) -> Path:
    for shard, numbers in shades.items():
        rows = [
            {"url": "http://a/b", "caption": f"shade {n}", "key": f"{n:09d}", "status": "success"}
            for n in numbers
        ]
        members: list[Member] = []
        for n, row in zip(numbers, rows, strict=True):
            members += [(f"{n:09d}.jpg", picture(n, "jpeg")), (f"{n:09d}.txt", f"shade {n}")]
            members += [(f"{n:09d}.json", json.dumps(row))]
        write_tar(folder / f"{shard}.tar", members)
        failed = {**rows[0], "status": "failed_to_download", "key": "99"}
        datasets.Dataset.from_list([*rows, failed]).to_parquet(folder / f"{shard}.parquet")
        (folder / f"{shard}_stats.json").write_text(json.dumps(stats))
    return folder


def test_the_folder_of_img2dataset(tmp_path: Path) -> None:
    shards = {"00000": [1, 2], "00001": [3, 4]}
    folder = img2dataset(tmp_path / "d", shards, count=3, successes=2)
    found, left_out = load(folder)
    assert found == shades_of(1, 2, 3, 4)
    failed = "2 rows that img2dataset could not download (failed_to_download)"
    failed += ": 99 in 00000.parquet, 99 in 00001.parquet"
    assert left_out == {"train": [failed]}
    folder = img2dataset(tmp_path / "d", shards, count=3, successes=3)
    assert load(folder)[1]["train"] == [
        *(f"0000{n}_stats.json reports 3 successes, but 0000{n}.tar has 2 pairs" for n in range(2)),
        failed,
    ]


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train-0.tar", "val-0.tar", "val-1.tar"], ["train", "validation"]),
        (["train/0.tar", "test/0.tar", "test/1.tar"], ["train", "test"]),
        (["cc3m-train-00.tar", "cc3m-validation-00.tar", "more.tar"], ["train", "validation"]),
        (["a/0.tar", "b/0.tar", "latest.tar"], ["train"]),
    ],
)
def test_shards_belong_to_splits_by_their_names(
    tmp_path: Path, names: list[str], splits: list[str]
) -> None:
    for shade, name in enumerate(names):
        write_tar(tmp_path / "d" / name, pairs([shade]))
    found, _ = load(tmp_path / "d")
    assert list(found) == splits
    assert sum(map(len, found.values())) == len(names)


@pytest.mark.parametrize(
    ("pattern", "shades"),
    [
        ("s-{008..010}.tar", [8, 9, 10]),
        ("s-{008,010}.tar", [8, 10]),
        ("s-0*.tar", [8, 9, 10, 11]),
        ("s-0{0,1}[08].tar", [8, 10]),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, shades: list[int]) -> None:
    for shade in range(8, 12):
        write_tar(tmp_path / f"s-{shade:03d}.tar", pairs([shade]))
    assert load(str(tmp_path / pattern)) == (shades_of(*shades), {"train": []})


def test_a_pattern_whose_files_are_not_there(tmp_path: Path) -> None:
    write_tar(tmp_path / "s-0.tar", pairs([0]))
    with pytest.raises(DatasetError, match=r"3 of its files do not exist: .*s-1.tar"):
        load_pairs(tmp_path / "s-{0..3}.tar")
    with pytest.raises(DatasetError, match=r"do not exist: .*t-\*.tar"):
        load_pairs(tmp_path / "t-*.tar")
    with pytest.raises(DatasetError, match=r"range \{3\.\.0\} .*smaller number first"):
        load_pairs(tmp_path / "s-{3..0}.tar")


def test_members_and_fields_by_name(tmp_path: Path) -> None:
    fields = json.dumps({"caption": "alt", "recaption": ["one", "two"], "uid": "x1"})
    members = [("a.png", OTHER), ("a.left.png", PNG), ("a.txt", "text"), ("a.json", fields)]
    path = write_tar(tmp_path / "0.tar", members)
    options = {"image_column": "left.png", "caption_column": "recaption", "id_column": "uid"}
    assert load(path, **options)[0] == {"train": {7: ["one", "two"]}}
    assert load_pairs(path, **options)["train"]["image_id"][:] == ["x1"]
    half = write_tar(tmp_path / "1.tar", [*ONE, ("a.json", '{"uid": "\\ud83d"}')])
    with pytest.raises(DatasetError, match=r"Row 0 .*no name in column 'uid'"):
        load_pairs(half, id_column="uid")
    assert load(path, caption_column="json")[0] == {"train": {1: ["alt"]}}
    assert load(path, image_column="png", caption_column="txt")[0] == {"train": {1: ["text"]}}
    for option in options:
        with pytest.raises(DatasetError, match=rf"'none'.*\.png \(1\).*'recaption'.*{option}="):
            load_pairs(path, **{option: "none"})


def test_pictures_with_classes(tmp_path: Path) -> None:
    members = [
        (f"{n}.{end}", c) for n in range(3) for end, c in (("png", picture(n)), ("cls", str(n)))
    ]
    path = write_tar(tmp_path / "0.tar", members)
    with pytest.raises(DatasetError, match="No column of split 'train' is recognized as the capt"):
        load_pairs(path)
    path = write_tar(tmp_path / "1.tar", [*members, ("0.txt", "shade 0"), ("1.txt", "shade 1")])
    found, left_out = load(path)
    assert found == shades_of(0, 1)
    assert left_out["train"] == ["1 samples with a class and no caption"]


def test_tars_that_a_card_lists(tmp_path: Path) -> None:
    """As on the Hub: `datasets` says which files there are, and they are read here."""
    write_tar(tmp_path / "d" / "a" / "0.tar", pairs(range(6)))
    write_tar(tmp_path / "d" / "a" / "1.tar", [*pairs([6, 7], "webp", "webp"), ("8.txt", "eight")])
    write_tar(tmp_path / "d" / "b" / "0.tar", pairs([9]))
    configs = "".join(
        f"- config_name: {name}\n  data_files: [{{split: {split}, path: {name}/*.tar}}]\n"
        for name, split in (("a", "train"), ("b", "test"))
    )
    (tmp_path / "d" / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    line = "1 sample without a picture: 8 in 1.tar"
    assert load(tmp_path / "d", config_name="a") == (shades_of(*range(8)), {"train": [line]})
    assert load(tmp_path / "d", config_name="b")[0] == {"test": {9: ["shade 9"]}}
    with pytest.raises(DatasetError, match=r"choose one of \['a', 'b'\]"):
        load_pairs(tmp_path / "d")
    write_tar(tmp_path / "d" / "b" / "0.tar", [("0.png", PNG)])
    with pytest.raises(DatasetError, match=r"0\.tar: no picture has a caption"):
        load_pairs(tmp_path / "d", "b")


def test_rows_follow_the_state_of_the_shards(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", pairs([1]))
    first = load_pairs(path)["train"]
    assert load_pairs(path)["train"]._fingerprint == first._fingerprint
    write_tar(path, pairs([1, 2]))
    assert load(path)[0] == shades_of(1, 2)
    cache = Path(datasets.config.HF_DATASETS_CACHE, "noisy_xmodal_shards")
    assert not list(cache.glob(".*.partial"))
    assert first["captions"][:] == [["shade 1"]]


def test_a_shard_that_is_no_tar_is_left_out_or_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "d" / "0.tar", pairs([1]))
    (tmp_path / "d" / "1.tar").write_text("version https://git-lfs.github.com/spec/v1")
    found, left_out = load(tmp_path / "d")
    assert found == shades_of(1)
    assert left_out["train"] == [
        "1.tar is not a tar file: it starts with b'version https://git-lfs.'"
    ]
    with pytest.raises(DatasetError, match=r"1\.tar is not a tar file"):
        load_pairs(tmp_path / "d")


def test_a_read_that_fails_leaves_nothing(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", pairs([1]))
    with pytest.raises(DatasetError, match="no member ends in 'webp'"):
        load_pairs(tmp_path / "0.tar", image_column="webp")
    assert not list(Path(datasets.config.HF_DATASETS_CACHE, "noisy_xmodal_shards").iterdir())


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def test_arrays_stand_for_pictures(tmp_path: Path) -> None:
    arrays = [np.arange(6, dtype=np.float16).reshape(2, 3), np.ones(3), np.array([[1, 2, 3]])]
    members = [(f"{n}.npy", npy(array)) for n, array in enumerate(arrays)]
    members += [(f"{n}.txt", f"shade {n}") for n in range(len(arrays))]
    rows = load_pairs(write_tar(tmp_path / "0.tar", members))["train"]
    assert rows["captions"][:] == [["shade 0"], ["shade 1"], ["shade 2"]]
    for expected, regions in zip(arrays, PairDataset(rows).images[:], strict=True):
        np.testing.assert_array_equal(np.atleast_2d(expected), regions)
        assert regions.dtype == np.float32


@pytest.mark.parametrize(
    "content",
    [
        npy(np.array([None, {}], dtype=object)),
        npy(np.array([1.0, np.nan])),
        npy(np.array(["a", "b"])),
        npy(np.zeros((2, 2, 2))),
        npy(np.float32(3)),
        npy(np.asfortranarray(np.ones((2, 2)))),
        npy(np.zeros((0, 2))),
        npy(np.ones(2))[:-3],
        npy(np.ones(2))[:40],
        b"\x93NUMPY\x02\x00",
        b"",
    ],
)
def test_arrays_that_are_none_are_named(tmp_path: Path, content: bytes) -> None:
    members: list[Member] = [("0.npy", npy(np.ones(2))), ("0.txt", "one"), ("1.txt", "two")]
    left_out: dict[str, list[str]] = {}
    shard = write_tar(tmp_path / "0.tar", [*members, ("1.npy", content)])
    assert len(load_pairs(shard, left_out=left_out)["train"]) == 1
    assert left_out["train"] == [
        "1 sample with an .npy that is not a vector or matrix of finite numbers: 1 in 0.tar"
    ]


def test_arrays_of_another_size_and_pictures_among_them_are_named(tmp_path: Path) -> None:
    members: list[Member] = [("0.npy", npy(np.ones(2))), ("1.npy", npy(np.ones(3)))]
    members += [("2.png", PNG), *((f"{n}.txt", "text") for n in range(3))]
    left_out: dict[str, list[str]] = {}
    rows = load_pairs(write_tar(tmp_path / "0.tar", members), left_out=left_out)["train"]
    assert len(rows) == 1
    assert left_out["train"] == [
        "2 samples with a picture or array of another kind or size than the first sample: "
        "1 in 0.tar, 2 in 0.tar"
    ]
