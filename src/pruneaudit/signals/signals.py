"""Signals: what the models of one release say of the population.

The `.npz` with these keys is the exchange format: bring your own predictions, and every attack runs
on them. The store keeps one `.npy` per key and model instead.
"""

# M models, N samples, C classes, Q queries

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pruneaudit.errors import UserError
from pruneaudit.signals.derived import correct, scaled_confidence


@dataclass(frozen=True, eq=False)
class Signals:
    """Outputs of M models on N samples, and who was trained on what.

    Raises:
        UserError: shapes do not fit, numbers are not finite, labels are out of range, or a victim
            has no member or no non-member; the message says how to mend it.
    """

    logits: np.ndarray
    """(M, N, C) float: plain query, before the softmax (log-probabilities serve too)."""
    labels: np.ndarray
    """(N,) int in 0..C-1."""
    member: np.ndarray
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
    """(N,) bool: the same x as another sample, which is scored in its place; never scored itself, and no reserve."""
    ids: np.ndarray | None = None
    """(N,) int or str, unique: what scores are joined by; default: 0..N-1."""
    model_ids: np.ndarray | None = None
    """(M,) int or str, unique; default: 0..M-1."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not isinstance(value, np.ndarray):
                object.__setattr__(self, field.name, _as_array(field.name, value))
        self._check_shapes()
        for name in ("member", "eligible", "is_victim", "correct", "canary", "copy"):
            object.__setattr__(self, name, _as_bool(name, getattr(self, name)))
        for name in ("logits", "confidence", "sensitivity"):
            object.__setattr__(self, name, _as_float32(name, getattr(self, name)))
        self._check_no_probabilities()
        self._check_queries()
        self._check_labels()
        if self.group is not None and self.group.dtype.kind not in "iu":
            raise UserError(
                f"group: got {self.group.dtype}, expected one integer per model; number the groups 0, 1, ..."
            )
        for name, axis in (("ids", "sample"), ("model_ids", "model")):
            values = getattr(self, name)
            if values is not None and (values.dtype.kind not in "iuU" or len(np.unique(values)) != len(values)):
                raise UserError(f"{name}: expected one different integer or text per {axis}; number them 0, 1, 2, ...")
        self._check_victims()

    def _check_shapes(self) -> None:
        if self.logits.ndim != 3 or self.logits.shape[2] < 2 or 0 in self.logits.shape:
            raise UserError(
                f"logits: got shape {self.logits.shape}, expected (models, samples, classes) with 2 classes or more;"
                " for one model use logits[None]"
            )
        num_models, num_samples, num_classes = self.logits.shape
        expected: dict[str, tuple[int | None, ...]] = {
            "labels": (num_samples,),
            "member": (num_models, num_samples),
            "eligible": (num_models, num_samples),
            "is_victim": (num_models,),
            "group": (num_models,),
            "confidence": (num_models, num_samples, None),
            "correct": (num_models, num_samples, None),
            "sensitivity": (num_models, num_samples, num_classes),
            "canary": (num_samples,),
            "copy": (num_samples,),
            "ids": (num_samples,),
            "model_ids": (num_models,),
        }
        for name, shape in expected.items():
            value = getattr(self, name)
            if value is None:
                continue
            fits = value.ndim == len(shape) and all(e in (None, g) for g, e in zip(value.shape, shape, strict=True))
            if not fits or 0 in value.shape:
                words = ", ".join("queries" if size is None else str(size) for size in shape)
                raise UserError(
                    f"{name}: got shape {value.shape}, expected ({words}) to fit logits {self.logits.shape}"
                )

    def _check_labels(self) -> None:
        if self.labels.dtype.kind not in "iu":
            raise UserError(f"labels: got {self.labels.dtype}, expected integers; use labels.astype(int)")
        lowest, highest = int(self.labels.min()), int(self.labels.max())
        if lowest < 0 or highest >= self.num_classes:
            raise UserError(
                f"labels: got {lowest}..{highest}, expected 0..{self.num_classes - 1} (logits have"
                f" {self.num_classes} classes); number the classes from 0"
            )

    def _check_victims(self) -> None:
        if not len(self.victims):
            raise UserError("is_victim: no model is a victim; mark at least one")
        for row in self.victims:
            scored = self.member[row][self.ordinary[row]]
            if not scored.any() or scored.all():
                lacking = "member" if not scored.any() else "non-member"
                raise UserError(
                    f"victim {self.model_names[row]}: no {lacking} among its eligible samples; an audit needs both,"
                    " so add samples or mark the model is_victim = False"
                )

    def _check_no_probabilities(self) -> None:
        """Probabilities in the place of logits would be attacked as if they were logits, and look private."""
        for row, name in zip(self.logits, self.model_names, strict=True):
            if row.min() >= 0 and np.allclose(row.sum(axis=1, dtype=np.float64), 1, atol=1e-3):
                raise UserError(
                    f"logits: got probabilities for model {name} (rows sum to 1), expected values before the softmax;"
                    " use numpy.log"
                )

    def _check_queries(self) -> None:
        """What is given of several queries must agree with each other, and a mean of absolute changes be one."""
        if self.sensitivity is not None and self.sensitivity.min() < 0:
            raise UserError("sensitivity: got negative values, expected mean absolute changes (0 or more)")
        if self.confidence is None or self.correct is None:
            return
        if self.correct.shape != self.confidence.shape:
            raise UserError(
                f"correct: got shape {self.correct.shape} beside confidence {self.confidence.shape},"
                " expected as many; give both for the same queries"
            )

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
        """C."""
        return self.logits.shape[2]

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
    def reserve(self) -> np.ndarray:
        """(N,) bool: samples that no model was trained on and that are never scored."""
        return np.asarray(~self.scored.any(axis=0) & ~self.member.any(axis=0) & ~self.copies)

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
        """(M, N, Q) float64: `confidence`, or the plain query's computed from the logits."""
        if self.confidence is not None:
            return self.confidence.astype(np.float64)
        return np.stack([scaled_confidence(row, self.labels) for row in self.logits])[..., None]

    @cached_property
    def is_correct(self) -> np.ndarray:
        """(M, N) bool: whether the plain query is classified as labelled."""
        if self.correct is not None:
            return self.correct[..., 0]
        return np.stack([correct(row, self.labels) for row in self.logits])

    def take_models(self, rows: np.ndarray) -> Signals:
        """The signals of some of the models, every one a victim.

        Args:
            rows: (K,) int, which models.
        """
        values: dict[str, Any] = {
            "labels": self.labels,
            "canary": self.canary,
            "copy": self.copy,
            "ids": self.sample_ids,
        }
        for name in ("member", "eligible", "group", "confidence", "correct", "sensitivity"):
            value = getattr(self, name)
            values[name] = None if value is None else value[rows]
        taken = object.__new__(_SomeModels)  # a part of checked signals needs no second check
        taken.__dict__.update(whole=self, rows=rows, num_classes=self.num_classes)
        for name, value in {**values, "is_victim": None, "model_ids": self.model_names[rows]}.items():
            object.__setattr__(taken, name, value)
        taken.__dict__["phi"] = self.phi[rows]
        return taken

    @classmethod
    def load(cls, path: str | Path) -> Signals:
        """Signals from an `.npz` in the exchange format.

        Raises:
            UserError: the file cannot be read, holds pickled objects, or lacks or misnames a key.
        """
        path = Path(path)
        arrays = _read(path)
        try:
            return cls(**arrays)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None

    def save(self, path: str | Path) -> None:
        """Writes the exchange format, `.npz`, compressed."""
        arrays: Mapping[str, np.ndarray] = {
            field.name: getattr(self, field.name) for field in fields(self) if getattr(self, field.name) is not None
        }
        np.savez_compressed(Path(path), **arrays)  # type: ignore[arg-type]


