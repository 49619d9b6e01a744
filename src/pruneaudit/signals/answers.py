"""Models' answers in one of three forms: logits, class probabilities, or only predicted classes.

Each form is kept as given. Values under the wrong key are refused, and the message names the right key.
"""

# M models, N samples, C classes

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.signals.arrays import as_floats
from pruneaudit.signals.probabilities import resolution_of
from pruneaudit.signals.recognised import Recognised, is_one_probability, recognised, sums_above_one

FORMS = ("logits", "probabilities", "predicted")
ROUNDING = 1e-5
"""Largest rounding error of a probability below 0 or above 1."""
FEW_ROWS = 0.01
"""Largest share of rows that may sum to more than 1; a few rows can be damaged."""
LEAST_SUM = 0.5
"""Least sum of most rows of probabilities: a service may return only the largest few."""


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of M models to N samples, in one of the forms."""

    logits: np.ndarray | None = None
    """(M, N, C) float32, finite."""
    probabilities: np.ndarray | None = None
    """(M, N, C) float32 or float64, in [0, 1]."""
    predicted: np.ndarray | None = None
    """(M, N) int."""


def the_form(given: dict[str, np.ndarray | None]) -> str:
    """The one form that is given.

    Raises:
        UserError: none is given, or several are.
    """
    forms = [name for name in FORMS if given[name] is not None]
    if len(forms) == 1:
        return forms[0]
    if not forms:
        raise UserError(
            "logits: missing; give logits or probabilities (models, samples, classes), or predicted (models, samples)"
        )
    raise UserError(f"got {' and '.join(forms)}, expected one of them; leave out {forms[-1]}")


def by_class(name: str, values: np.ndarray, labels: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Answers (M, N, C) in numbers; one output for two classes becomes [0, z] or [1 - p, p].

    Args:
        name: `logits` or `probabilities`.
        values: (M, N, C); or (M, N, 1) or (M, N) for two classes.
        labels: (N,).
        member: (M, N), which tells (M, N) from (N, C).

    Raises:
        UserError: another shape; not numbers; or a single output that is not a logit.
    """
    is_single = values.shape[-1:] == (1,) if values.ndim == 3 else values.ndim == 2 and values.shape == member.shape
    if 0 in values.shape or not (values.ndim == 3 or is_single):
        raise UserError(
            f"{name}: got shape {values.shape}, expected (models, samples, classes) with 2 classes or more, or one"
            f" number for two classes (models, samples){_one_model(name, values, labels)}"
        )
    highest = int(labels.max()) if labels.dtype.kind in "iu" and labels.size else 1
    if is_single and highest > 1:
        raise UserError(
            f"{name}: got shape {values.shape}, one number per sample, which is enough for two classes only, but "
            f"labels go up to {highest}; expected (models, samples, {highest + 1})"
        )
    found: np.ndarray = as_floats(name, values, keep_double=name == "probabilities", log_zero=name == "logits")
    if not is_single:
        return found
    one = found.reshape(found.shape[:2])
    if name == "probabilities":
        return np.stack([1 - one, one], axis=-1)
    for row, model in enumerate(one):
        if not np.isfinite(model).all():
            raise UserError(f"logits: NaN or infinity for model {row}; leave that model out or fix its outputs")
        if kind := is_one_probability(model):
            dividing = " divided by 100" if kind == "percent" else ""
            raise UserError(
                f"logits: got {kind} for model {row} (one number per sample, from {model.min():.3g} to"
                f" {model.max():.3g}), expected logits of class 1; give them{dividing} as `probabilities`"
            )
    return np.stack([np.zeros_like(one), one], axis=-1)


def _one_model(name: str, values: np.ndarray, labels: np.ndarray) -> str:
    """The remedy for answers (N, C) of one model; empty for others."""
    return f"; for one model use {name}[None]" if values.ndim == 2 and values.shape[0] == labels.size else ""


def from_logits(logits: np.ndarray, labels: np.ndarray, names: np.ndarray) -> Answers:
    """Checked answers from logits (M, N, C), in which -inf means a probability of 0.

    Log-probabilities with -inf are converted back to probabilities. In other logits, -inf becomes the lowest finite
    number, which also has probability 0 but avoids NaN.

    Raises:
        UserError: they are not logits, or -inf is the label's value or all other classes'.
    """
    kinds = []
    for name, rows in zip(names, logits, strict=True):
        found = recognised(rows)
        if found.kind not in ("logits", "log-probabilities"):
            _refuse_as_logits(name, found)
        kinds.append(found.kind)
    with_zeros = [row for row, rows in enumerate(logits) if np.isneginf(rows).any()]
    if not with_zeros:
        return Answers(logits=logits)
    if set(kinds) == {"log-probabilities"}:
        return from_probabilities(np.exp(logits), names)
    for row in with_zeros:
        finite = np.isfinite(logits[row])  # (N, C)
        broken = ~finite[np.arange(len(labels)), labels] | (finite.sum(axis=1) < 2)
        if broken.any():
            raise UserError(
                f"logits: -inf for model {names[row]} at sample {int(np.flatnonzero(broken)[0])}, for its label or for"
                f" all other classes ({int(broken.sum()):,} samples); expected finite logits there; or give class"
                " probabilities, which can be 0, as `probabilities`"
            )
    return Answers(logits=np.maximum(logits, np.finfo(logits.dtype).min))


