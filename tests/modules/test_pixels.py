"""One conversion of pictures: upright, 8-bit RGB, on white, whatever they are stored as."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable

import datasets
import numpy as np
import pytest
from PIL import Image, ImageOps

from noisy_xmodal import PairDataset
from noisy_xmodal.auditing.duplicates import difference_hash
from noisy_xmodal.auditing.image_scan import look_at_images
from noisy_xmodal.data import LabelDataset
from noisy_xmodal.data.pictures import image_problem, open_picture
from noisy_xmodal.data.plain_vectors import picture_features
from noisy_xmodal.modules.image_loading import load_images
from noisy_xmodal.modules.pixels import eight_bits, to_rgb

GRAY = np.arange(256, dtype=np.uint8).reshape(16, 16).T.copy()  # every level


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def tiff(
    data: bytes, bits: int, sample: int = 1, photometric: int = 1, order: str = "<", turn: int = 1
) -> bytes:
    """A TIFF file of 16 by 16 gray pixels, `sample` 1 unsigned, 2 signed, 3 float."""
    tags = [(256, 16), (257, 16), (258, bits), (259, 1), (262, photometric), (273, 8), (274, turn)]
    tags += [(277, 1), (278, 16), (279, len(data)), (339, sample)]
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(data))
    entries = b"".join(struct.pack(order + "HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    return head + data + struct.pack(order + "H", len(tags)) + entries + bytes(4)


def packed_12_bits() -> bytes:
    deep = np.rint(GRAY / 255 * 4095).astype(int).ravel()
    pairs = deep.reshape(-1, 2).tolist()
    return b"".join(((one << 12) | other).to_bytes(3, "big") for one, other in pairs)


def png(depth: int, colour: int, row: bytes, width: int, key: bytes) -> bytes:
    """A PNG file of one row of pixels with a colour key."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, 1, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"tRNS", key)
        + chunk(b"IDAT", zlib.compress(b"\0" + row))
        + chunk(b"IEND", b"")
    )


def pgm(highest: int) -> bytes:
    levels = np.rint(GRAY / 255 * highest).astype(">u2").tobytes()
    return b"P5 16 16 %d\n" % highest + levels


DEEP: dict[str, Callable[[], Image.Image]] = {
    "png 16": lambda: opened(saved(Image.fromarray(GRAY.astype(np.uint16) * 257), "PNG")),
    "tiff 16 little": lambda: opened(tiff((GRAY.astype("<u2") * 257).tobytes(), 16)),
    "tiff 16 big": lambda: opened(tiff((GRAY.astype(">u2") * 257).tobytes(), 16, order=">")),
    "tiff 16 signed": lambda: opened(
        tiff((GRAY.astype(np.int32) * 257 - 32768).astype("<i2").tobytes(), 16, sample=2)
    ),
    "tiff 16 white is zero": lambda: opened(
        tiff((65535 - GRAY.astype(np.int32) * 257).astype("<u2").tobytes(), 16, photometric=0)
    ),
    "tiff 12": lambda: opened(tiff(packed_12_bits(), 12)),
    "tiff 32 unsigned": lambda: opened(tiff((GRAY.astype("<u4") * 0x1010101).tobytes(), 32)),
    "tiff 32 signed": lambda: opened(
        tiff((GRAY.astype("<i4") * ((2**31 - 1) // 255)).tobytes(), 32, sample=2)
    ),
    "tiff 32 that holds 16": lambda: opened(
        saved(Image.fromarray(GRAY.astype(np.int32) * 257), "TIFF")
    ),
    "tiff 32 that holds 8": lambda: opened(saved(Image.fromarray(GRAY.astype(np.int32)), "TIFF")),
    "tiff float to 1": lambda: opened(
        saved(Image.fromarray(GRAY.astype(np.float32) / 255), "TIFF")
    ),
    "tiff float white is zero": lambda: opened(
        tiff((1 - GRAY.astype("<f4") / 255).tobytes(), 32, sample=3, photometric=0)
    ),
    "float to 255": lambda: Image.fromarray(GRAY.astype(np.float32)),
    "float to 65535": lambda: Image.fromarray(GRAY.astype(np.float32) * 257),
    "float from -1 to 1": lambda: Image.fromarray(GRAY.astype(np.float32) / 127.5 - 1),
    "float a little beyond 1": lambda: Image.fromarray(
        np.clip((GRAY.astype(np.float32) - 5) / 245, -0.04, 1.04)
    ),
    "pgm 16": lambda: opened(pgm(65535)),
    "pgm 12": lambda: opened(pgm(4095)),
    "jpeg2000 16": lambda: opened(saved(Image.fromarray(GRAY.astype(np.uint16) * 257), "JPEG2000")),
    "gray": lambda: Image.fromarray(GRAY),
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_gray_looks_like_the_8_bit_original(kind: str) -> None:
    found = to_rgb(DEEP[kind]())
    assert found.mode == "RGB"
    most = 6 if kind == "float a little beyond 1" else 1
    for channel in np.moveaxis(np.asarray(found), -1, 0):
        assert np.abs(channel.astype(int) - GRAY).max() <= most


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 300, 600]], np.uint16), [0, 1, 2]),  # dark stays dark
        (np.array([[40_000, 40_001]], np.uint16), [156, 156]),  # and flat stays flat
        (np.array([[5, 6]], np.int32), [5, 6]),
        (np.array([[0, 2048, 4095]], np.int32), [0, 128, 255]),
        (np.array([[-100, 0, 100]], np.int32), [27, 128, 228]),
        (np.array([[7, 7]], np.int32), [7, 7]),
        (np.array([[0.5, 0.5]], np.float32), [128, 128]),
        (np.array([[0.0, 0.1]], np.float32), [0, 26]),
        (np.array([[1000.0, 1000.001]], np.float32), [249, 249]),
        (np.array([[0.0, 1.5, 3.0]], np.float32), [0, 128, 255]),
        (np.array([[np.nan, 1.0, 0.5]], np.float32), [0, 255, 128]),
        (np.array([[np.inf, -np.inf, 0.5]], np.float32), [255, 0, 128]),
        (np.array([[np.nan, np.nan]], np.float32), [0, 0]),
        (np.array([[3e38, 0.0]], np.float32), [225, 0]),
    ],
)
def test_the_range_of_numbers(values: np.ndarray, expected: list[int]) -> None:
    found = np.asarray(to_rgb(Image.fromarray(values)))[0, :, 0]
    assert found.tolist() == expected


