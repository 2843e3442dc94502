"""Find the wrong pairs of a dataset: `noisy_xmodal.audit("photos/")`.

An audit is a line: load the rows, judge every pair, conclude, write. The pairs are judged by a
pretrained model, or by small models that are trained on the data and judge only pairs that they
were not trained on (`auditing/cross_fit.py`). The losses are compared with those of random pairs,
which are certainly wrong (`noise/random_pairs.py`).
"""

import hashlib
import json
import platform
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments.audit import AuditOptions
from ..data import PairDataset, append_boxes
from ..data.audit_table import read_audit_table
from ..data.columns import IMAGE, REGIONS
from ..entry.devices import device_of
from ..entry.errors import Stopped
from ..entry.launch import leave_group
from ..entry.outputs import one_at_a_time, only_one
from ..files import read_json, write_json, write_text
from ..modules.text_limits import count_truncated
from ..training.interruption import TrainingInterrupted
from .checks import check_outputs, limitations, trained_on_these
from .cleaning import CleaningRefusedError, cleaning_refusal, write_clean_dataset
from .comparison import compare
from .cross_fit import CrossFit
from .features import FrozenModels, model_state
from .judge import ModelJudge, check_judge, load_judge
from .judgement import Judgement
from .known_pairs import KnownPairs, known_pairs, review_notes, with_people
from .loading import AuditRows, load_rows
from .misfits import misfit_words
from .report import GROUPS, MEMBERS, report_html
from .result import AuditResult
from .reviews import ReviewFile, read_reviews
from .shard_cleaning import ShardCleaning
from .sharded import ShardedAudit, check_table
from .small_model import recipe_state
from .suggestions import suggest
from .summary import AuditSummary

#: Minimum number of pairs with suggestions; all pairs judged wrong have them.
_N_SUGGESTIONS = 1000
_FEW_PAIRS = 500
_PATHS = ("output", "clean", "reviews", "compare", "cache_dir")  # options that are paths


class AuditInterrupted(Stopped):
    """A signal stopped an audit.

    Args:
        number: The signal number.
    """

    def __init__(self, number: int) -> None:
        name = signal.Signals(number).name
        message = f"Stopped by {name}. Finished parts are kept: the same command resumes."
        super().__init__(number, message)


def audit(
    dataset: AuditOptions | str | Path = "openmoji", command: str = "", **options: Any
) -> AuditSummary:
    """Judge every pair of a dataset, and write a table, a report and a summary.

    An interrupted audit is resumed by a call with the same options. With `sample`, or under a
    launcher of several processes, shards are audited one by one, see `sharded.py`.

    Args:
        dataset: The dataset, as `dataset_name` of the options; or all options.
        command: The command line, for the record.
        options: Other options of `AuditOptions`, beside the name of a dataset.

    Returns:
        The summary, as in the JSON file; empty in processes of a launcher but the main one.

    Raises:
        DatasetError: If the dataset cannot be read, or does not fit the model.
        ValueError: If an option is invalid.
        AuditInterrupted: After a signal during training; the work so far is kept.
        CleaningRefusedError: If the clean dataset was not written; all other files are.
    """
    if isinstance(dataset, AuditOptions):
        return _audit(replace(dataset, **options), command)
    paths = {name: Path(options[name]) for name in _PATHS if options.get(name) is not None}
    return _audit(AuditOptions(str(dataset), **(options | paths)), command)


def _audit(options: AuditOptions, command: str) -> AuditSummary:
    """See `audit`."""
    started = time.perf_counter()
    check_outputs(options)
    launch = leave_group()
    if options.sample is not None or launch.n_processes > 1:
        check_table(options)
        return _audit_by_parts(options, command, started, launch.is_main)
    device = device_of(options.device)
    if options.reviews is not None:
        read_reviews(options.reviews)  # fails early
    earlier = None if options.compare is None else read_audit_table(options.compare, "--compare")
    with only_one(options.output, options.clean):
        model = None
        if options.model_name_or_path is not None:
            model = load_judge(options.model_name_or_path, device)
        else:
            FrozenModels.of(options)  # fails early
        rows = load_rows(options)
        known = None
        if options.reviews is not None:
            known = known_pairs(ReviewFile(options.reviews), rows, options.dataset_name)
        warnings: list[str] = []
        models = FrozenModels()
        if model is None:
            models = FrozenModels.of(options, rows.pairs.visual)
        judge, judgement = _judge(options, model, models, rows, device, known, warnings)
        result = _conclude(rows, judge, judgement, known, warnings, models)
        if options.compare is not None and earlier is not None:
            changes = compare(options.compare, earlier, result.table())
            result = replace(result, comparison=changes)
        refusal = cleaning_refusal(result)
        summary = _write(_with_warning(result, refusal), command, started, refusal is None)
        if not options.keep_work:
            shutil.rmtree(judge.work, ignore_errors=True)
            if not any(judge.work.parent.iterdir()):
                judge.work.parent.rmdir()
        return _unless_refused(summary, refusal)


