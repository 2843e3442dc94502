"""Write the vectors that MRL reads: VGG19's fc7 of pictures, Doc2Vec of texts.

    pip install 'noisy-xmodal[doc2vec]'
    python examples/mrl_vectors.py --dataset_name pascal --dataset_config_name sym_40 --out vectors
    python examples/train_dmcm.py --method mrl --recipe paper --dataset_name vectors \
        --output_dir runs/mrl

OUT has a Parquet file for each split, with `image_features` (4,096 numbers) and `text_features`
(300) in place of pictures and captions, and the labels as they were.

Sources: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", ICLR 2015, network E, whose ImageNet weights are read from `timm/vgg19.tv_in1k` of the
Hub; Le and Mikolov, "Distributed Representations of Sentences and Documents", ICML 2014, with the
constants of Lau and Baldwin, "An Empirical Evaluation of doc2vec", 2016. Hu et al., "Learning
Cross-Modal Retrieval with Noisy Labels" (MRL), CVPR 2021, take the model that these train on
Wikipedia. Its files are pickles of an old gensim, which are not read: here Doc2Vec learns from the
training texts, or from the lines of `--corpus`.
"""

from dataclasses import dataclass, field

from noisy_xmodal.entry.command_line import answer_early


@dataclass
class VectorArguments:
    """The data, the weights and the folder."""

    out: str = field(metadata={"help": "Folder to write; it must not exist."})
    dataset_name: str | None = field(
        default=None,
        metadata={"help": "Hub id or folder of pairs with a class; OpenMoji's by default."},
    )
    dataset_config_name: str | None = field(
        default=None, metadata={"help": "Its config, such as sym_40."}
    )
    vgg19_weights: str | None = field(
        default=None,
        metadata={"help": "File of VGG19's weights (.safetensors); of the Hub by default."},
    )
    corpus: str | None = field(
        default=None,
        metadata={
            "help": "Text file for Doc2Vec, a document a line, such as articles of Wikipedia; the "
            "training texts by default."
        },
    )
    text_size: int = field(default=300, metadata={"help": "Size of a text's vector."})
    text_epochs: int = field(default=100, metadata={"help": "Epochs of Doc2Vec over the corpus."})
    seed: int = field(default=0, metadata={"help": "Seed of Doc2Vec."})
    device: str | None = field(
        default=None, metadata={"help": "Device of VGG19: cpu, cuda; a GPU if there is one."}
    )


if __name__ == "__main__":
    answer_early(VectorArguments)  # the imports below take seconds

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import ViTImageProcessorPil

from noisy_xmodal.data import LabelDataset, load_label_pairs
from noisy_xmodal.data.columns import CAPTIONS, IMAGE, IMAGE_FEATURES, TEXT_FEATURES
from noisy_xmodal.data.readers import load_openmoji_labels
from noisy_xmodal.entry.devices import device_of
from noisy_xmodal.entry.limits import MRL_VECTORS
from noisy_xmodal.entry.options import OptionError, read_options
from noisy_xmodal.files import atomic_write
from noisy_xmodal.training.run import run_script

#: Channels of the blocks of network E, and convolutions in each.
WIDTHS, DEPTHS = (64, 128, 256, 512, 512), (2, 2, 4, 4, 4)
SIDE, FC_SIZE = 224, 4096
#: Documents in which a vector is inferred, and the rate at which it begins (Lau and Baldwin).
INFER_EPOCHS, INFER_RATE = 1000, 0.01


