"""The roles of samples and models in an audit: members, canaries, copies, holdout, victims. The base of `Signals`."""

# M models, N samples

from __future__ import annotations

from functools import cached_property

import numpy as np

from pruneaudit.data.audit_data import holdout_halves
from pruneaudit.signals.left_out import placebo_rows


class Roles:
    """The roles of M models and N samples, from the arrays that `Signals` describes."""

    member: np.ndarray
    eligible: np.ndarray | None
    is_victim: np.ndarray | None
    group: np.ndarray | None
    canary: np.ndarray | None
    copy: np.ndarray | None
    ids: np.ndarray | None
    model_ids: np.ndarray | None
    holdout: np.ndarray | None
    unknown: np.ndarray | None
    placebo: np.ndarray | None

    @property
    def num_models(self) -> int:
        """M."""
        return self.member.shape[0]

    @property
    def num_samples(self) -> int:
        """N."""
        return self.member.shape[1]

    @cached_property
    def victims(self) -> np.ndarray:
        """Rows of the models that are attacked, (V,) int; none in a file of references, which saw no audited sample."""
        if self.is_victim is None:
            return np.arange(self.num_models if (self.member & self.ordinary).any() else 0)
        return np.flatnonzero(self.is_victim)

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
        """(N,) bool: the samples that statistics count: no canaries, one of each group of copies, none left out."""
        return ~self.canaries & ~self.copies & ~self.left_out

    @cached_property
    def placebos(self) -> np.ndarray:
        """(N,) bool: which samples are placebo rows."""
        return np.zeros(self.num_samples, dtype=bool) if self.placebo is None else placebo_rows(self.placebo)

    @cached_property
    def left_out(self) -> np.ndarray:
        """(N,) bool: samples of unknown membership, and placebo rows; no audit counts them."""
        return self.placebos if self.unknown is None else self.placebos | self.unknown

    @property
    def trained_alike(self) -> bool:
        """Whether there are several models, all with the same training set."""
        return self.num_models > 1 and bool(((self.member == self.member[0]) | self.left_out).all())

    @cached_property
    def scored(self) -> np.ndarray:
        """(M, N) bool: which samples can be scored for which model, canaries included."""
        eligible = np.ones(self.member.shape, dtype=bool) if self.eligible is None else self.eligible
        return eligible if self.copy is None else eligible & ~self.copy

    @cached_property
    def ordinary(self) -> np.ndarray:
        """(M, N) bool: the samples that ordinary findings count: eligible, and not a canary."""
        return self.scored & ~self.canaries

    @cached_property
    def unseen(self) -> np.ndarray:
        """(N,) bool: samples that no model was trained on and that are never scored: holdout and public ones."""
        return np.asarray(~self.scored.any(axis=0) & ~self.member.any(axis=0) & ~self.copies & ~self.left_out)

    @property
    def untouched(self) -> np.ndarray:
        """(N,) bool: samples that did not influence these models, scored or not."""
        found = ~self.member.any(axis=0) & ~self.left_out
        return found if self.holdout is None else found & self.holdout

    @property
    def untouched_holdout(self) -> np.ndarray:
        """(N,) bool: the holdout, both halves."""
        return self.unseen if self.holdout is None else self.unseen & self.holdout

    @cached_property
    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        """`fitting` and `nulls`."""
        return holdout_halves(self.untouched_holdout, self.sample_ids)

    @property
    def fitting(self) -> np.ndarray:
        """(N,) bool: half A of the holdout, on which attacks fit."""
        return self.halves[0]

    @property
    def nulls(self) -> np.ndarray:
        """(N,) bool: half B of the holdout, which provides nulls."""
        return self.halves[1]

    @cached_property
    def sample_ids(self) -> np.ndarray:
        """(N,): the ids that join scores."""
        return np.arange(self.num_samples) if self.ids is None else self.ids

    @cached_property
    def model_names(self) -> np.ndarray:
        """(M,): the ids of the models."""
        return np.arange(self.num_models) if self.model_ids is None else self.model_ids
