"""The dataset card: YAML that `load_dataset` reads, and the noise protocol as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard, DatasetCardData

from ..noise import NOISE_TYPES
from .columns import CAPTIONS, ORACLE_COLUMNS, TRUE_LABEL
from .protocol import NATURAL


@dataclass(frozen=True)
class CardText:
    """The description of a dataset.

    Attributes:
        title: The display name.
        body: Markdown: what it is, how its splits are made, what to know before use.
        credit: Markdown: licence and credit.
        license: Licence id of the Hub; None if the raw data belongs to the user.
        language: Language codes of the captions.
        tags: Tags of the Hub.
    """

    title: str
    body: str
    credit: str
    license: str | None = None
    language: Sequence[str] = ()
    tags: Sequence[str] = field(default=("image-text-retrieval", "noisy-correspondence"))


def render_card(
    text: CardText,
    infos: Mapping[str, datasets.DatasetInfo],
    entries: Mapping[str, Mapping[str, Any]],
    protocols: Mapping[str, Mapping[str, Any]],
) -> DatasetCard:
    """Renders the card of a Parquet folder.

    Args:
        text: The description of the dataset.
        infos: The info of each config; its description holds the noise protocol.
        entries: The reader's options of each config: `data_files` and others.
        protocols: The noise protocol of each config; empty for one without a train split.

    Returns:
        The card; save it as README.md.
    """
    data = DatasetCardData(
        pretty_name=text.title,
        license=text.license,
        language=list(text.language) or None,
        tags=list(text.tags),
        task_categories=["image-to-text", "text-to-image"],
    )
    DatasetInfosDict(infos).to_dataset_card_data(data)
    _add_descriptions(data, infos)
    default = next(iter(entries))
    data["configs"] = [
        {"config_name": name, **({"default": True} if name == default else {}), **entry}
        for name, entry in entries.items()
    ]
    body = "\n\n".join(
        part
        for part in (
            f"# {text.title}",
            text.body.strip(),
            _usage(default, next(iter(infos.values())).features),
            _split_table(infos),
            _protocol_table(protocols),
            f"## Licence and credit\n\n{text.credit.strip()}",
        )
        if part
    )
    return DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n")


def _add_descriptions(data: DatasetCardData, infos: Mapping[str, datasets.DatasetInfo]) -> None:
    """Adds the descriptions, which `datasets` reads from the YAML but does not write there."""
    entries = data["dataset_info"]
    for entry in entries if isinstance(entries, list) else [entries]:
        name = entry.get("config_name", next(iter(infos)))
        entry["description"] = infos[name].description


_SOURCES = {"annotations": "annotations of the dataset", "captions": "the nouns of the captions"}


def _usage(config: str, features: Mapping[str, Any]) -> str:
    lines = []
    if CAPTIONS in features:
        lines.append("A row is an image with its list of captions.")
    if TRUE_LABEL in features:
        lines.append(
            "`image_label` and `text_label` are the classes that image and text are given."
        )
    oracles = [f"`{name}`" for name in ORACLE_COLUMNS if name in features]
    if oracles:
        lines.append(
            f"{' and '.join(oracles)} is the oracle: for metrics and evaluation, "
            "never for training."
        )
    lines.append(
        "The noise protocol below is also the last line of `pairs[split].info.description`, and "
        "`noise_protocol.json`."
    )
    return (
        "## Use\n\n```python\nfrom datasets import load_dataset\n\n"
        f'pairs = load_dataset(PATH, "{config}")  # PATH: this folder, or this repository\n```\n\n'
        + " ".join(lines)
    )


def _split_table(infos: Mapping[str, datasets.DatasetInfo]) -> str:
    splits = next(iter(infos.values())).splits
    lines = [f"| {name} | {splits[name].num_examples:,} |" for name in splits]
    return "\n".join(["## Splits", "", "| split | rows |", "|---|---|", *lines])


def _protocol_table(protocols: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [_protocol_line(name, p) for name, p in protocols.items() if p]
    if not lines:
        return ""
    return "\n".join(
        [
            "## Noise protocol",
            "",
            _explain(protocols),
            "",
            "| config | type | level | asked | really wrong | of | seed | index file | version |",
            "|---|---|---|---|---|---|---|---|---|",
            *lines,
        ]
    )


def _explain(protocols: Mapping[str, Mapping[str, Any]]) -> str:
    """Explains the noise types in the table."""
    kinds = {str(protocol["type"]) for protocol in protocols.values() if protocol}
    sentences = [
        "Only the train split is corrupted; evaluation splits are the same clean files in every "
        "config."
    ]
    if NATURAL in kinds:
        sentences = [
            "The pairs are as they were collected: some are wrong, in all splits, and nobody knows "
            "which. So there is no column `is_noisy`."
        ]
    for noise_type in (noise_type for kind, noise_type in NOISE_TYPES.items() if kind in kinds):
        title = noise_type.title
        sentences += noise_type.sentences or (f"{title[0].upper()}{title[1:]}.",)
        if "objects" in noise_type.needs:
            sets = sorted({str(p["objects"]) for p in protocols.values() if "objects" in p})
            names = ", ".join(_SOURCES.get(name, name) for name in sets)
            sentences.append(f"The sets come from: {names}.")
    return " ".join(dict.fromkeys(sentences))


def _protocol_line(name: str, protocol: Mapping[str, Any]) -> str:
    ratio, share, n_wrong = (protocol[key] for key in ("ratio", "share_wrong", "n_wrong"))
    unit = "labels" if "n_labels" in protocol else "pairs"
    n_all = f"{protocol[f'n_{unit}']:,} {unit}"
    n_same = protocol.get("n_same_text")
    n_all += f", {n_same:,} of them with a text of the new image" if n_same else ""
    cells = [
        f"`{name}`",
        protocol["type"],
        protocol["level"],
        "-" if ratio is None else f"{ratio:.1%}",
        "unknown" if share is None else f"{share:.2%}",
        f"unknown, of {n_all}" if n_wrong is None else f"{n_wrong:,} of {n_all}",
        "-" if protocol["seed"] is None else str(protocol["seed"]),
        protocol.get("noise_index", "-"),
        protocol["version"],
    ]
    return f"| {' | '.join(cells)} |"