def _audit_by_parts(
    options: AuditOptions, command: str, started: float, is_main: bool
) -> AuditSummary:
    """Audit shards one by one, together with other processes; the summary if this is a main one."""
    if options.model_name_or_path is not None:
        raise ValueError(
            "--model_name_or_path does nothing in an audit by parts: --encoder_name_or_path trains "
            "judges on the vectors of such a model, or run one process without --sample"
        )
    earlier = None if options.compare is None else read_audit_table(options.compare, "--compare")
    device, models = device_of(options.device), FrozenModels.of(options)
    parts = ShardedAudit(options, models.states(), device, is_main)
    try:
        parts.keep()
        sample = parts.sample
        models = FrozenModels.of(options, IMAGE if sample.has_pictures else REGIONS)
        try:
            fit, judgement = parts.judge()
        except TrainingInterrupted as stop:
            raise AuditInterrupted(stop.number) from None
        judge = parts.write_parts(fit, judgement)
        cleaning, refusal = parts.clean(judgement.share.can_tell)
        parts.close()
        if not is_main:
            return AuditSummary()
        with one_at_a_time(options.output):
            if not parts.is_removed:
                rows = sample.rows(parts.split)
                notes = list(models.notes)
                if options.reviews is not None:
                    notes += review_notes(parts.reviews.facts, parts.reviews.missing)
                clean = parts.reviews.applied(judgement, sample)
                judgement = replace(judgement, clean_probability=clean)
                result = _conclude(rows, fit, judgement, None, notes, models, judge.suggest)
                result = replace(_with_warning(result, refusal), reviews=parts.reviews.facts)
                if options.compare is not None and earlier is not None:
                    changes = compare(
                        options.compare, earlier, read_audit_table(parts.parts, "--output")
                    )
                    result = replace(result, comparison=changes)
                summary = _write_parts(parts, result, cleaning, command, started)
                return _unless_refused(summary, refusal)
    except FileNotFoundError:
        if not parts.is_removed:
            raise
    return AuditSummary(read_json(options.summary) if is_main else {})


def _write_parts(
    parts: ShardedAudit,
    result: AuditResult,
    cleaning: ShardCleaning | None,
    command: str,
    started: float,
) -> AuditSummary:
    """Write all files of an audit by parts; returns the summary."""
    facts, rows = parts.publish(), result.rows
    n_sample = facts["sharded"]["sample_pairs"]
    note = (
        f"This page shows a random sample of {n_sample:,} of the {facts['n_pairs']:,} pairs, from "
        f"which the share of wrong pairs is estimated. Of all pairs {facts['judged_wrong']:,} are "
        f"judged wrong: see the parts in {facts['table']}. Suggestions come from the sample."
    )
    if n_sample == facts["n_pairs"]:
        note = f"The table of all pairs is in parts, one a shard, in {facts['table']}."
    shown = result.judgement.order[: result.options.shown]
    wanted = [rows.pairs.row_of_pair[shown], result.better_image[shown]]
    wanted += [group[:MEMBERS] for group in rows.alike[:GROUPS]]
    wanted += [group[:MEMBERS] for _, group in result.repeated[:GROUPS]]
    pictured = np.unique(np.concatenate(wanted))
    rows = parts.with_pictures(rows, pictured[pictured >= 0])
    rows = replace(rows, left_out=facts["left_out"])
    warnings = [note, *result.warnings]
    result = replace(result, rows=rows, warnings=warnings, kept_troubles=parts.troubles())
    write_text(result.options.report, report_html(result, _facts(result, command, started)))
    summary = AuditSummary(result.summary() | facts, cleaned=None, command=command)
    if cleaning is not None:
        summary["cleaned"] = cleaning.publish(list(parts.filled), parts.split, result.name)
    summary["seconds"] = round(time.perf_counter() - started, 1)
    write_json(result.options.summary, summary)
    if not result.options.keep_work:
        parts.remove()
    return summary


def _work_folder(options: AuditOptions, rows: AuditRows, models: list[str]) -> Path:
    """The folder of the intermediate files: its name tells all that their content depends on."""
    pairs = rows.pairs
    parts = [
        rows.fingerprint(),
        hashlib.sha256("\0".join(pairs.captions()).encode()).hexdigest(),
        json.dumps(np.bincount(pairs.row_of_pair, minlength=pairs.n_images).tolist()),
        *models,
        recipe_state(options),
    ]
    name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return options.output.absolute().with_suffix(".work") / name


