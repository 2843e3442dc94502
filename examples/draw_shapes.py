"""Draw a folder of pictures with captions, some of them wrong, to try an audit on.

    python examples/draw_shapes.py --output_dir shapes
    noisy-xmodal audit shapes

Each picture has a background and two shapes, and two captions in `metadata.csv`. One caption in ten
describes another picture. Like in real folders, two files are broken and one caption is empty.
"""

from dataclasses import dataclass, field

from noisy_xmodal.entry.command_line import answer_early


@dataclass
class DrawArguments:
    """The folder and its content."""

    output_dir: str = field(metadata={"help": "Folder to create."})
    n_pictures: int = field(default=1200, metadata={"help": "Pictures to draw."})
    wrong_share: float = field(default=0.1, metadata={"help": "Share of captions to exchange."})
    seed: int = field(default=0, metadata={"help": "Random seed."})


if __name__ == "__main__":
    answer_early(DrawArguments)  # the imports below take seconds

import csv
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from noisy_xmodal.entry.limits import DRAW
from noisy_xmodal.entry.options import read_options
from noisy_xmodal.training.run import run_script

COLORS = {
    "red": (214, 40, 40),
    "orange": (247, 127, 0),
    "yellow": (252, 203, 40),
    "green": (56, 142, 60),
    "blue": (30, 90, 200),
    "purple": (123, 44, 191),
    "pink": (240, 98, 146),
    "brown": (121, 85, 72),
    "black": (33, 33, 33),
    "white": (250, 250, 250),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
GROUNDS = {
    "a grey wall": (158, 158, 158),
    "a meadow": (156, 204, 101),
    "the sea": (79, 172, 210),
    "sand": (224, 201, 150),
    "the night": (38, 50, 90),
}
SIDE = 160


def draw_shape(draw: ImageDraw.ImageDraw, kind: str, color: str, box: list[float]) -> None:
    """Draw one shape into a box (left, top, right, bottom)."""
    left, top, right, bottom = box
    x, y, radius = (left + right) / 2, (top + bottom) / 2, (right - left) / 2
    fill = COLORS[color]
    if kind == "circle":
        draw.ellipse(box, fill=fill)
    elif kind == "ring":
        draw.ellipse(box, outline=fill, width=max(5, int(radius / 3)))
    elif kind == "square":
        draw.rectangle(box, fill=fill)
    elif kind == "triangle":
        draw.polygon([(x, top), (right, bottom), (left, bottom)], fill=fill)
    elif kind == "cross":
        draw.rectangle([x - radius / 3, top, x + radius / 3, bottom], fill=fill)
        draw.rectangle([left, y - radius / 3, right, y + radius / 3], fill=fill)
    else:
        angles = np.pi * np.arange(10) / 5 - np.pi / 2
        reach = np.where(np.arange(10) % 2, 0.42, 1.0) * radius
        points = zip(x + reach * np.cos(angles), y + reach * np.sin(angles), strict=True)
        draw.polygon([(float(a), float(b)) for a, b in points], fill=fill)


def draw_picture(rng: np.random.Generator) -> tuple[Image.Image, list[str]]:
    """A picture and its two captions."""
    ground = str(rng.choice(list(GROUNDS)))
    shade = np.array(GROUNDS[ground]) + rng.normal(0, 6, (SIDE, SIDE, 3))
    picture = Image.fromarray(shade.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    colors = rng.choice(list(COLORS), 2, replace=False)
    kinds = rng.choice(SHAPES, 2, replace=False)
    for place, (color, kind) in enumerate(zip(colors, kinds, strict=True)):
        size = rng.uniform(42, 66)
        left = 8 + place * SIDE / 2 + rng.uniform(0, SIDE / 2 - size - 10)
        top = rng.uniform(8, SIDE - size - 8)
        draw_shape(draw, str(kind), str(color), [left, top, left + size, top + size])
    (one, other), (a, b) = colors, kinds
    return picture, [f"a {one} {a} and a {other} {b} on {ground}", f"{other} {b} beside {one} {a}"]


def exchange(captions: list[list[str]], share: float, rng: np.random.Generator) -> int:
    """Give some captions to one another's pictures, in place; returns how many."""
    places = [(row, at) for row, texts in enumerate(captions) for at in range(len(texts))]
    chosen = [places[i] for i in rng.permutation(len(places))[: round(share * len(places))]]
    texts = [captions[row][at] for row, at in chosen]
    for (row, at), text in zip(chosen, texts[1:] + texts[:1], strict=True):
        captions[row][at] = text
    return len(chosen)


def main(argv: list[str] | None = None) -> Path:
    """Draw the folder."""
    args = read_options(DrawArguments, DRAW, argv)
    folder = Path(args.output_dir)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"--output_dir {folder} is not empty: give another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(args.seed)
    captions = []
    for number in range(args.n_pictures):
        picture, texts = draw_picture(rng)
        picture.save(folder / f"{number:05d}.jpg", quality=90)
        captions.append(texts)
    n_wrong = exchange(captions, args.wrong_share, rng)
    captions[5][1] = ""
    whole = (folder / "00003.jpg").read_bytes()
    (folder / "00003.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "00004.jpg").write_text("This is no picture.\n", encoding="utf-8")
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "text"])
        table.writerows(
            [f"{number:05d}.jpg", text] for number, texts in enumerate(captions) for text in texts
        )
    print(f"{folder}: {args.n_pictures} pictures, {n_wrong} of their captions exchanged")
    return folder


if __name__ == "__main__":
    run_script(main, DrawArguments)
