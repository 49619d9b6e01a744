"""Makes signals from checkpoints: every model predicts every sample; the user gives the membership.

Two kinds of banks are refused, because their audit would be empty or wrong: several models with the same training set
(then no sample has a model trained without it), and the same model twice (a victim would be its own reference).

Duplicate samples are scored once, and not for models that were trained on only one of the copies (`copies.py`).
"""

# M models, N samples, C classes, Q queries

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.primary import MANY_FLOORED
from pruneaudit.core.errors import UserError
from pruneaudit.core.machine import HERE, Machine
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.features import input_features
from pruneaudit.data.source import RawData
from pruneaudit.data.token_counts import numbers_of
from pruneaudit.evaluation.data_checks import inputs_differ_words
from pruneaudit.evaluation.input_difference import input_difference
from pruneaudit.evaluation.left_out import unknown_words
from pruneaudit.external.asked import NetworkOptions, Queries
from pruneaudit.external.canaries import with_canaries
from pruneaudit.external.copies import with_copies_settled
from pruneaudit.external.membership import Given, membership_of
from pruneaudit.external.plausible import tell_implausible
from pruneaudit.external.sources import device_samples, fed_as, first_of, read_source, whole
from pruneaudit.external.transformers_folders import (
    architecture_of,
    check_tokenizer,
    folder_of,
    with_labels_of,
    with_tokenizer_of,
)
from pruneaudit.external.weight_files import find_weights
from pruneaudit.models.factory import check_function_name
from pruneaudit.signals.derived import answer_digest
from pruneaudit.signals.signals import Signals
from pruneaudit.study.parts import MIN_HOLDOUT

ONE_SIDED_TOLD = 0.05
"""A larger fraction of samples without IN or without OUT models gives a note; independent coins leave 2^(1 - M)."""
AS_THEY_ARE, ONE_QUERY = NetworkOptions(), Queries()


@dataclass(frozen=True, eq=False)
class Collected:
    """Signals, with notes on how they were made."""

    signals: Signals
    fed_as: str
    """How samples were fed to the networks."""
    notes: tuple[str, ...]
    """Notes on what makes an audit weaker than it looks, one line each."""


def collect_signals(
    factory: str | Callable[..., Any] | None,
    weights: str | Path | Sequence[str | Path],
    membership: Given,
    data: str | RawData,
    *,
    options: NetworkOptions = AS_THEY_ARE,
    queries: Queries = ONE_QUERY,
    canaries: str | Path | None = None,
    runtime: Machine = HERE,
) -> Signals:
    """Collects the predictions of trained models, as input of `pruneaudit.audit`.

    Problems that make an audit weaker than it looks are reported with `warnings.warn`.

    Args:
        factory: builds the network: `package.module:function`, or the function; it gets `input_shape`, (C, H, W), (F,)
            or (T,), and `num_classes` if its signature names them. Or the name of a packaged network; or None for
            folders of Transformers, which describe their network.
        weights: files, folders or patterns; `.safetensors`, or state dicts written by `torch.save`.
        membership: which samples each model was trained on: an `.npz`, its arrays by key, or the (M, N) bool matrix;
            see `external.membership`.
        data: a source such as "cifar10" or "npz:FILE", or `RawData`; all samples are used, in the order of the source.
        options: how to build the networks, load their weights and feed them.
        queries: the queries for every sample.
        canaries: a file that `pruneaudit canaries make` wrote; the models are also queried with its rows.
        runtime: `Runtime`: the device, the folder of data sets, and the display of progress.

    Returns:
        Signals of the M models, in the order of the files.

    Raises:
        UserError: an input is missing or does not fit, or all models were trained on the same samples.

    Example:
        >>> files = "checkpoints/*.safetensors", "membership.npz", "npz:samples.npz"
        >>> signals = pruneaudit.collect_signals("my_code:build", *files)
        >>> signals.logits.shape  # models, samples, classes
        (4, 60, 3)
    """
    collected = collect(factory, weights, membership, data, options, queries, runtime, canaries)
    for note in collected.notes:
        warnings.warn(note, stacklevel=2)
    return collected.signals


