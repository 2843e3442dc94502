"""Damaged files: mutations of valid ones, and what a reader may answer.

A reader of a damaged file gives what is in it, or raises one of the errors that it documents, with
a message that names the file, the row or the field.
"""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

SECONDS = 20  # of one example; more is a hang

#: Text that readers trip over: marks, breaks, separators, half characters, other digits.
ODD_TEXTS = (
    *("", " ", "\x00", "\r", "\n", "\r\n", "\u2028", "\x85", "\x1c", "\ufeff", "\u00a0", "\u200b"),
    *("\ud800", "e\u0301", "\u202etxt", "\U0001f600", "\u0665", "\u00b2", "..", ".", "/", "a/b"),
    *('"', "'", ",", ";", "|", "\t", "[", "{", "-1", "1e999", "NaN", "null", "true", "http://a/b"),
    *("9" * 20, "9" * 5000, "[" * 100_000, '{"a":' * 100_000, "x" * 70_000),
)
ODD_NUMBERS = (
    *(0, -1, 1, 2, 2**31, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30, 10**4000),
    *(0.0, -0.0, 0.5, 1e-320, 1e308, float("inf"), -float("inf"), float("nan")),
)


def fuzz(examples: int) -> settings:
    """So many examples, always the same; with FUZZ_EXAMPLES in the environment that many others."""
    wanted = os.environ.get("FUZZ_EXAMPLES")
    return settings(
        max_examples=int(wanted or examples),
        derandomize=wanted is None,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def answers(*names: str, errors: tuple[type[Exception], ...] = (ValueError,)) -> Iterator[None]:
    """A block that may raise some errors alone, each naming one of `names`, and ends in time."""

    def stop(*_: object) -> None:
        raise AssertionError(f"no answer in {SECONDS} seconds")

    message = ""
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    except errors as error:
        message = str(error) or repr(error)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert not message or any(name in message for name in names), f"{message!r} names no {names}"


@st.composite
def damaged(draw: st.DrawFn, valid: bytes) -> bytes:
    """A file with one to three wounds: bytes changed, cut, put in, doubled, or lines that moved."""
    content = bytearray(valid)
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.integers(0, len(content)))
        last = draw(st.integers(first, min(len(content), first + 40)))
        kind = draw(st.sampled_from(("write", "cut", "insert", "drop", "double", "lines", "odd")))
        if kind == "write":
            content[first:last] = draw(st.binary(min_size=last - first, max_size=last - first))
        elif kind == "cut":
            del content[first:]
        elif kind == "insert":
            content[first:first] = draw(st.binary(max_size=20))
        elif kind == "drop":
            del content[first:last]
        elif kind == "double":
            content[first:first] = content[first:last]
        elif kind == "lines":
            content[:] = b"\n".join(draw(st.permutations(bytes(content).split(b"\n"))))
        else:
            content[first:last] = draw(st.sampled_from(ODD_TEXTS)).encode("utf-8", "surrogatepass")
    return bytes(content)


def any_file(valid: bytes) -> SearchStrategy[bytes]:
    """A damaged file, or bytes that never were one."""
    starts = (b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x03\x00", b"PK\x03\x04", b"\x80\x04", b"{")
    noise = st.tuples(st.sampled_from(starts), st.binary(max_size=60)).map(b"".join)
    return st.one_of(damaged(valid), noise)


def npy_headers() -> SearchStrategy[str]:
    """The text of a .npy header: types, orders and shapes of any kind, or no dictionary at all."""
    sizes = st.sampled_from((0, 1, 2, 3, 6, -1, 2**31, 2**32, 2**62, 2**63, 2**64, True, 1.5, None))
    shapes = st.one_of(st.lists(sizes, max_size=4).map(tuple), sizes, st.just("(2,)"))
    types = st.sampled_from(
        (
            *("<f4", "<f2", ">f4", "<f8", "<i8", ">i8", "<u8", "|i1", "|b1", "|O", "|V0", "<U0"),
            *("<U3", "<c8", "<m8[ns]", "<M8[D]", "f4,i8", "x", "", "<f4" * 50, 3, None, [], ()),
            *([("a", "<f4")], [("a", "|O")], [("", "")], [()], {"a": 1}, ("<f4", (2, 2))),
        )
    )
    orders = st.sampled_from((False, True, 0, None, "no"))
    whole = st.tuples(types, orders, shapes).map(
        lambda found: repr(dict(zip(("descr", "fortran_order", "shape"), found, strict=True)))
    )
    broken = ("{", "(", "{[]: 1}", "1", "'a", "(" * 4000, "-" * 4000 + "1", "{'descr': '<f4'}")
    return st.one_of(whole, st.sampled_from(broken), st.sampled_from(ODD_TEXTS), st.text())


def npy_bytes(header: str, data: bytes, version: int = 1) -> bytes:
    """A .npy file with any header before any data."""
    text = header.encode("utf-8", "surrogatepass")
    length = len(text).to_bytes(2 if version == 1 else 4, "little", signed=False)
    return b"\x93NUMPY" + bytes((version, 0)) + length + text + data


def npy_files(data: bytes) -> SearchStrategy[bytes]:
    """Files of these data under headers that say something else of them."""
    short = npy_headers().filter(lambda header: len(header) < 20_000)
    return st.builds(npy_bytes, short, st.just(data), st.sampled_from((1, 2, 3)))


@cache
def odd_values() -> SearchStrategy[Any]:
    """Values of any JSON type, the unlikely ones first."""
    plain = st.one_of(
        st.sampled_from((None, True, False, [], {}, [None], [[]], {"": 0})),
        st.sampled_from(ODD_NUMBERS),
        st.sampled_from(ODD_TEXTS),
        st.sampled_from((30, 400)).map(nested),
    )
    return st.one_of(
        plain,
        st.recursive(plain, lambda inner: st.lists(inner, max_size=3), max_leaves=4),
        st.dictionaries(st.sampled_from(("a", "path", "bytes", "raw", "")), plain, max_size=2),
    )


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@st.composite
def changed(draw: st.DrawFn, valid: Any, keys: tuple[str, ...] = ()) -> Any:
    """A JSON value with one to three changes anywhere: replaced, dropped, doubled or added."""
    value = json.loads(json.dumps(valid))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(value))
        if not places:
            return draw(odd_values())
        parent, key = places[draw(st.integers(0, len(places) - 1))]
        kind = draw(st.sampled_from(("replace", "replace", "drop", "double", "add")))
        if kind == "drop":
            del parent[key]
        elif kind == "double" and isinstance(parent, list):
            parent.append(json.loads(json.dumps(parent[key])))
        elif kind == "add" and isinstance(parent, dict):
            new = draw(st.sampled_from((*keys, *ODD_TEXTS[:30])))
            parent[new] = draw(odd_values())
        else:
            parent[key] = draw(odd_values())
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, list | dict):
        for key in range(len(value)) if isinstance(value, list) else list(value):
            yield value, key
            if not isinstance(value[key], list) or value[key] != [[]]:
                yield from _places(value[key]) if _depth(value[key]) < 20 else ()


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list) and value and depth < 30:
        value, depth = value[0], depth + 1
    return depth


def json_bytes(value: Any) -> bytes:
    """A value as JSON; numbers of any length and half characters pass."""
    return json.dumps(value).encode("utf-8", "surrogatepass")
