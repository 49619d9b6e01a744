"""Signals: the predictions of one release's models on the audit data.

The `.npz` with these keys is the exchange format: bring your own predictions, and every attack can use
them. The store keeps one `.npy` per key and model instead.

Answers have one of three forms, and are kept as given: `logits`, class `probabilities`, or only `predicted`
classes. Predicted classes are enough only for the attack `correctness`.
"""

# M models, N samples, C classes, Q queries

from __future__ import annotations

from collections.abc import Mapping
from copy import copy as shallow_copy
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.metrics.arrays import for_each
from pruneaudit.signals.answers import (
    FORMS,
    Answers,
    by_class,
    checked_resolution,
    from_logits,
    from_predicted,
    from_probabilities,
    the_form,
)
from pruneaudit.signals.arrays import as_array, as_bool, as_floats
from pruneaudit.signals.bits import Bits, as_bits
from pruneaudit.signals.checks import (
    check_asked_alike,
    check_copies,
    check_holdout,
    check_labels,
    check_names,
    check_queries,
    check_shapes,
    check_victims,
)
from pruneaudit.signals.derived import correct, scaled_confidence
from pruneaudit.signals.left_out import check_inputs_auc, settled
from pruneaudit.signals.npz import read_npz
from pruneaudit.signals.probabilities import is_floored, limits, logit
from pruneaudit.signals.roles import Roles

_MISSING = np.empty(0)
"""Placeholder of a required array: dataclasses need a default after the optional `logits`."""