class _SomeModels(Signals):
    """Some of the models of other signals; their logits are copied when they are looked at, which few attacks do."""

    whole: Signals
    rows: np.ndarray

    @cached_property
    def logits(self) -> np.ndarray:
        """(M, N, C) float32."""
        return self.whole.logits[self.rows]


def _read(path: Path) -> dict[str, np.ndarray]:
    """What an `.npz` holds under the keys of the exchange format, not yet checked for sense."""
    known = sorted(field.name for field in fields(Signals))
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise UserError(f"{path}: expected an .npz with logits, labels and member; write it with numpy.savez")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                unknown = sorted(set(archive.files) - set(known))
                lacking = sorted({"logits", "labels", "member"} - set(archive.files))
                if unknown or lacking:
                    problem = f"unknown key '{unknown[0]}'" if unknown else f"key '{lacking[0]}' is missing"
                    raise UserError(f"{path}: {problem}; known keys: {', '.join(known)}")
                return {name: archive[name] for name in archive.files}
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); expected an .npz file") from None
    except Exception as error:  # a damaged archive raises anything from zlib.error to NotImplementedError
        text = str(error) or type(error).__name__
        reason = "pickled objects are refused" if "pickle" in text else text
        raise UserError(f"{path}: not a usable .npz ({reason}); write it with numpy.savez") from None


def _as_array(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError:
        raise UserError(f"{name}: got lists of unequal lengths, expected a regular array") from None


def _as_bool(name: str, value: np.ndarray | None) -> np.ndarray | None:
    if value is None or value.dtype == bool:
        return value
    if value.dtype.kind not in "iuf" or not np.isin(value, (0, 1)).all():
        raise UserError(f"{name}: got {value.dtype} with other values than 0 and 1, expected bool")
    return value.astype(bool)


def _as_float32(name: str, value: np.ndarray | None) -> np.ndarray | None:
    if value is None:
        return None
    if value.dtype.kind not in "fiu":
        raise UserError(f"{name}: got {value.dtype}, expected numbers")
    for row, block in enumerate(value):
        if not np.isfinite(block).all():
            raise UserError(f"{name}: NaN or infinity for model {row}; leave that model out or mend its outputs")
    with np.errstate(over="ignore"):
        result = value.astype(np.float32, copy=False)
    if result is not value and not all(np.isfinite(block).all() for block in result):
        raise UserError(f"{name}: values beyond float32's range (3.4e38); rescale them")
    return result