def collect(
    factory: str | Callable[..., Any] | None,
    weights: str | Path | Sequence[str | Path],
    membership: Given,
    data: str | RawData,
    options: NetworkOptions,
    queries: Queries,
    runtime: Machine,
    canaries: str | Path | None = None,
) -> Collected:
    """Like `collect_signals`, which describes the arguments, but returns the notes with the signals."""
    if isinstance(factory, str) and ":" in factory:
        check_function_name(factory)
    files, notes = find_weights(weights), dict[str, None]()  # each note once, in order
    if factory is None:
        architecture_of(files)
    folder = folder_of(files[0])
    name, raw = read_source(data, runtime.data_folder)
    raw = with_tokenizer_of(raw, folder)
    given = membership_of(membership, files, len(raw.y))
    if canaries is not None:
        given, raw = with_canaries(given, raw, Path(canaries))
    audit_data = whole(raw, options, name)
    notes |= dict.fromkeys(audit_data.notes)
    if queries.count > 1 and audit_data.kind == "table":
        raise UserError(
            f"queries: got {queries.count} for a table, expected 1; further queries exist only for images (crops and "
            f"flips) and texts (dropped tokens)"
        )
    for place in dict.fromkeys(filter(None, map(folder_of, files))):
        check_tokenizer(audit_data, place)
        audit_data = with_labels_of(audit_data, place, notes.setdefault)
    frame = _frame(given, audit_data)
    _check_has_out_models(frame, files)
    frame = _frame(with_copies_settled(given, first_of(audit_data), notes.setdefault), audit_data)
    if left_out := unknown_words(frame):
        notes.setdefault(left_out)
    _tell_one_sided(frame, notes.setdefault)

    from pruneaudit.external.filling import filled
    from pruneaudit.external.kept import NO_STRUCTURE, Structures, find_masks
    from pruneaudit.external.makers import maker_of
    from pruneaudit.external.networks import ask
    from pruneaudit.external.public_start import PublicStart, start_file

    shape, names = audit_data.input_shape, [str(name) for name in frame.model_names]
    make = maker_of(factory, options.factory_options, shape, audit_data.num_classes, files)
    structures = Structures(make, find_masks(queries.masks, len(files))) if queries.structure else None
    samples, start = device_samples(audit_data, runtime.device), None
    if queries.start:
        public, key = start_file(queries.start), options.weights_key
        start = PublicStart(make(), public, samples, audit_data.num_classes, key, notes.setdefault)
    arrays: dict[str, np.ndarray] = {}
    saliency: list[np.ndarray] = []
    seen: dict[bytes, str] = {}
    for row, (file, name) in enumerate(zip(files, names, strict=True)):
        runtime.progress.say(f"predicting with {name} ({row + 1} of {len(files)})")
        network = filled(make(), file, options.weights_key, notes.setdefault).to(runtime.device)
        if structures is not None:
            kept = structures.add(network, file)
            saliency += [start.saliency(*kept)] if start is not None else []
        answers = ask(network, samples, name, audit_data.num_classes, queries, not audit_data.classes_known)
        _check_form(answers, arrays, name)
        _check_new(next(iter(answers.values())), str(file), seen)  # logits or probabilities
        for key, answer in answers.items():
            arrays.setdefault(key, np.empty((len(files), *answer.shape), answer.dtype))[row] = answer
    collected: dict[str, Any] = {"logits": None, **arrays}
    if structures is not None and (bits := structures.bits()) is not None:
        collected["structure"] = bits
        collected |= {"start_saliency": np.stack(saliency)} if saliency else {}
    elif structures is not None:
        notes.setdefault(NO_STRUCTURE)
    if frame.fitting.sum() >= MIN_HOLDOUT:
        collected["features"] = input_features(numbers_of(audit_data, frame.fitting), frame.fitting)
    runtime.progress.say("testing whether members and others differ in their inputs")
    collected["inputs_auc"] = _inputs_auc(frame, audit_data, notes.setdefault)
    signals = dataclasses.replace(frame, **collected)
    tell_implausible(signals, notes.setdefault)
    _tell_floored(signals, notes.setdefault)
    return Collected(signals, fed_as(audit_data, options), tuple(notes))