def _judge(
    options: AuditOptions,
    model: tuple[Any, Any] | None,
    models: FrozenModels,
    rows: AuditRows,
    device: str,
    known: KnownPairs | None,
    warnings: list[str],
) -> tuple[ModelJudge | CrossFit, Judgement]:
    """Judge every pair, by the model or by small ones; adds to the warnings."""
    pairs = rows.pairs
    if model is not None:
        work = _work_folder(options, rows, [model_state(str(options.model_name_or_path))])
        if getattr(model[0].config, "box_size", 0):
            pairs = PairDataset(append_boxes(pairs.dataset, rows.split))
        check_judge(model[1], pairs, str(options.model_name_or_path))
        work.mkdir(parents=True, exist_ok=True)
        warnings += trained_on_these(options, rows.split)
        judge = ModelJudge(*model, pairs, options, work)
        return judge, judge.judge()
    warnings += models.notes
    states = models.states()
    if known is not None:
        states = [*states, hashlib.sha256(known.targets.tobytes()).hexdigest()]
    work = _work_folder(options, rows, states)
    work.mkdir(parents=True, exist_ok=True)
    pairs, captions = models.read(rows, options, device)
    if len(pairs) < _FEW_PAIRS:
        warnings.append(
            f"{len(pairs):,} pairs are few for training: trust the order more than the share, or "
            "name a pretrained model such as a CLIP with --model_name_or_path."
        )
    fit = CrossFit(pairs, options, work, device, captions, known)
    try:
        return fit, fit.judge(rows.groups())
    except TrainingInterrupted as stop:
        raise AuditInterrupted(stop.number) from None


def _conclude(
    rows: AuditRows,
    judge: ModelJudge | CrossFit,
    judgement: Judgement,
    known: KnownPairs | None,
    warnings: list[str],
    models: FrozenModels,
    suggest_shown: Callable[[NDArray[np.int64]], tuple[Any, Any]] | None = None,
) -> AuditResult:
    """Find suggestions, and say what the judgement is worth."""
    options = judge.options
    truncation = count_truncated(judge.processor, rows.pairs.captions())
    if truncation.n_cut:
        warnings.append(truncation.message())
    warnings += limitations(judgement.share, options.model_name_or_path is None)
    facts: dict[str, Any] = {}
    if known is not None:
        judgement, facts = with_people(judgement, known)
        warnings += review_notes(facts, known.missing)
    doubtful = np.union1d(np.flatnonzero(judgement.is_wrong), judgement.order[:_N_SUGGESTIONS])
    if suggest_shown is None:
        better = suggest(judge, judgement, doubtful)
    else:
        better = suggest_shown(judgement.order[: options.shown])
    names = models.names()
    result = AuditResult(options, rows, judgement, *better, warnings, names, known, facts)
    if isinstance(judge, ModelJudge):
        worst = judgement.order[: options.shown].tolist()
        result = replace(result, misfits=misfit_words(judge, rows.pairs, worst))
    return result


def _with_warning(result: AuditResult, refusal: str | None) -> AuditResult:
    """The result with the reason why no clean dataset is written, if there is one."""
    return result if refusal is None else replace(result, warnings=[*result.warnings, refusal])


def _unless_refused(summary: AuditSummary, refusal: str | None) -> AuditSummary:
    """The summary, if the clean dataset that was asked for is written."""
    if refusal is None:
        return summary
    message = f"{refusal} All other files are written, see {summary['report']}."
    raise CleaningRefusedError(message, summary)


def _write(result: AuditResult, command: str, started: float, may_clean: bool) -> AuditSummary:
    """Write all files, also the clean dataset if it may be; returns the summary."""
    options = result.options
    result.write_table()
    write_text(options.report, report_html(result, _facts(result, command, started)))
    summary = AuditSummary(result.summary(), cleaned=None)
    if options.clean is not None and may_clean:
        summary["cleaned"] = write_clean_dataset(result)
    summary.update(seconds=round(time.perf_counter() - started, 1), command=command)
    write_json(options.summary, summary)
    return summary


def _facts(result: AuditResult, command: str, started: float) -> dict[str, str]:
    """Facts of the run for the end of the report."""
    facts = {"wrong captions": result.error_kind} if result.error_kind else {}
    return facts | {
        "command": command or "noisy_xmodal.audit()",
        "seconds": f"{time.perf_counter() - started:.0f}",
        "versions": ", ".join(f"{p} {version(p)}" for p in ("noisy-xmodal", "torch")),
        "machine": platform.machine(),
    }


__all__ = ["AuditInterrupted", "AuditOptions", "audit"]
