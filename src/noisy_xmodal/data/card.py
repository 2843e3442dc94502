"""The dataset card: YAML that `load_dataset` reads, and the noise protocol as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard, DatasetCardData


@dataclass(frozen=True)
class CardText:
    """What a dataset says about itself.

    Attributes:
        title: The name people read.
        body: Markdown: what it is, how its splits are made, what to know before use.
        credit: Markdown: licence and credit.
        license: Licence id of the Hub; None where the raw data is the user's own.
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
    data_files: Mapping[str, Mapping[str, str]],
    protocols: Mapping[str, Mapping[str, Any]],
) -> DatasetCard:
    """Renders the card of a Parquet folder.

    Args:
        text: What the dataset says about itself.
        infos: The info of each config; its description carries the noise protocol.
        data_files: For each config, the file pattern of each split, relative to the folder.
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
    default = next(iter(data_files))
    data["configs"] = [
        {
            "config_name": name,
            **({"default": True} if name == default else {}),
            "data_files": [{"split": split, "path": path} for split, path in files.items()],
        }
        for name, files in data_files.items()
    ]
    body = "\n\n".join(
        part
        for part in (
            f"# {text.title}",
            text.body.strip(),
            _usage(default),
            _split_table(infos),
            _protocol_table(protocols),
            f"## Licence and credit\n\n{text.credit.strip()}",
        )
        if part
    )
    return DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n")


def _add_descriptions(data: DatasetCardData, infos: Mapping[str, datasets.DatasetInfo]) -> None:
    """Writes the descriptions, which `datasets` reads from the YAML but does not write there."""
    entries = data["dataset_info"]
    for entry in entries if isinstance(entries, list) else [entries]:
        name = entry.get("config_name", next(iter(infos)))
        entry["description"] = infos[name].description


def _usage(config: str) -> str:
    return (
        "## Use\n\n```python\nfrom datasets import load_dataset\nfrom noisy_xmodal.data.protocol "
        f'import noise_protocol\n\npairs = load_dataset(PATH, "{config}")\n'
        'noise_protocol(pairs["train"])\n```\n\n'
        "A row is an image with its list of captions. `is_noisy`, one flag per caption, is the "
        "oracle: it is for metrics and evaluation, never for training."
    )


def _split_table(infos: Mapping[str, datasets.DatasetInfo]) -> str:
    splits = next(iter(infos.values())).splits
    lines = [f"| {name} | {splits[name].num_examples:,} |" for name in splits]
    return "\n".join(["## Splits", "", "| split | images |", "|---|---|", *lines])


def _protocol_table(protocols: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [_protocol_line(name, p) for name, p in protocols.items() if p]
    if not lines:
        return ""
    return "\n".join(
        [
            "## Noise protocol",
            "",
            "Only the train split is corrupted; evaluation splits are the same clean files in "
            "every config. At level `caption` single captions move to other images; at level "
            "`image` the whole caption list of an image moves, which is far harder at the same "
            "percentage.",
            "",
            "| config | type | level | asked | really wrong | wrong pairs | pairs | seed | index "
            "file | version |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *lines,
        ]
    )


def _protocol_line(name: str, protocol: Mapping[str, Any]) -> str:
    asked = protocol["ratio"]
    cells = [
        f"`{name}`",
        protocol["type"],
        protocol["level"],
        "-" if asked is None else f"{asked:.1%}",
        f"{protocol['share_wrong']:.2%}",
        f"{protocol['n_wrong']:,}",
        f"{protocol['n_pairs']:,}",
        "-" if protocol["seed"] is None else str(protocol["seed"]),
        protocol.get("noise_index", "-"),
        protocol["version"],
    ]
    return f"| {' | '.join(cells)} |"
