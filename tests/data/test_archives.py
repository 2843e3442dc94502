"""Archives that hold a dataset as a folder does are read as that folder."""

import stat
import zipfile
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pytest

from noisy_xmodal.data import DatasetError, PairDataset, load_pairs
from noisy_xmodal.data.any_dataset.archives import archive_folder
from tar_files import Member, picture, write_tar


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(path: Path, members: list[Member]) -> Path:
    if path.suffix != ".zip":
        return write_tar(path, members, "w:gz" if path.suffix == ".tgz" else "w")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def pairs(path: Path) -> dict[int, list[str]]:
    (rows,) = load_pairs(path).values()
    shades = [image.getpixel((3, 3))[0] for image in PairDataset(rows).images[:]]
    return dict(zip(shades, rows["captions"][:], strict=True))


PNG = picture(7)
PICTURES: list[Member] = [(f"Images/{n}.png", picture(n)) for n in range(3)]
TABLES: dict[str, list[Member]] = {
    "a table": [("captions.csv", "image,caption\n0.png,a\n1.png,b\n1.png,c\n2.png,d\n")],
    "metadata": [
        ("Images/metadata.csv", "file_name,text\n0.png,a\n1.png,b\n1.png,c\n2.png,d\n"),
    ],
    "lines": [
        (
            "rows.jsonl",
            "".join(
                f'{{"image": "Images/{n}.png", "captions": {texts}}}\n'
                for n, texts in enumerate(('["a"]', '["b", "c"]', '["d"]'))
            ),
        )
    ],
}


@pytest.mark.parametrize("below", ["", "photos/"])
@pytest.mark.parametrize("name", ["d.zip", "d.tar", "d.tgz"])
@pytest.mark.parametrize("table", TABLES)
def test_a_table_and_its_pictures_in_an_archive(
    tmp_path: Path, table: str, name: str, below: str
) -> None:
    members = [(below + inside, content) for inside, content in [*PICTURES, *TABLES[table]]]
    path = write(tmp_path / name, members)
    for _ in range(2):
        assert pairs(path) == {0: ["a"], 1: ["b", "c"], 2: ["d"]}


@pytest.mark.parametrize("name", ["images.zip", "images.tar", "images.tgz"])
@pytest.mark.parametrize("give", ["", "captions.csv"])
def test_an_archive_of_pictures_beside_their_table(tmp_path: Path, name: str, give: str) -> None:
    (tmp_path / "d").mkdir()
    ((table, text),) = TABLES["a table"]
    (tmp_path / "d" / table).write_text(str(text))
    write(tmp_path / "d" / name, PICTURES)
    assert pairs(tmp_path / "d" / give) == {0: ["a"], 1: ["b", "c"], 2: ["d"]}
    write(tmp_path / "d" / name, PICTURES[1:])
    with pytest.raises(DatasetError, match=r"Row 0 of .*captions\.csv .*'0\.png'"):
        load_pairs(tmp_path / "d" / give)


@pytest.mark.parametrize("name", ["d.zip", "d.tar"])
def test_a_text_beside_each_picture_in_an_archive(tmp_path: Path, name: str) -> None:
    texts: list[Member] = [(f"Images/{n}.txt", f"shade {n}") for n in range(3)]
    expected = {n: [f"shade {n}"] for n in range(3)}
    assert pairs(write(tmp_path / name, [*PICTURES, *texts])) == expected


def test_an_archive_writes_below_its_folder_and_nowhere_else(tmp_path: Path, cache: Path) -> None:
    members: list[Member] = [
        ("../../out.png", b"1"),
        ("/abs/out.png", b"2"),
        ("a\\..\\b.png", b"3"),
        ("._side.png", b"4"),
        ("__MACOSX/c.png", b"5"),
    ]
    expected = {"out.png", "abs/out.png", "a/b.png"}
    for name, more in (("d.zip", []), ("d.tar", [("l", "~> /etc/passwd"), ("h", "-> out.png")])):
        folder = archive_folder(write(tmp_path / name, [*members, *more]))
        files = {str(file.relative_to(folder)) for file in folder.rglob("*") if not file.is_dir()}
        assert files == expected
        assert cache in folder.parents
    assert not (tmp_path / "out.png").exists()
    assert {file.name for file in tmp_path.iterdir()} == {"cache", "d.zip", "d.tar"}


def test_a_symbolic_link_of_a_zip_is_a_plain_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        link = zipfile.ZipInfo("a.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("b.png", "b")
    assert not (archive_folder(tmp_path / "d.zip") / "a.png").is_symlink()


@pytest.mark.parametrize("name", ["d.zip", "d.tar"])
@pytest.mark.parametrize("share", [0, 0.02, 0.3, 0.35])
def test_a_broken_archive_is_refused_in_one_line(tmp_path: Path, name: str, share: float) -> None:
    path = write(tmp_path / name, [*PICTURES, *TABLES["a table"]])
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DatasetError, match=name) as refused:
        load_pairs(path)
    assert "\n" not in str(refused.value)


def test_a_member_with_a_wrong_checksum(tmp_path: Path) -> None:
    path = write(tmp_path / "d.zip", [*PICTURES, *TABLES["a table"]])
    data = bytearray(path.read_bytes())
    at = data.index(b"0.png") + 20
    data[at] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(DatasetError, match=r"d\.zip cannot be unpacked .*0\.png"):
        load_pairs(path)


@pytest.mark.parametrize("name", ["d.zip", "d.tar"])
@pytest.mark.parametrize(
    "members", [[("a", "1"), ("a/b.png", PNG)], [(f"{'x' * 300}.png", PNG)]], ids=["both", "long"]
)
def test_names_that_the_disk_does_not_take(
    tmp_path: Path, name: str, members: list[Member]
) -> None:
    with pytest.raises(DatasetError, match=rf"{name} cannot be unpacked \(.*Get it again"):
        archive_folder(write(tmp_path / name, members))


def test_bytes_that_changed_on_the_way(tmp_path: Path) -> None:
    """An archive is read or refused in one line, whatever is in it."""
    random = np.random.default_rng(0)
    for name in ("d.zip", "d.tar", "d.tgz"):
        whole = write(tmp_path / name, [*PICTURES, *TABLES["a table"]]).read_bytes()
        for at in random.integers(0, len(whole), 40):
            changed = bytearray(whole)
            changed[at : at + random.integers(0, 300)] = random.bytes(random.integers(1, 30))
            (tmp_path / name).write_bytes(changed)
            try:
                archive_folder(tmp_path / name)
            except DatasetError as error:
                refused = str(error)
            else:
                continue
            assert name in refused
            assert "\n" not in refused


def test_an_archive_that_is_larger_than_the_free_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "d.zip", PICTURES)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(DatasetError, match=r"d\.zip contains .* bytes, but only 10 are free"):
        load_pairs(path)


def test_a_changed_archive_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "d.zip", [*PICTURES, *TABLES["a table"]])
    assert len(pairs(path)) == 3
    write(path, [*PICTURES[:1], ("captions.csv", "image,caption\n0.png,new\n")])
    assert pairs(path) == {0: ["new"]}
