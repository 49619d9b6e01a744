"""Signals: what the models of one release say of the audit data.

The `.npz` with these keys is the exchange format: bring your own predictions, and every attack runs
on them. The store keeps one `.npy` per key and model instead.

Models answer in one of three forms, and each is kept as it was given: `logits`, class `probabilities`, or `predicted`
classes alone, which `correctness` needs and no other attack can use.
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
from pruneaudit.signals.checks import (
    check_copies,
    check_holdout,
    check_labels,
    check_names,
    check_queries,
    check_shapes,
    check_victims,
)
from pruneaudit.signals.derived import correct, scaled_confidence
from pruneaudit.signals.npz import read_npz
from pruneaudit.signals.probabilities import is_floored, limits, logit

_MISSING = np.empty(0)
"""Stands for an array that must be given; dataclasses want a default after the optional `logits`."""


@dataclass(frozen=True, eq=False)
class Signals:
    """Outputs of M models on N samples, and who was trained on what.

    Raises:
        UserError: shapes do not fit, numbers are not finite, labels are out of range, something else stands in the
            place of logits or probabilities, two models answer alike, or a victim has no member or no non-member; the
            message says how to mend it.

    Example:
        >>> p = np.array([[[0.9, 0.1], [0.6, 0.4]]])  # one model, two samples, two classes
        >>> member = np.array([[True, False]])
        >>> signals = pruneaudit.Signals(probabilities=p, labels=np.array([0, 1]), member=member)
        >>> signals.phi[0, :, 0].round(3).tolist()
        [2.197, -0.405]
    """

    logits: np.ndarray | None = None
    """(M, N, C) float: plain query, before the softmax. Log-probabilities serve too, with -inf for 0. One logit for two
    classes, (M, N) or (M, N, 1), is that of class 1 and is kept as [0, z]."""
    labels: np.ndarray = field(default_factory=lambda: _MISSING)
    """(N,) int in 0..C-1."""
    member: np.ndarray = field(default_factory=lambda: _MISSING)
    """(M, N) bool: the sample was in the model's training set."""
    eligible: np.ndarray | None = None
    """(M, N) bool: the sample may be scored for the model; default: all."""
    is_victim: np.ndarray | None = None
    """(M,) bool: the model is attacked; default: all."""
    group: np.ndarray | None = None
    """(M,) int: victims and references of one group belong together; default: one group."""
    confidence: np.ndarray | None = None
    """(M, N, Q) float: logit-scaled true-class confidence per query; query 0 is the plain one."""
    correct: np.ndarray | None = None
    """(M, N, Q) bool: the highest logit is the label's, per query."""
    sensitivity: np.ndarray | None = None
    """(M, N, C) float: mean change of each class's probability under small input noise."""
    canary: np.ndarray | None = None
    """(N,) bool: planted to be memorised; kept out of ordinary findings."""
    copy: np.ndarray | None = None
    """(N,) bool: the same x as another sample, which is scored in its place; never scored itself, and no holdout."""
    ids: np.ndarray | None = None
    """(N,) int or str, unique: what scores are joined by; default: 0..N-1."""
    model_ids: np.ndarray | None = None
    """(M,) int or str, unique; default: 0..M-1."""
    probabilities: np.ndarray | None = None
    """(M, N, C) float in [0, 1], in the place of logits: what a softmax, a forest or a service says. One probability
    for two classes, (M, N) or (M, N, 1), is that of class 1 and is kept as [1 - p, p]."""
    predicted: np.ndarray | None = None
    """(M, N) int in the place of logits: the predicted class, all that label-only access tells."""
    resolution: np.ndarray | None = None
    """(2,) float: the smallest step of the probabilities next to 0 and next to 1, or one number for both; default:
    found from the values. A true-class probability of 0 or 1 counts as half a step from it."""
    holdout: np.ndarray | None = None
    """(N,) bool: in no training set, never scored, and with no part in how the models came to be: what nulls are made
    of; default: all that are in no training set and never scored."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and value is not _MISSING:
                object.__setattr__(self, each.name, as_array(each.name, value))
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
        for name in ("member", "eligible", "is_victim", "correct", "canary", "copy", "holdout"):
            object.__setattr__(self, name, as_bool(name, getattr(self, name)))
        for name in ("confidence", "sensitivity"):
            object.__setattr__(self, name, as_floats(name, getattr(self, name)))
        check_queries(self)
        check_names(self)
        check_labels(self.labels, num_classes, form)
        self._keep(answers)
        check_victims(self)
        check_holdout(self)
        check_copies(self, the_form({name: getattr(self, name) for name in FORMS}))

    def _keep(self, answers: Answers) -> None:
        """Keeps what the models answered, in the form that it has once it is checked."""
        if answers.logits is not None:
            answers = from_logits(answers.logits, self.labels, self.model_names)
        elif answers.probabilities is not None:
            answers = from_probabilities(answers.probabilities, self.model_names)
        for name in FORMS:
            object.__setattr__(self, name, getattr(answers, name))
        resolution = None if answers.predicted is not None else self.resolution  # of predicted classes there is none
        object.__setattr__(self, "resolution", checked_resolution(resolution, answers.probabilities))

    @property
    def num_models(self) -> int:
        """M."""
        return self.member.shape[0]

    @property
    def num_samples(self) -> int:
        """N."""
        return self.member.shape[1]

    @cached_property
    def num_classes(self) -> int:
        """C; of predicted classes alone: one more than the highest number that occurs."""
        if self.predicted is not None:
            return int(max(self.predicted.max(), self.labels.max())) + 1
        answers = self.probabilities if self.logits is None else self.logits
        assert answers is not None  # one of the three forms is there
        return int(answers.shape[2])

    @property
    def num_queries(self) -> int:
        """Q, 1 where no `confidence` is given."""
        return 1 if self.confidence is None else self.confidence.shape[2]

    @cached_property
    def victims(self) -> np.ndarray:
        """Rows of the models that are attacked, (V,) int."""
        return np.arange(self.num_models) if self.is_victim is None else np.flatnonzero(self.is_victim)

    @cached_property
    def groups(self) -> np.ndarray:
        """(M,) int: the group of each model."""
        return np.zeros(self.num_models, dtype=int) if self.group is None else self.group

    @cached_property
    def canaries(self) -> np.ndarray:
        """(N,) bool: which samples are canaries."""
        return np.zeros(self.num_samples, dtype=bool) if self.canary is None else self.canary

    @cached_property
    def copies(self) -> np.ndarray:
        """(N,) bool: which samples are copies of another."""
        return np.zeros(self.num_samples, dtype=bool) if self.copy is None else self.copy

    @property
    def counted(self) -> np.ndarray:
        """(N,) bool: what statistics over samples count: no canaries, and one of each group of copies."""
        return ~self.canaries & ~self.copies

    @property
    def trained_alike(self) -> bool:
        """Whether there are several models, and all have one training set."""
        return self.num_models > 1 and bool((self.member == self.member[0]).all())

    @cached_property
    def scored(self) -> np.ndarray:
        """(M, N) bool: which samples may be scored for which model, canaries included."""
        eligible = np.ones(self.member.shape, dtype=bool) if self.eligible is None else self.eligible
        return eligible if self.copy is None else eligible & ~self.copy

    @cached_property
    def ordinary(self) -> np.ndarray:
        """(M, N) bool: what ordinary findings count: eligible and no canary."""
        return self.scored & ~self.canaries

    @cached_property
    def unseen(self) -> np.ndarray:
        """(N,) bool: samples that no model was trained on and that are never scored: holdout and public ones."""
        return np.asarray(~self.scored.any(axis=0) & ~self.member.any(axis=0) & ~self.copies)

    @cached_property
    def nulls(self) -> np.ndarray:
        """(N,) bool: the holdout, of which nulls are made."""
        return self.unseen if self.holdout is None else self.unseen & self.holdout

    @cached_property
    def sample_ids(self) -> np.ndarray:
        """(N,): what scores are joined by."""
        return np.arange(self.num_samples) if self.ids is None else self.ids

    @cached_property
    def model_names(self) -> np.ndarray:
        """(M,): the ids of the models."""
        return np.arange(self.num_models) if self.model_ids is None else self.model_ids

    @cached_property
    def phi(self) -> np.ndarray:
        """(M, N, Q) float64: `confidence`, or the plain query's from the answers."""
        if self.confidence is not None:
            return self.confidence.astype(np.float64)
        return np.stack([self.plain_phi(row) for row in range(self.num_models)])[..., None]

    def plain_phi(self, row: int, samples: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Phi of the plain query, (n,) float64, of one model at some samples.

        Raises:
            UserError: predicted classes are all that is known.
        """
        labels = self.labels[samples]
        if self.probabilities is None or self.resolution is None:
            return scaled_confidence(self.logits_of(row, samples), labels)
        return logit(self.probabilities[row, samples][np.arange(len(labels)), labels], self.resolution)

    def logits_of(self, row: int, samples: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Logits (n, C) of one model at some samples; of probabilities their logarithms, a 0 half a step above it.

        Raises:
            UserError: predicted classes are all that is known.
        """
        if self.logits is not None:
            return np.asarray(self.logits[row, samples])
        if self.probabilities is None or self.resolution is None:
            raise UserError("predicted: predicted classes alone have no confidence; give logits or probabilities")
        return np.log(np.clip(self.probabilities[row, samples].astype(np.float64), limits(self.resolution)[0], 1))

    @cached_property
    def floored(self) -> np.ndarray:
        """(M, N) bool: where the true class's probability is too close to 0 or 1 to be told from it."""
        if self.probabilities is None or self.resolution is None:
            return np.zeros(self.member.shape, dtype=bool)
        return is_floored(self.probabilities[:, np.arange(self.num_samples), self.labels], self.resolution)

    @cached_property
    def is_correct(self) -> np.ndarray:
        """(M, N) bool: whether the plain query is classified as labelled."""
        if self.correct is not None:
            return self.correct[..., 0]
        if self.predicted is not None:
            return np.asarray(self.predicted == self.labels)
        answers = self.logits if self.probabilities is None else self.probabilities
        assert answers is not None  # one of the three forms is there
        return np.stack([correct(row, self.labels) for row in answers])

    def with_resolution(self, resolution: np.ndarray) -> Signals:
        """The same signals with another resolution (2,) of their probabilities."""
        other = shallow_copy(self)
        for name in ("phi", "floored"):
            other.__dict__.pop(name, None)
        object.__setattr__(other, "resolution", resolution)
        return other

    def take_models(self, rows: np.ndarray) -> Signals:
        """The signals of some of the models, every one a victim.

        Args:
            rows: (K,) int, which models.
        """
        values: dict[str, Any] = {name: getattr(self, name) for name in ("labels", "canary", "copy", "resolution")}
        values["ids"] = self.sample_ids
        values["holdout"] = self.nulls  # fewer models must not turn samples of the others into nulls
        for name in ("member", "eligible", "group", "confidence", "correct", "sensitivity"):
            value = getattr(self, name)
            values[name] = None if value is None else value[rows]
        taken = object.__new__(_SomeModels)  # a part of checked signals needs no second check
        taken.__dict__.update(whole=self, rows=rows, num_classes=self.num_classes)
        for name, value in {**values, "is_victim": None, "model_ids": self.model_names[rows]}.items():
            object.__setattr__(taken, name, value)
        return taken

    @classmethod
    def load(cls, path: str | Path) -> Signals:
        """Signals from an `.npz` in the exchange format.

        Raises:
            UserError: the file cannot be read, holds pickled objects, or lacks or misnames a key.
        """
        path = Path(path)
        arrays = read_npz(path, [each.name for each in fields(cls)], ("labels", "member"), FORMS)
        try:
            return cls(**arrays)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None

    def save(self, path: str | Path) -> None:
        """Writes the exchange format, `.npz`, compressed."""
        arrays: Mapping[str, np.ndarray] = {
            each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name) is not None
        }
        np.savez_compressed(Path(path), **arrays)  # type: ignore[arg-type]


class _SomeModels(Signals):
    """Some of the models of other signals; their answers are copied when they are looked at, which few attacks do."""

    whole: Signals
    rows: np.ndarray

    def __new__(cls, **values: Any) -> Signals:  # type: ignore[misc]
        """What `dataclasses.replace` makes of them: signals of their own, answers and all."""
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
    def unseen(self) -> np.ndarray:
        """(N,) bool: of all the models."""
        return self.whole.unseen

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