def on_white_slowly(red: float, green: float, blue: float, alpha: float) -> list[float]:
    return [alpha / 255 * value + 255 - alpha for value in (red, green, blue)]


RGBA = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "La", "PA", "P"])
def test_what_is_transparent_is_laid_on_white(mode: str) -> None:
    source = RGBA.copy()
    if mode in ("LA", "La"):
        source[..., 1] = source[..., 2] = source[..., 0]
    picture = Image.fromarray(source)
    if mode in ("LA", "La"):
        picture = picture.convert("LA").convert(mode)
    elif mode == "RGBa":
        picture = picture.convert("RGBa")
    elif mode in ("P", "PA"):
        indices = np.arange(30, dtype=np.uint8).reshape(6, 5)
        picture = Image.fromarray(indices).convert("L")
        picture.putpalette(source[..., :3].tobytes())
        if mode == "P":
            picture = opened(saved(picture, "PNG", transparency=source[..., 3].tobytes()))
        else:
            picture = picture.convert("PA")
            picture.putalpha(Image.fromarray(source[..., 3]))
    assert picture.mode == mode
    expected = [[on_white_slowly(*map(float, pixel)) for pixel in row] for row in source.tolist()]
    assert np.abs(np.asarray(to_rgb(picture)) - np.array(expected)).max() <= (
        2 if mode in ("RGBa", "La") else 1
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png(16, 0, struct.pack(">3H", 0, 1000, 65535), 3, b"\x03\xe8"), [0, 255, 255]),
        (png(16, 0, struct.pack(">3H", 0, 1001, 999), 3, b"\x03\xe8"), [0, 4, 4]),
        (png(8, 0, bytes([0, 10, 100]), 3, b"\0\x0a"), [0, 255, 100]),
        (png(1, 0, bytes([0b01000000]), 3, b"\0\0"), [255, 255, 255]),
        (png(8, 2, bytes([9, 9, 9, 10, 10, 10]), 2, struct.pack(">3H", 9, 9, 9)), [255, 10]),
        (
            png(
                16,
                2,
                struct.pack(">6H", *[1000] * 3, *[5140] * 3),
                2,
                struct.pack(">3H", *[1000] * 3),
            ),
            [255, 20],
        ),
    ],
)
def test_a_colour_key_is_transparent(content: bytes, expected: list[int]) -> None:
    assert np.asarray(to_rgb(opened(content)))[0].tolist() == [[level] * 3 for level in expected]


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "YCbCr", "HSV", "LAB", "RGBX"])
def test_8_bit_pictures_are_as_pillow_makes_them(mode: str) -> None:
    picture = Image.fromarray(RGBA[..., :3])
    picture = (
        Image.frombytes("LAB", (5, 6), RGBA[..., :3].tobytes())
        if mode == "LAB"
        else picture.convert(mode)
    )
    found = to_rgb(picture)
    assert np.array_equal(np.asarray(found), np.asarray(picture.convert("RGB")))
    assert (found is picture) == (mode == "RGB")


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation(form: str) -> None:
    frames = [Image.new("RGBA", (8, 8), colour) for colour in ((255, 0, 0, 255), (0, 255, 0, 255))]
    frames[0].paste((0, 0, 0, 0), (0, 0, 4, 8))
    options = {"save_all": True, "append_images": frames[1:], "lossless": True}
    found = np.asarray(to_rgb(opened(saved(frames[0], form, **options))))
    assert found[0, 7].tolist() == [255, 0, 0]
    if form != "WEBP":  # whose animations Pillow writes without transparency
        assert found[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "png 16", "tiff 12", "webp alpha"])