@dataclass(frozen=True, eq=False)
class Signals(Roles):
    """Outputs of M models on N samples, and the samples that each model was trained on.

    Raises:
        UserError: shapes do not fit, numbers are not finite, labels are out of range, values are not logits or
            probabilities, two models give the same answers, a victim has no member or no non-member, or members and
            non-members have different numbers of queries. The message names the remedy.

    Example:
        >>> p = np.array([[[0.9, 0.1], [0.6, 0.4]]])  # one model, two samples, two classes
        >>> member = np.array([[True, False]])
        >>> signals = pruneaudit.Signals(probabilities=p, labels=np.array([0, 1]), member=member)
        >>> signals.phi[0, :, 0].round(3).tolist()
        [2.197, -0.405]
    """

    logits: np.ndarray | None = None
    """(M, N, C) float: plain query, before the softmax. Log-probabilities also work, with -inf for 0. One logit for two
    classes, (M, N) or (M, N, 1), is that of class 1 and is kept as [0, z]."""
    labels: np.ndarray = field(default_factory=lambda: _MISSING)
    """(N,) int in 0..C-1."""
    member: np.ndarray = field(default_factory=lambda: _MISSING)
    """(M, N) bool: the sample was in the model's training set. NaN or -1 means unknown: then the sample is left out."""
    eligible: np.ndarray | None = None
    """(M, N) bool: the sample may be scored for the model; default: all."""
    is_victim: np.ndarray | None = None
    """(M,) bool: the model is attacked; default: all, or none if no model has members among the scored samples."""
    group: np.ndarray | None = None
    """(M,) int: victims and references of one group belong together; default: one group."""
    confidence: np.ndarray | None = None
    """(M, N, Q) float: logit-scaled true-class confidence per query; query 0 is the plain one."""
    correct: np.ndarray | None = None
    """(M, N, Q) bool: the highest logit is the label's, per query."""
    sensitivity: np.ndarray | None = None
    """(M, N, C) float: mean change of each class's probability under small input noise."""
    canary: np.ndarray | None = None
    """(N,) bool: planted to be memorised; not part of ordinary findings."""
    copy: np.ndarray | None = None
    """(N,) bool: the same x as another sample, which is scored instead; a copy is never scored and never holdout."""
    ids: np.ndarray | None = None
    """(N,) int or str, unique: the ids that join scores; default: 0..N-1."""
    model_ids: np.ndarray | None = None
    """(M,) int or str, unique; default: 0..M-1."""
    probabilities: np.ndarray | None = None
    """(M, N, C) float in [0, 1], instead of logits: the output of a softmax, a forest or a service. One probability
    for two classes, (M, N) or (M, N, 1), is that of class 1 and is kept as [1 - p, p]."""
    predicted: np.ndarray | None = None
    """(M, N) int, instead of logits: the predicted class, for label-only access."""
    resolution: np.ndarray | None = None
    """(2,) float: the smallest step of the probabilities next to 0 and next to 1, or one number for both; default:
    found from the values. A true-class probability of 0 or 1 is moved inwards by half a step."""
    holdout: np.ndarray | None = None
    """(N,) bool: in no training set, never scored, and not used to make any model. Attacks fit on half of these
    samples, and take their nulls from the other half. Default: all that are in no training set and never scored."""
    unknown: np.ndarray | None = None
    """(N,) bool: the sample's membership is unknown for a model, so it is neither scored nor holdout."""
    placebo: np.ndarray | None = None
    """(N,) or (M, N) int: 0, or the path of a sample that no model was trained on: 1 sent like members, 2 sent like
    others."""
    inputs_auc: np.ndarray | None = None
    """(3,) float: AUC of a classifier of members that sees only the inputs, and its interval; `collect` measures it."""
    features: np.ndarray | None = None
    """(N, F) float: numbers computed from the inputs alone, such as principal components; no network's answers."""
    forgotten: np.ndarray | None = None
    """(M, N) float: logit-scaled true-class confidence (phi) of a copy of each model that was trained further on half A
    of the holdout (`fitting`)."""
    start_saliency: np.ndarray | None = None
    """(M, N) float: how much a step on the sample, from the public initial weights, favours the weights that each
    network keeps over those that it lost, from `signals.start_saliency`."""
    structure: np.ndarray | Bits | None = None
    """(M, D) bool: which weights, or channels, each network keeps; bit j is the same weight in every model. It is kept
    packed, as `Bits`."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and value is not _MISSING and not isinstance(value, Bits):
                object.__setattr__(self, each.name, as_array(each.name, value, may_lack=each.name == "member"))
        form = the_form({name: getattr(self, name) for name in FORMS})
        for name in ("labels", "member"):
            if getattr(self, name) is _MISSING:
                raise UserError(f"{name}: missing; Signals needs labels (samples,) and member (models, samples)")
        if form == "predicted":
            answers = from_predicted(getattr(self, form))
            num_classes = None
        else:
            answers = Answers(**{form: by_class(form, getattr(self, form), self.labels, self.member)})
            num_classes = getattr(answers, form).shape[2]
        object.__setattr__(self, form, getattr(answers, form))
        check_shapes(self, form)
        check_inputs_auc(self.inputs_auc)
        for name, array in settled(self).items():
            object.__setattr__(self, name, array)
        for name in ("member", "eligible", "is_victim", "correct", "canary", "copy", "holdout"):
            object.__setattr__(self, name, as_bool(name, getattr(self, name)))
        for name in ("confidence", "sensitivity", "forgotten", "start_saliency"):
            object.__setattr__(self, name, as_floats(name, getattr(self, name)))
        object.__setattr__(self, "features", as_floats("features", self.features, each="sample"))
        object.__setattr__(self, "structure", as_bits("structure", self.structure))
        check_queries(self)
        check_names(self)
        check_labels(self.labels, num_classes, form)
        self._keep(answers)
        check_victims(self)
        check_asked_alike(self)
        check_holdout(self)
        check_copies(self, the_form({name: getattr(self, name) for name in FORMS}))

    def _keep(self, answers: Answers) -> None:
        """Keeps the checked answers."""
        if answers.logits is not None:
            answers = from_logits(answers.logits, self.labels, self.model_names)
        elif answers.probabilities is not None:
            answers = from_probabilities(answers.probabilities, self.model_names)
        for name in FORMS:
            object.__setattr__(self, name, getattr(answers, name))
        resolution = None if answers.predicted is not None else self.resolution  # predicted classes have none
        object.__setattr__(self, "resolution", checked_resolution(resolution, answers.probabilities))

    @cached_property
    def num_classes(self) -> int:
        """C; for predicted classes, one more than the highest number that occurs."""
        if self.predicted is not None:
            return int(max(self.predicted.max(), self.labels.max())) + 1
        answers = self.probabilities if self.logits is None else self.logits
        assert answers is not None  # one of the three forms is there
        return int(answers.shape[2])

    @property
    def num_queries(self) -> int:
        """Q; 1 without `confidence`."""
        return 1 if self.confidence is None else self.confidence.shape[2]

    @cached_property
    def phi(self) -> np.ndarray:
        """(M, N, Q) float64: `confidence`, or that of the plain query from the answers."""
        if self.confidence is not None:
            return self.confidence.astype(np.float64)
        found = np.empty((self.num_models, self.num_samples, 1))

        def compute(row: int) -> None:
            found[row, :, 0] = self.plain_phi(row)

        for_each(compute, self.num_models, found.size)
        return found

    def plain_phi(self, row: int, samples: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Phi of the plain query, (n,) float64, of one model at some samples.

        Raises:
            UserError: only predicted classes are known.
        """
        labels = self.labels[samples]
        if self.probabilities is None or self.resolution is None:
            return scaled_confidence(self.logits_of(row, samples), labels)
        return logit(self.probabilities[row, samples][np.arange(len(labels)), labels], self.resolution)

    def logits_of(self, row: int, samples: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Logits (n, C) of one model at some samples; for probabilities, their logarithms, with 0 as half a step.

        Raises:
            UserError: only predicted classes are known.
        """
        if self.logits is not None:
            return np.asarray(self.logits[row, samples])
        if self.probabilities is None or self.resolution is None:
            raise UserError("predicted: predicted classes have no confidence; give logits or probabilities")
        return np.log(np.clip(self.probabilities[row, samples].astype(np.float64), limits(self.resolution)[0], 1))

    @cached_property
    def floored(self) -> np.ndarray:
        """(M, N) bool: where the true class's probability is too close to 0 or 1 to be distinguished from it."""
        if self.probabilities is None or self.resolution is None:
            return np.zeros(self.member.shape, dtype=bool)
        return is_floored(self.probabilities[:, np.arange(self.num_samples), self.labels], self.resolution)

    @cached_property
    def is_correct(self) -> np.ndarray:
        """(M, N) bool: whether the plain query is classified correctly."""
        if self.correct is not None:
            return self.correct[..., 0]
        if self.predicted is not None:
            return np.asarray(self.predicted == self.labels)
        answers = self.logits if self.probabilities is None else self.probabilities
        assert answers is not None  # one of the three forms is there
        found = np.empty(self.member.shape, dtype=bool)

        def compare(row: int) -> None:
            found[row] = correct(answers[row], self.labels)

        for_each(compare, len(found), found.size)
        return found

    def with_resolution(self, resolution: np.ndarray) -> Signals:
        """The same signals with another resolution (2,) of their probabilities."""
        other = shallow_copy(self)
        for name in ("phi", "floored"):
            other.__dict__.pop(name, None)
        object.__setattr__(other, "resolution", resolution)
        return other

    def take_models(self, rows: np.ndarray) -> Signals:
        """Returns the signals of some of the models; each of them is a victim.

        Args:
            rows: (K,) int, which models.
        """
        shared = ("labels", "canary", "copy", "resolution", "unknown", "features")
        values: dict[str, Any] = {name: getattr(self, name) for name in shared}
        per_model = self.placebo is not None and self.placebo.ndim == 2
        values["placebo"] = self.placebo[rows] if per_model and self.placebo is not None else self.placebo
        values["ids"] = self.sample_ids
        values["holdout"] = self.untouched_holdout  # fewer models must not turn samples of the others into nulls
        copied = ("member", "eligible", "group", "confidence", "correct", "sensitivity", "forgotten", "start_saliency")
        for name in (*copied, "structure"):
            value = getattr(self, name)
            values[name] = None if value is None else value[rows]
        taken = object.__new__(_SomeModels)  # a part of checked signals needs no second check
        taken.__dict__.update(whole=self, rows=rows, num_classes=self.num_classes)
        for name, value in {**values, "is_victim": None, "model_ids": self.model_names[rows]}.items():
            object.__setattr__(taken, name, value)
        return taken

    @classmethod
    def load(cls, path: str | Path) -> Signals:
        """Reads signals from an `.npz` in the exchange format.

        Raises:
            UserError: the file cannot be read, contains pickled objects, or has a missing or unknown key.
        """
        path = Path(path)
        arrays = read_npz(path, [each.name for each in fields(cls)], ("labels", "member"), FORMS)
        try:
            return cls(**arrays)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None

    def save(self, path: str | Path) -> None:
        """Writes signals in the exchange format, a compressed `.npz`."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        arrays: Mapping[str, np.ndarray] = {
            name: np.asarray(value) for name, value in given.items() if value is not None
        }
        np.savez_compressed(Path(path), **arrays)  # type: ignore[arg-type]


class _SomeModels(Signals):
    """Some of the models of other signals; their answers are copied on access, which few attacks need."""

    whole: Signals
    rows: np.ndarray

    def __new__(cls, **values: Any) -> Signals:  # type: ignore[misc]
        """Builds separate, complete signals, for `dataclasses.replace`."""
        return Signals(**values) if values else object.__new__(cls)

    @cached_property
    def logits(self) -> np.ndarray | None:
        """(M, N, C) float32."""
        return None if self.whole.logits is None else self.whole.logits[self.rows]

    @cached_property
    def probabilities(self) -> np.ndarray | None:
        """(M, N, C) float."""
        return None if self.whole.probabilities is None else self.whole.probabilities[self.rows]

    @cached_property
    def predicted(self) -> np.ndarray | None:
        """(M, N) int."""
        return None if self.whole.predicted is None else self.whole.predicted[self.rows]

    @cached_property
    def victims(self) -> np.ndarray:
        """All of them, (M,) int."""
        return np.arange(self.num_models)

    @cached_property
    def unseen(self) -> np.ndarray:
        """(N,) bool: samples unseen by all models of the whole."""
        return self.whole.unseen

    @property
    def untouched(self) -> np.ndarray:
        """(N,) bool: samples that did not influence any model of the whole."""
        return self.whole.untouched

    @cached_property
    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        """The halves of the whole's holdout."""
        return self.whole.halves

    @cached_property
    def phi(self) -> np.ndarray:
        """(M, N, Q) float64."""
        return self.whole.phi[self.rows]

    def logits_of(self, row: int, samples: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Logits (n, C) of one model at some samples."""
        return self.whole.logits_of(self.rows[row], samples)

    def plain_phi(self, row: int, samples: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Phi of the plain query, (n,) float64, of one model at some samples."""
        return self.whole.plain_phi(self.rows[row], samples)

    def with_resolution(self, resolution: np.ndarray) -> Signals:
        """The same signals with another resolution (2,) of their probabilities."""
        other = super().with_resolution(resolution)
        other.__dict__["whole"] = self.whole.with_resolution(resolution)
        return other