def _frame(membership: Mapping[str, np.ndarray], audit_data: AuditData) -> Signals:
    """Signals without answers (zeros that take no memory), to check everything else before any model predicts."""
    shape = (*membership["member"].shape, audit_data.num_classes)
    try:
        return Signals(logits=np.broadcast_to(np.float32(0), shape), labels=audit_data.y, **membership)
    except UserError as error:
        raise UserError(f"membership: {error}") from None


def _check_has_out_models(frame: Signals, files: Sequence[Path]) -> None:
    """Refuses several models that were all trained on the same samples."""
    if not frame.trained_alike:
        return
    at_hand = {"holdout"} if frame.nulls.sum() >= MIN_HOLDOUT else set()
    at_hand |= {"fitting", "features"} if frame.fitting.sum() >= MIN_HOLDOUT else set()
    alone = [name for name in ATTACKS.names() if ATTACKS.get(name).needs <= at_hand]
    raise UserError(
        f"membership: all {frame.num_models} models were trained on the same samples, so no sample has a model trained"
        " without it (an OUT model), and attacks with references cannot tell members from non-members;"
        f" these attacks work on a single model: {', '.join(alone)}; for them, give one file: --weights '{files[0]}'"
    )


def _tell_one_sided(frame: Signals, warn: Callable[[str], None]) -> None:
    """Reports how many samples lack models on one side."""
    audited = frame.ordinary[frame.victims].any(axis=0)  # (N,)
    one_sided = audited & (frame.member == frame.member[0]).all(axis=0)
    if frame.num_models > 1 and one_sided.sum() > ONE_SIDED_TOLD * audited.sum():
        warn(
            f"{one_sided.sum():,} of {audited.sum():,} samples are members of every or of no model:"
            " online attacks cannot score them"
        )


def _inputs_auc(frame: Signals, audit_data: AuditData, warn: Callable[[str], None]) -> np.ndarray | None:
    """The `inputs_auc` of the first victim (one classifier for each would take minutes); None with few samples."""
    victim = frame.victims[0]
    found = input_difference(numbers_of(audit_data), audit_data.y, frame.member[victim], frame.ordinary[victim])
    if found is None:
        return None
    auc = {"auc": found.auc.value, "low": found.auc.low, "high": found.auc.high}
    if found.differs:
        warn(inputs_differ_words(auc))
    return np.array(list(auc.values()))


def _tell_floored(signals: Signals, warn: Callable[[str], None]) -> None:
    """Reports networks whose probabilities round to 0 or 1."""
    share = float(signals.floored.mean())
    if share > MANY_FLOORED:
        warn(
            f"the networks return probabilities, and {share:.1%} of those of the labels round to 0 or 1; to lose"
            " nothing, return the logits (the input of the softmax)"
        )


def _check_form(answers: Mapping[str, np.ndarray], earlier: Mapping[str, np.ndarray], name: str) -> None:
    """Refuses a model whose answers differ from earlier models' in their form or number of classes."""
    if earlier and not earlier.keys() == answers.keys():
        raise UserError(
            f"{name}: returns {next(iter(answers))}, but the models before it return {next(iter(earlier))}; give"
            " models with the same kind of output"
        )
    for key, answer in answers.items():
        if earlier and answer.shape != earlier[key].shape[1:]:
            raise UserError(
                f"{name}: returns {answer.shape[1]} classes, but the models before it return"
                f" {earlier[key].shape[2]}; give models with the same classes"
            )


def _check_new(answers: np.ndarray, name: str, seen: dict[bytes, str]) -> None:
    """Refuses a model that answers exactly as another: its copy would be used as its reference."""
    digest = answer_digest(answers)
    if digest in seen:
        raise UserError(f"weights: {seen[digest]} and {name} give exactly the same answers; leave the copy out")
    seen[digest] = name
