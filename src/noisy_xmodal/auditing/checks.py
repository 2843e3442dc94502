"""What an audit refuses before it starts, and what it warns of."""

import os
from pathlib import Path

from ..arguments.audit import AuditOptions
from ..data.any_dataset.folders import is_audit_table
from ..data.protocol import TRAIN
from ..data.writing import check_out
from ..entry.outputs import check_output, check_writable, is_summary
from ..files import read_json
from ..noise.random_pairs import WrongShare
from .troubles import unchecked_kinds


def check_outputs(options: AuditOptions) -> None:
    """Refuse output files that cannot be written, and kinds to drop, before any long work.

    Raises:
        ValueError: If a kind is unknown, a file is not an audit's or is that of another dataset, or
            the folder of the clean dataset is not empty.
    """
    output, clean = options.output, options.clean
    unchecked_kinds(options)  # fails early
    check_output(output, "--output", ".parquet", is_audit_table)
    is_second = output.exists() or is_summary(options.summary)
    for beside in (options.summary, options.report):
        if beside.exists() and not is_second:
            raise ValueError(
                f"--output is {output}, and {beside}, which an audit writes too, is another kind "
                "of file: give another --output, or remove that file"
            )
    earlier = read_json(options.summary) if is_summary(options.summary) else {}
    if "wrong_share" in earlier:  # it is no search
        before = earlier.get("dataset", ""), earlier.get("dataset_config")
        if (_last_name(before[0]), before[1]) != (
            _last_name(options.dataset_name),
            options.dataset_config_name,
        ):
            raise ValueError(
                f"--output {output} is the audit of {' '.join(filter(None, before))}, and would be "
                "lost: give another --output, or remove it first"
            )
    if clean is not None:
        files = (output, options.summary, options.report, output.with_suffix(""))
        if clean.absolute() in {path.absolute() for path in files}:
            raise ValueError(
                f"--clean is {clean}, where the audit with --output {output} writes files of its "
                "own: give two places"
            )
        if clean.is_dir() and any(clean.iterdir()):
            raise ValueError(
                f"--clean {clean} is not empty: give another folder, or remove it first"
            )
        check_out(clean, overwrite=False)
        check_writable(clean, "--clean")


def _last_name(dataset_name: str) -> str:
    """The last part of the name of a dataset, also of the folder `.`."""
    return os.path.basename(os.path.abspath(dataset_name))


def trained_on_these(options: AuditOptions, split: str) -> list[str]:
    """A warning if the record of the model names this dataset as what it was trained on."""
    record = Path(str(options.model_name_or_path), "results.json")
    if split != TRAIN or not record.is_file():
        return []
    name = _last_name(options.dataset_name)  # as the scripts record it
    if read_json(record).get("dataset") != name:
        return []
    return [
        f"{options.model_name_or_path} was trained on {name}, by its results.json: if on these "
        "very pairs, it may have learnt the wrong ones by heart, and judges fewer of them wrong "
        "than there are. An audit without a model judges each pair by models that have not seen it."
    ]


def limitations(share: WrongShare, is_cross_fit: bool) -> list[str]:
    """A message about a judge that does not distinguish right from wrong pairs well, if so."""
    if share.can_tell and not share.is_weak:
        return []
    remedy = "a judge that was trained on such images and texts"
    if is_cross_fit:
        remedy = (
            "more pairs, pretrained models of images and texts (--vision_model_name_or_path, "
            "--text_model_name_or_path, --encoder_name_or_path), or a pretrained judge such as a "
            "CLIP (--model_name_or_path)"
        )
    if share.can_tell:
        return [
            f"The judge distinguishes right from random pairs in only {share.separation:.0%} of "
            "the cases, so it judges few pairs wrong, and the share is uncertain. Possible "
            f"remedies: {remedy}."
        ]
    return [
        "The judge does not distinguish these pairs from random ones, beyond chance "
        f"(p = {share.p_value:.2g}): the number of wrong pairs is unknown, no pair is judged "
        f"wrong, and the order means little. Possible remedies: {remedy}. If most pairs should be "
        "right, check some images and captions: images may be blank or alike, captions may be in "
        "a language that the judge does not know, all equal, or too long for it."
    ]
