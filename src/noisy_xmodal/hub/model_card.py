"""The model card of a trained model: every number in it comes from the run.

The facts are those of the run's `results.json` and of its folder: the pictures that it drew, the
options of its training, what the saved model reads. What papers print stands apart, see
published.py. The text is in model_card_template.md.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..arguments.model_names import HUB_NAMES, PACKAGED_NAMES
from ..files import read_json, write_text
from ..noise import NOISE_TYPES
from .published import PAPERS, published_figures

TEMPLATE = "model_card_template.md"
_ON_THE_HUB = HUB_NAMES | PACKAGED_NAMES


@dataclass(frozen=True)
class CardKind:
    """What the cards of one kind of task say.

    Attributes:
        metrics: Metrics of the table, in order.
        digits: Decimal places of the table.
        task: Task type of the Hub's metadata.
        tags: Tags of the Hub's metadata.
        description: What the model is.
        measure: What the metrics mean, and which of them chooses a checkpoint.
        primary: The metric that chooses it.
    """

    metrics: tuple[str, ...]
    digits: int
    task: str
    tags: tuple[str, ...]
    description: str
    measure: str
    primary: str


#: By what `results["task"]` says; results without it are of pairs.
CARD_KINDS = {
    "pairs": CardKind(
        metrics=("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "rsum"),
        digits=1,
        task="image-text-retrieval",
        tags=("image-text-retrieval", "noisy-correspondence"),
        description="An image-text matching model",
        measure="Recall in percent; rSum, the sum of the six recalls, chooses the checkpoint.",
        primary="rsum",
    ),
    "classes": CardKind(
        metrics=("i2t_map", "t2i_map", "map", "i2t_map_50", "t2i_map_50"),
        digits=3,
        task="cross-modal-retrieval",
        tags=("cross-modal-retrieval", "noisy-labels"),
        description="A model of a common space of images and texts, learnt from class labels",
        measure="Mean average precision of retrieving the query's class in the other modality, 0 "
        "to 1, over the whole list and its first 50; map, the mean of both directions, chooses the "
        "checkpoint.",
        primary="map",
    ),
}

CARD_KINDS["joint pairs"] = replace(
    CARD_KINDS["pairs"],
    description="A cross-encoder that reads an image and a text together and says how probably "
    "they are aligned",
)


_ENSEMBLE = " of two networks whose similarities are averaged"


@dataclass(frozen=True)
class DataTerms:
    """Under which terms a dataset comes, and what else is known of it.

    Attributes:
        license: Licence id of the Hub.
        language: Language codes of its texts.
        credit: Whom to credit.
        limits: What to know of it.
    """

    license: str
    language: tuple[str, ...]
    credit: str
    limits: str


_OPENMOJI = DataTerms(
    license="cc-by-sa-4.0",
    language=("en",),
    credit="All emojis designed by [OpenMoji](https://openmoji.org), the open-source emoji and "
    "icon project. License: [CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/). "
    "Names: Unicode CLDR, (c) Unicode, Inc., [Unicode "
    "License](https://www.unicode.org/license.txt).",
    limits="The texts name drawings and do not describe photographs; gender and skin tone are "
    "those of the Unicode names.",
)

#: The data that comes with the library, by what the training scripts call it.
EMBEDDED_DATA = {"openmoji": _OPENMOJI, "openmoji categories": _OPENMOJI}

#: Pictures of a run in the order of the card, with what each shows.
PICTURES = {
    "divisions/epoch_*.png": "The last division: losses of the training data, the mixture that was "
    "fitted to them, and the probability of being clean. Colours are by the oracle, if the data "
    "has one; training does not read it.",
    "losses.png": "Losses of the training pairs, epoch by epoch: median, quartiles, and the "
    "outermost twentieths.",
    "curve.png": "The metrics after each epoch; nothing was chosen by those on test.",
    "features.png": "What the model makes of training pairs and of wrong pairs that were "
    "constructed, in a plane (t-SNE).",
    "retrieved.png": "What it finds for some images and texts: right answers are green, wrong ones "
    "red. The queries were drawn by the seed, not picked.",
}

#: What the card says of the Trainer's options.
TRAINING_OPTIONS = (
    *("per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate"),
    *("lr_scheduler_type", "warmup_steps", "optim", "weight_decay", "max_grad_norm"),
    *("lr_decay_epoch", "sum_losses", "bf16", "fp16"),
)

_NOISE_TITLES = {"clean": "none", "natural": "natural: the data as it was collected"}

_LABELS = {
    "n_wrong": "number that is wrong",
    "n_pairs": "of so many pairs",
    "n_same_text": "wrong ones whose text describes the new image, too",
    "n_labels": "of so many labels",
    "exclude_true": "true class left out of the draw",
    "seed": "seed of the noise",
    "config": "configuration of the noise",
    "objects": "objects of a picture",
    "version": "version of the noise",
}

_PRETRAINED = ("vision_model_name_or_path", "text_model_name_or_path", "backbone_name_or_path")


def render_model_card(
    results: Mapping[str, Any], name: str, folder: str | Path | None = None
) -> ModelCard:
    """Render the card of one run.

    Args:
        results: What the training script wrote to `results.json`. Where it has them, `dataset_id`
            (the dataset's name on the Hub) and `data_license` (its licence) are used.
        name: Name of the model, for the card's title and its code: the repository on the Hub, such
            as "org/ncr-openmoji", or the folder.
        folder: The run's folder, with its pictures, training options and config.

    Returns:
        The card, with metadata and one evaluation result per split and metric of the best
        checkpoint.
    """
    folder = None if folder is None else Path(folder)
    kind = CARD_KINDS[results.get("task", "pairs")]
    terms = _embedded(results)
    license_name = terms.license if terms else results.get("data_license")
    bases = [results["arguments"].get(option) for option in _PRETRAINED]
    bases = list(dict.fromkeys(_ON_THE_HUB.get(base, base) for base in bases if base))
    data = ModelCardData(
        model_name=name,
        library_name="transformers",
        license=license_name if re.fullmatch(r"[a-z\d.-]+", license_name or "") else None,
        language=list(terms.language) if terms else None,
        datasets=[results["dataset_id"]] if results.get("dataset_id") else None,
        base_model=[base for base in bases if hub_id(base)] or None,
        tags=["noisy-xmodal", *kind.tags],
        eval_results=_evaluations(results, kind),
    )
    template = files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")
    fields = {
        "name": name,
        "kind": kind,
        "description": kind.description + (_ENSEMBLE if results.get("networks", 1) > 1 else ""),
        "task": results.get("task", "pairs"),
        "bases": bases,
        "terms": terms,
        "license_name": license_name,
        "command": results["command"],
        "rows": [
            (checkpoint, split, metrics)
            for checkpoint in ("last", "best")
            for split, metrics in results[checkpoint].items()
        ],
        "protocol": _protocol_rows(results["noise"]),
        "options": _cells(results["arguments"]),
        "figures": published_figures(results),
        "paper": PAPERS.get(results["method"]),
        "citation": results.get("citation", ""),
    }
    facts = _facts_of(folder)
    fields |= facts | {"reads": _reads(results, facts["config"])}
    fields["has_plain_vectors"] = _has_plain_vectors(facts["config"])
    return ModelCard.from_template(data, template_str=template, **(dict(results) | fields))


def write_model_card(
    folder: str | Path, results: Mapping[str, Any], name: str | None = None
) -> Path:
    """Write README.md into a model's folder atomically.

    Write it last: it shows the pictures that are in the folder.

    Args:
        folder: The folder of the run.
        results: What the training script wrote to `results.json`.
        name: The repository on the Hub that the folder is pushed to; without it the folder's name
            stands for the model.

    Returns:
        The README.md.
    """
    folder = Path(folder)
    card = render_model_card(results, name or folder.resolve().name, folder)
    write_text(folder / "README.md", str(card))
    return folder / "README.md"


def hub_id(name: str | None) -> str | None:
    """Tells names on the Hub from local paths.

    Args:
        name: What a model or dataset was loaded by.

    Returns:
        The name, if it can be one on the Hub and nothing lies there on this machine; else None.
    """
    if not name or Path(name).exists() or name.startswith((".", "/", "~")):
        return None
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name


def _embedded(results: Mapping[str, Any]) -> DataTerms | None:
    """The terms of the data that comes with the library, if the run used it."""
    named = results.get("dataset_id") or "--dataset_name" in results["command"]
    return None if named else EMBEDDED_DATA.get(results["dataset"])


def _evaluations(results: Mapping[str, Any], kind: CardKind) -> list[EvalResult]:
    """What the best checkpoint measured, for the model index."""
    dataset = str(results.get("dataset_id") or results["dataset"])
    return [
        EvalResult(
            task_type=kind.task,
            dataset_type=dataset,
            dataset_name=dataset,
            dataset_config=results["dataset_config"],
            dataset_split=split,
            metric_type=metric,
            metric_name=metric,
            metric_value=round(value, kind.digits + 1),
        )
        for split, metrics in results["best"].items()
        for metric, value in metrics.items()
        if metric in kind.metrics
    ]


def _facts_of(folder: Path | None) -> dict[str, Any]:
    """What the card tells of a folder: its pictures, its training options, its shim."""
    found: dict[str, Any] = {"pictures": [], "training": {}, "has_shim": True, "config": {}}
    if folder is None:
        return found
    for pattern, caption in PICTURES.items():
        if drawn := sorted(folder.glob(pattern)):
            found["pictures"].append((drawn[-1].relative_to(folder).as_posix(), caption))
    if (path := folder / "training_args.json").is_file():
        options = read_json(path)
        found["training"] = _cells({k: options[k] for k in TRAINING_OPTIONS if k in options})
    if (path := folder / "config.json").is_file():
        found["config"] = read_json(path)
        found["has_shim"] = bool(list(folder.glob("*_shim.py")))
    return found


def _reads(results: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """What the model reads of images: "pictures", "regions" or "vectors"."""
    if results.get("task") == "classes":
        backbone = results["arguments"].get("backbone_name_or_path")
        return "vectors" if backbone is None else "pictures"
    reads_pictures = any(
        config.get(name) is not None for name in ("vision_config", "backbone_config")
    )
    return "regions" if config and not reads_pictures else "pictures"


def _has_plain_vectors(config: Mapping[str, Any]) -> bool:
    """Whether a model reads vectors of both sizes that the scripts make themselves.

    One size alone tells nothing: vectors of other models have 512 numbers, too.
    """
    from ..data.plain_vectors import IMAGE_DIM, TEXT_DIM  # torch comes with them

    return (config.get("image_size"), config.get("text_size")) == (IMAGE_DIM, TEXT_DIM)


def _protocol_rows(protocol: Mapping[str, Any] | None) -> dict[str, str]:
    """The noise protocol in words, for a table."""
    if protocol is None:
        return {"noise": "unknown: the data carries no noise protocol"}
    kind = protocol["type"]
    titles = _NOISE_TITLES | {name: noise.title for name, noise in NOISE_TYPES.items()}
    rows = {"noise": titles.get(kind, kind)}
    for key, value in protocol.items():
        if key == "ratio":
            rows["asked for"] = "-" if value is None else f"{100 * value:g} %"
        elif key.startswith("share_wrong"):
            label = key.replace("share_wrong", "really wrong").replace("_", ", ")
            rows[label] = "unknown" if value is None else f"{100 * value:.2f} %"
        elif key != "type" and value is not None:
            rows[_LABELS.get(key, key)] = value
    return _cells(rows)


def _cells(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as cells of a Markdown table, without those that are None."""
    return {
        key: str(value).replace("|", "\\|")
        for key, value in values.items()
        if value not in (None, "None")
    }