class Vgg19(nn.Module):
    """VGG19 up to its second fully connected layer, under the weight names of timm.

    Args:
        widths: Channels of each block.
        size: Size of both fully connected layers.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, size: int = FC_SIZE) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width, depth in zip(widths, DEPTHS, strict=True):
            for _ in range(depth):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        fully = {"fc1": nn.Conv2d(channels, size, 7), "fc2": nn.Conv2d(size, size, 1)}
        self.pre_logits = nn.ModuleDict(fully)

    def forward(self, pixels: Tensor) -> Tensor:
        """The activations of fc7, (n, size), of pictures (n, 3, 224, 224)."""
        hidden = self.features(pixels)  # (n, channels, 7, 7)
        for name in ("fc1", "fc2"):
            hidden = self.pre_logits[name](hidden).relu()  # (n, size, 1, 1)
        return hidden.flatten(1)


def load_vgg19(path: str | None) -> Vgg19:
    """VGG19 with the weights of a file, or of the Hub; its classifier is left out."""
    path = path or hf_hub_download("timm/vgg19.tv_in1k", "model.safetensors")
    weights = {k: v for k, v in load_file(path).items() if not k.startswith("head.")}
    with torch.device("meta"):
        model = Vgg19()
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise OptionError(f"--vgg19_weights {path} is no VGG19 of timm: {error}") from error
    return model.eval()


def image_vectors(model: nn.Module, pairs: LabelDataset, device: str, block: int = 16) -> Any:
    """fc7 of every picture, (n, size), float32."""
    normalize = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    processor = ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}, **normalize)
    parts = []
    with torch.inference_mode():
        for start in tqdm(range(0, len(pairs), block), desc=f"pictures of {pairs.split}"):
            pictures = pairs.pictures(slice(start, start + block))
            pixels = processor(pictures, return_tensors="pt")["pixel_values"].to(device)
            parts.append(model.to(device)(pixels).cpu().numpy())
    return np.concatenate(parts)


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return re.findall(r"\w+", text.lower())


def train_doc2vec(documents: Sequence[str], size: int, epochs: int, seed: int) -> Any:
    """Doc2Vec (distributed bag of words, words trained along) of documents."""
    try:
        from gensim.models.doc2vec import Doc2Vec, TaggedDocument
    except ModuleNotFoundError as error:
        raise OptionError(
            "Doc2Vec needs the package gensim: pip install 'noisy-xmodal[doc2vec]'."
        ) from error
    tagged = [TaggedDocument(words_of(text), [n]) for n, text in enumerate(documents)]
    constants = {"dm": 0, "dbow_words": 1, "window": 15, "negative": 5, "min_count": 1}
    # One worker: several would make another model in each run.
    options = {"vector_size": size, "epochs": epochs, "sample": 1e-5, "seed": seed, "workers": 1}
    return Doc2Vec(tagged, **constants, **options)


def text_vectors(model: Any, texts: Sequence[str], seed: int) -> Any:
    """The inferred vector of every text, (n, size), float32; equal texts have equal vectors."""
    vectors = []
    for text in tqdm(texts, desc="texts"):
        model.random.seed(seed)
        vectors.append(model.infer_vector(words_of(text), INFER_RATE, epochs=INFER_EPOCHS))
    return np.stack(vectors).astype(np.float32)


def with_columns(rows: datasets.Dataset, vectors: dict[str, Any]) -> datasets.Dataset:
    """The rows with vectors in place of pictures and captions."""
    rows = rows.remove_columns([name for name in (IMAGE, CAPTIONS) if name in rows.column_names])
    for name, values in vectors.items():
        kind = datasets.List(datasets.Value("float32"), length=values.shape[1])
        rows = rows.add_column(name, list(values), feature=kind)
    return rows


def main(argv: list[str] | None = None) -> Path:
    """Write the vectors of every split."""
    args = read_options(VectorArguments, MRL_VECTORS, argv)
    out = Path(args.out)
    if out.exists():
        raise OptionError(f"--out {out} exists: give a new folder, or remove it.")
    config = args.dataset_config_name
    splits = (
        load_openmoji_labels(config or "sym_40")
        if args.dataset_name is None
        else load_label_pairs(args.dataset_name, config)
    )
    pairs = {name: LabelDataset(rows, name) for name, rows in splits.items()}
    texts = {name: part.texts(slice(None)) for name, part in pairs.items()}
    corpus = Path(args.corpus).read_text("utf-8").splitlines() if args.corpus else texts["train"]
    words = train_doc2vec(corpus, args.text_size, args.text_epochs, args.seed)
    vgg19, device = load_vgg19(args.vgg19_weights), device_of(args.device)
    with atomic_write(out) as aside:
        aside.mkdir()
        for name, rows in splits.items():
            vectors = {
                IMAGE_FEATURES: image_vectors(vgg19, pairs[name], device),
                TEXT_FEATURES: text_vectors(words, texts[name], args.seed),
            }
            with_columns(rows, vectors).to_parquet(str(aside / f"{name}.parquet"))
    print(f"{out}: {', '.join(f'{len(rows)} rows of {name}' for name, rows in splits.items())}")
    return out


if __name__ == "__main__":
    run_script(main, VectorArguments)