def _refuse_as_logits(name: object, found: Recognised) -> NoReturn:
    share = f"{found.share:.1%}" if found.share < 1 else "all"
    if found.kind == "hard labels":
        problem = f"hard labels for model {name} ({share} of its rows are a single 1)"
        advice = "give the classes as `predicted`, logits.argmax(-1)"
    elif found.kind == "probabilities":
        problem = f"probabilities for model {name} ({share} of its rows sum to 1)"
        advice = "give them as `probabilities`"
    else:
        problem = f"parts of {found.total:g} for model {name} ({share} of its rows sum to {found.total:g})"
        advice = f"divide by {found.total:g} and give them as `probabilities`"
    raise UserError(f"logits: got {problem}, expected values before the softmax; {advice}")


def from_probabilities(probabilities: np.ndarray, names: np.ndarray) -> Answers:
    """Checked answers from class probabilities (M, N, C); only zeros and ones are predicted classes.

    Raises:
        UserError: they are not probabilities.
    """
    for name, rows in zip(names, probabilities, strict=True):
        _check_probabilities(name, rows)
    if np.isin(probabilities, (0, 1)).all() and (probabilities.sum(axis=2) == 1).all():
        return Answers(predicted=probabilities.argmax(axis=2))
    beyond = probabilities.min() < 0 or probabilities.max() > 1
    return Answers(probabilities=probabilities.clip(0, 1) if beyond else probabilities)


def _check_probabilities(name: object, rows: np.ndarray) -> None:
    """Checks the answers (N, C) of one model."""
    lowest, highest = float(rows.min()), float(rows.max())
    if lowest < -ROUNDING or highest > 1 + ROUNDING:
        found = recognised(rows)
        advice = {
            "log-probabilities": "give logarithms of probabilities as `logits`",
            "parts": f"divide by {found.total:g}",
        }.get(found.kind, "give values before the softmax as `logits`")
        raise UserError(f"probabilities: got {lowest:.3g} to {highest:.3g} for model {name}, expected 0 to 1; {advice}")
    above = float(sums_above_one(rows).mean())
    if above > FEW_ROWS:
        raise UserError(
            f"probabilities: {above:.1%} of the rows of model {name} sum to more than 1, expected one probability per"
            " class; divide each row by its sum, or give the inputs of a sigmoid per class as `logits`"
        )
    middle = float(np.median(rows.sum(axis=1, dtype=np.float64)))
    if middle < LEAST_SUM:
        raise UserError(
            f"probabilities: rows of model {name} sum to {middle:.3g} (median), expected 1; divide by {middle:.3g}"
        )


def from_predicted(predicted: np.ndarray) -> Answers:
    """Checked answers from predicted classes (M, N).

    Raises:
        UserError: they are not class numbers.
    """
    if predicted.ndim != 2 or 0 in predicted.shape:
        raise UserError(f"predicted: got shape {predicted.shape}, expected (models, samples): one class per answer")
    if predicted.dtype.kind not in "iu" or predicted.min() < 0:
        raise UserError(
            f"predicted: got {predicted.dtype} from {predicted.min()}, expected class numbers from 0 as integers"
            if predicted.dtype.kind in "iuf"
            else f"predicted: got {predicted.dtype}, expected class numbers from 0 as integers"
        )
    return Answers(predicted=predicted)


def checked_resolution(given: np.ndarray | None, probabilities: np.ndarray | None) -> np.ndarray | None:
    """The resolution (2,) of probabilities: as given, or found from the values; None without probabilities.

    Raises:
        UserError: it is not a step between 0 and 1, or there are no probabilities.
    """
    if probabilities is None:
        if given is not None:
            raise UserError("resolution: needs probabilities, but none are given; leave it out")
        return None
    if given is None:
        return resolution_of(probabilities)
    if given.dtype.kind not in "fiu" or given.shape not in ((), (2,)) or not ((given > 0) & (given <= 1)).all():
        raise UserError("resolution: expected the step next to 0 and next to 1, above 0 and at most 1, or one for both")
    return np.broadcast_to(given, (2,)).astype(np.float64)
