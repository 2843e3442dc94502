"""Measures time and memory of writing large datasets, from synthetic raw files.

python dataset_scripts/measure_scale.py --kind features --images 101725  # 30 GB, sparse
python dataset_scripts/measure_scale.py --kind objects --images 113287

`features`: 36 x 2048 float32 zeros per picture in a sparse file; configs clean and cmp_40.
`objects`: the form of MS-COCO, with features of 4 numbers and instance annotations of three objects
per picture, in which few classes are frequent; configs clean, part_40 and part_image_40.
"""

from dataclasses import dataclass, field

from noisy_xmodal.entry.command_line import answer_early


@dataclass
class ScaleArguments:
    kind: str = field(metadata={"help": "Kind of raw files: features or objects."})
    images: int = field(default=10_000, metadata={"help": "Number of training pictures."})
    work_dir: str | None = field(
        default=None,
        metadata={"help": "Folder for temporary files; the system's by default."},
    )


if __name__ == "__main__":
    answer_early(ScaleArguments)  # the imports below take seconds

import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from transformers import HfArgumentParser

from noisy_xmodal.data.readers import Coco, Precomp, write_dataset
from noisy_xmodal.entry.door import enter

N_CLASSES = 80


def write_captions(folder: Path, n_images: int) -> None:
    lines = (f"picture {i} caption {k}\n" for i in range(n_images) for k in range(5))
    with open(folder / "train_caps.txt", "w") as file:
        file.writelines(lines)


def make_features(folder: Path, n_images: int) -> None:
    """Writes an array of zeros as a sparse file."""
    shape = (n_images, 36, 2048)
    np.lib.format.open_memmap(folder / "train_ims.npy", mode="w+", dtype="<f4", shape=shape)


def make_objects(folder: Path, n_images: int) -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((n_images, 4)).astype(np.float16)
    np.save(folder / "train_ims.npy", features)
    (folder / "train_ids.txt").write_text("".join(f"{i}\n" for i in range(n_images)))
    frequency = 1 / np.arange(1, N_CLASSES + 1) ** 0.9
    n_objects = rng.poisson(3, n_images)  # (n_images,)
    classes = rng.choice(N_CLASSES, n_objects.sum(), p=frequency / frequency.sum())
    owners = np.repeat(np.arange(n_images), n_objects)
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(n_images)],
        "annotations": [
            {"image_id": int(image), "category_id": int(number) + 1, "segmentation": [[0.5] * 20]}
            for image, number in zip(owners, classes, strict=True)
        ],
        "categories": [{"id": i + 1, "name": f"class {i}"} for i in range(N_CLASSES)],
    }
    (folder / "instances_train2014.json").write_text(json.dumps(content))


def main() -> None:
    (arguments,) = HfArgumentParser(ScaleArguments).parse_args_into_dataclasses()
    kinds = {
        "features": (make_features, Precomp, ["clean", "cmp_40"]),
        "objects": (make_objects, Coco, ["clean", "part_40", "part_image_40"]),
    }
    if arguments.kind not in kinds:
        raise ValueError(f"--kind is {arguments.kind!r}: choose features or objects")
    make, builder, configs = kinds[arguments.kind]
    with tempfile.TemporaryDirectory(dir=arguments.work_dir) as work:
        raw = Path(work) / "raw"
        raw.mkdir()
        make(raw, arguments.images)
        write_captions(raw, arguments.images)
        size = (raw / "train_ims.npy").stat().st_size
        started = time.perf_counter()
        write_dataset(builder, Path(work) / "out", configs, data_dir=str(raw))
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{arguments.images:,} pictures, {size / 1e9:.1f} GB of features, {', '.join(configs)}:")
    print(f"{seconds:.0f} s, peak memory {peak:.2f} GiB (synthetic files included)")


if __name__ == "__main__":
    enter(main)