def test_every_picture_is_turned_as_its_exif_data_says(kind: str, turn: int) -> None:
    exif = Image.Exif()
    exif[Image.ExifTags.Base.Orientation] = turn
    if kind == "tiff 12":
        plain, turned = tiff(packed_12_bits(), 12), tiff(packed_12_bits(), 12, turn=turn)
    else:
        picture = {
            "jpeg": Image.fromarray(np.repeat(GRAY[:, :8, None], 3, 2)),
            "png 16": Image.fromarray(GRAY[:, :8].astype(np.uint16) * 257),
            "webp alpha": Image.fromarray(RGBA),
        }[kind]
        form = kind.split()[0]
        plain, turned = saved(picture, form), saved(picture, form, exif=exif)
    source = to_rgb(opened(plain))
    marked = Image.fromarray(np.asarray(source))
    marked.getexif()[Image.ExifTags.Base.Orientation] = turn
    expected = np.asarray(ImageOps.exif_transpose(marked))
    found = to_rgb(opened(turned))
    assert np.array_equal(np.asarray(found), expected)
    assert np.array_equal(np.asarray(to_rgb(found)), expected)  # turned once
    assert np.array_equal(np.asarray(PairDataset(column(turned))[0]["image"]), expected)


def column(content: bytes, **options: object) -> datasets.Dataset:
    rows = {
        "image": [{"bytes": content, "path": None}],
        "captions": [["a picture"]],
        "image_id": ["a"],
        "image_label": [0],
        "text_label": [0],
    }
    return datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image(**options))


@pytest.mark.parametrize("mode", [None, "RGB", "L"])
@pytest.mark.parametrize(
    "content",
    [
        saved(Image.fromarray(GRAY.astype(np.uint16) * 257), "PNG"),
        tiff(packed_12_bits(), 12, turn=6),
        saved(Image.fromarray(RGBA), "PNG"),
    ],
    ids=["16 bits", "12 bits, turned", "alpha"],
)
def test_all_paths_see_the_same_pixels(content: bytes, mode: str | None, tmp_path) -> None:
    """Also where a column of `datasets` has a mode, to which it would convert by itself."""
    path = tmp_path / "picture"
    path.write_bytes(content)
    expected = np.asarray(to_rgb(opened(content)))
    rows = column(content, mode=mode)
    pictures = [PairDataset(rows)[0]["image"], LabelDataset(rows).pictures([0])[0]]
    pictures += load_images([path, opened(content)])
    for picture in pictures:
        assert picture.mode == "RGB"
        assert np.array_equal(np.asarray(picture), expected)
    plain = Image.fromarray(expected)
    assert int(look_at_images(rows).hashes[0]) == difference_hash(plain)
    assert np.array_equal(picture_features(opened(content)), picture_features(plain))


def test_a_picture_inside_an_archive_is_fetched_by_datasets(tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.writestr("a.png", saved(Image.fromarray(RGBA), "PNG"))
    stored = {"bytes": None, "path": f"zip://a.png::{tmp_path / 'some.zip'}"}
    expected = to_rgb(Image.fromarray(RGBA))
    assert np.array_equal(np.asarray(open_picture(stored)), np.asarray(expected))


@pytest.mark.parametrize(
    "array",
    [
        GRAY,
        GRAY[..., None],
        GRAY[None],
        np.repeat(GRAY[..., None], 3, 2),
        np.repeat(GRAY[None], 3, 0),
        np.stack([GRAY, np.full_like(GRAY, 255)], 2),
        np.concatenate([np.repeat(GRAY[None], 3, 0), np.full((1, 16, 16), 255, np.uint8)]),
    ],
    ids=lambda array: str(array.shape),
)
@pytest.mark.parametrize("kind", ["uint8", "uint16", "int64", "float32", "float64"])
def test_arrays_of_every_kind_of_number_and_shape(array: np.ndarray, kind: str) -> None:
    given = array.astype(kind) * (257 if kind == "uint16" else 1)
    given = given / 255 if kind.startswith("float") else given
    (found,) = load_images(given)
    assert np.array_equal(np.asarray(found), np.repeat(GRAY[..., None], 3, 2))
    if kind.startswith("float"):
        (kept,) = load_images(given, scale_floats=False)
        assert kept is given


def test_booleans_are_black_and_white() -> None:
    assert eight_bits(np.array([True, False])).tolist() == [255, 0]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 6, 7)), r"image 0 is an array of type float64 and shape \(5, 6, 7\)"),
        (np.zeros((2, 2), complex), "complex128"),
        (np.zeros((0, 5), np.uint8), r"shape \(0, 5\)"),
    ],
)
def test_arrays_that_are_no_picture_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_images([array])


@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
def test_exif_data_that_cannot_be_read_says_nothing(form: str) -> None:
    picture = Image.fromarray(RGBA[..., :3])
    broken = saved(picture, form, exif=b"Exif\0\0garbage")
    expected = np.asarray(opened(saved(picture, form)).convert("RGB"))
    assert image_problem(broken) is None
    assert np.array_equal(np.asarray(to_rgb(opened(broken))), expected)
    assert np.array_equal(np.asarray(PairDataset(column(broken))[0]["image"]), expected)
