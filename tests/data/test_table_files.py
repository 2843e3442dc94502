"""Lines, quotes, headers, encodings and values of tables."""

import json
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from noisy_xmodal.data import DatasetError, PairDataset, load_pairs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures."""
    for name in ("a.jpg", "b.jpg"):
        PIL.Image.new("RGB", (8, 8)).save(tmp_path / name)
    return tmp_path


def load(path: Path, **given: Any) -> tuple[dict[str, list[str]], list[str]]:
    left_out: dict[str, list[str]] = {}
    rows = load_pairs(path, left_out=left_out, **given)["train"]
    return dict(zip(rows["image_id"], rows["captions"], strict=True)), left_out["train"]


def put(folder: Path, name: str, content: str | bytes) -> Path:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


BOTH = {"a.jpg": ["one"], "b.jpg": ["two"]}


@pytest.mark.parametrize(
    ("name", "text", "line", "rule"),
    [
        ("r.csv", "image| n| text\na.jpg| 0| one\nb.jpg| 4   x\nb.jpg|0|two\n", 3, "a bar"),
        ("r.csv", "image| n| text\na.jpg| 0| one\nb.jpg|1|x|y\nb.jpg|0|two\n", 3, "a bar"),
        ("r.csv", "image,text\nb.jpg,x, y\na.jpg,one\nb.jpg,two\n", 2, "in double quotes"),
        ("r.csv", 'image,text\na.jpg,one\nb.jpg,"x" y\nb.jpg,two\n', 3, 'caption: "a ""black'),
        ("r.csv", "image;text\na.jpg;one\nb.jpg\nb.jpg;two\n", 3, "in double quotes"),
        ("r.tsv", "image\ttext\na.jpg\tone\nb.jpg\tx\ty\nb.jpg\ttwo\n", 3, "a tab"),
        (
            "r.jsonl",
            '{"image": "a.jpg", "text": "one"}\n{"i\n{"image": "b.jpg", "text": "two"}',
            2,
            "",
        ),
        (
            "r.jsonl",
            '{"image": "a.jpg", "text": "one"}\n[]\n{"image": "b.jpg", "text": "two"}',
            2,
            "",
        ),
    ],
)
def test_a_broken_line_is_named_and_left_out_if_asked(
    folder: Path, name: str, text: str, line: int, rule: str
) -> None:
    file = put(folder, name, text)
    with pytest.raises(DatasetError, match=rf"Line {line} of .*{name}.*left_out=\{{\}}") as refused:
        load_pairs(file)
    assert rule in str(refused.value)
    found, left_out = load(file)
    assert found == BOTH
    assert len(left_out) == 1
    assert left_out[0].startswith(f"Line {line} of {file} ")


def test_many_broken_lines_are_counted(folder: Path) -> None:
    file = put(folder, "r.csv", "image,text\na.jpg,one\nb.jpg,two\n" + "x\n" * 50)
    with pytest.raises(DatasetError, match=r"Line 4 .*Line 6 .*and 47 more") as refused:
        load_pairs(file)
    assert len(str(refused.value)) < 1500
    assert len(load(file)[1]) == 50


def test_a_quotation_mark_that_never_closes_takes_no_lines_silently(folder: Path) -> None:
    file = put(folder, "r.csv", 'image,text\na.jpg,one\nb.jpg,"two\nb.jpg,three\n')
    found, left_out = load(file)
    assert found == {"a.jpg": ["one"]}
    assert left_out[0].startswith(f"The row in lines 3 to 4 of {file} ")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('"stop" sign', '"stop" sign'),
        ('"a ""black"" dog"', 'a "black" dog'),
        ('a 5" disc', 'a 5" disc'),
        ('"', '"'),
        ('"two\nlines"', "two\nlines"),
        ('"a\ttab"', "a\ttab"),
    ],
)
def test_quotation_marks_between_tabs(folder: Path, cell: str, expected: str) -> None:
    file = put(folder, "r.tsv", f"image\ttext\na.jpg\t{cell}\nb.jpg\ttwo\n")
    assert load(file)[0] == {"a.jpg": [expected], "b.jpg": ["two"]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.jpg,one\nb.jpg,two\n", BOTH),
        ("a.jpg#0\tone\na.jpg#1\tmore, of it\nb.jpg#0\ttwo\n", None),
        ("0|a.jpg|one dog\n1|b.jpg|two dogs\n", {"a.jpg": ["one dog"], "b.jpg": ["two dogs"]}),
        ("one, two and three\ta.jpg\nfour\tb.jpg\n", None),
        ("a,one man walks\nb,two\n", {"a": ["one man walks"], "b": ["two"]}),
        ('"a.jpg","one, or two"\n"b.jpg","two"\n', {"a.jpg": ["one, or two"], "b.jpg": ["two"]}),
    ],
)
@pytest.mark.parametrize("give", ["file", "folder"])
def test_tables_without_a_header(
    folder: Path, text: str, expected: dict[str, list[str]] | None, give: str
) -> None:
    file = put(folder, "own.txt", text)
    found, left_out = load(file if give == "file" else folder)
    assert any("has no header; its columns are read as" in line for line in left_out)
    if expected is None:
        assert list(found) == ["a.jpg", "b.jpg"]
        assert sum(map(len, found.values())) == len(text.splitlines())
    else:
        assert found == expected


def test_columns_of_a_table_without_a_header_can_be_named(folder: Path) -> None:
    file = put(folder, "own.csv", "a.jpg,one,7\nb.jpg,two,8\n")
    with pytest.raises(DatasetError, match=r"'column_2'.*caption_column=NAME"):
        load_pairs(file)
    assert load(file, caption_column="column_2")[0] == BOTH
    assert load(file, image_column="a.jpg", caption_column="one")[0] == BOTH


ROWS = "image,text\r\na.jpg,one\r\nb.jpg,caf\u00e9\r\n"
CAFE = {"a.jpg": ["one"], "b.jpg": ["caf\u00e9"]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(folder: Path, encoding: str, end: str) -> None:
    put(folder, "own.csv", ROWS.replace("\r\n", end).encode(encoding))
    assert load(folder)[0] == CAFE


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ROWS.encode("latin-1"), r"Line 3 of .*own.csv is not UTF-8.*xe9.*iconv"),
        (ROWS.encode("utf-16-le"), r"own.csv is not text, or UTF-16 without a byte order mark"),
        (b"\xff\xfe" + ROWS.encode("utf-16-le") + b"\x00", r"own.csv is not UTF-16"),
        (b"", r"own.csv is empty"),
        (b"\n \n", r"own.csv is empty"),
        (b"image,text\n", r"own.csv has no rows"),
        (b"image,text\nx\ny\n", r"own.csv has no rows: Line 2 of"),
        (b"image,text,text\na.jpg,one,two\n", r"names a column twice"),
    ],
)
def test_files_that_are_refused(folder: Path, content: bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        load_pairs(put(folder, "own.csv", content))


def test_columns_without_a_name_are_left_out(folder: Path) -> None:
    file = put(folder, "own.csv", "image,text,,\na.jpg,one,,\nb.jpg,two,,\n,,,\n")
    assert load(file)[0] == BOTH


def write_both(folder: Path, name: str, values: list[Any]) -> tuple[Path, Path]:
    """The same values as CSV, as programs write them there, and as JSON Lines."""
    rows = [{"image": f"{n}.jpg", "text": n} | {name: v} for n, v in zip("ab", values, strict=True)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    cells = []
    for row in rows:
        plain = [
            "" if v is None or v != v else v if isinstance(v, str) else str(v) for v in row.values()
        ]
        cells.append(",".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in plain))
    header = ",".join(rows[0])
    return put(folder, "own.csv", "\n".join([header, *cells])), put(folder, "own.jsonl", lines)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *(
            ("is_noisy", values)
            for values in ([True, False], [1, 0], ["true", "FALSE"], ["1", "0"])
        ),
        *(("is_noisy", values) for values in ([[True], [False]], [True, "0"], [1.0, "[false]"])),
        *(
            ("text", values)
            for values in ([1, 2], ["1", 2], [1.5, "x"], ["nan", "None"], ["x", None])
        ),
        *(
            ("text", values)
            for values in (["NULL", float("nan")], [["x", "y"], ["z"]], ["x", True])
        ),
        *(("id", values) for values in ([7, 8], ["007", "7"], ["007", 7], [None, None])),
        *(("split", values) for values in (["train", "train"],)),
    ],
)
def test_values_mean_the_same_in_csv_and_json_lines(
    folder: Path, name: str, values: list[Any]
) -> None:
    answers = []
    for file in write_both(folder, name, values):
        try:
            left_out: dict[str, list[str]] = {}
            rows = load_pairs(file, left_out=left_out)["train"]
            pairs = PairDataset(rows)
            flags = None if pairs.is_noisy is None else pairs.is_noisy.tolist()
            texts = [text.lower() for text in pairs.captions()]
            answers.append((rows["image_id"][:], texts, flags, left_out))
        except DatasetError as error:
            answers.append(str(error).replace("None", "''"))
    assert answers[0] == answers[1]
    if name == "is_noisy":
        assert answers[0][2] == [True, False]


@pytest.mark.parametrize("value", ["maybe", 2, "[[true]]", "", None])
def test_flags_that_are_none(folder: Path, value: Any) -> None:
    for file in write_both(folder, "is_noisy", [value, True]):
        with pytest.raises(DatasetError, match=r"Row 0 .*1 captions and .* in 'is_noisy'"):
            load_pairs(file)
