"""The input of an attack, and the scores that it returns."""

# V victims, K references, N samples

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.signals.signals import Signals


@dataclass(frozen=True, eq=False)
class AttackInput:
    """The victims and the references of one attack.

    Victims and references can differ in compression or defence (see the attacker's references), so
    each has separate signals. Both can come in several releases of the same models.
    """

    releases: tuple[Signals, ...]
    """The victims' signals, one per release, aligned by model id; the attacked release is the last."""
    references: tuple[Signals, ...]
    """The signals of the attacker's own models, release by release as above; empty without references."""
    victims: np.ndarray
    """(V,) int: rows of `releases` that are attacked."""
    allowed: np.ndarray
    """(V, K) bool: whether a reference may be used against a victim; never True for the victim itself."""

    @property
    def attacked(self) -> Signals:
        """The attacked release."""
        return self.releases[-1]

    @property
    def reference(self) -> Signals:
        """The references' counterpart of the attacked release."""
        return self.references[-1]

    @property
    def eligible(self) -> np.ndarray:
        """(V, N) bool: the samples that are scored, canaries included."""
        return self.attacked.scored[self.victims]

    @property
    def nulls(self) -> np.ndarray:
        """(N,) bool: half B of the holdout, without samples that influenced victims or references."""
        attacked = self.attacked.nulls
        return attacked & self.reference.untouched if self.references else attacked

    @property
    def fitting(self) -> np.ndarray:
        """(N,) bool: half A of the holdout, likewise; what an attack fits must not see the nulls."""
        attacked = self.attacked.fitting
        return attacked & self.reference.untouched if self.references else attacked

    @property
    def share_floored(self) -> float:
        """Share of the references' (without any: the victims') true-class probabilities that round to 0 or 1."""
        return float((self.reference if self.references else self.attacked).floored.mean())

    @classmethod
    def of(
        cls, releases: Sequence[Signals], references: Sequence[Signals], allowed: np.ndarray | None = None
    ) -> AttackInput:
        """An attack input of every victim of the attacked release.

        Args:
            releases: the victims' signals; the attacked release last.
            references: the references' signals, as many and in the same order; or none.
            allowed: (V, K) bool; default: references of the victim's group with another model id.

        Raises:
            UserError: the parts do not describe the same samples and models.
        """
        attacked = releases[-1]
        if references and len(references) != len(releases):
            raise UserError(
                f"references: got {len(references)} releases of references and {len(releases)} of victims, expected "
                f"equal numbers; give references for every release, or for none"
            )
        for other in (*releases[:-1], *references):
            _check_alike(other, attacked)
        for parts in (releases, references):
            for earlier in parts[:-1]:
                _check_paired(earlier, parts[-1])
        if references and _are_texts(references[-1]) != _are_texts(attacked):
            raise UserError("model_ids: got integers and texts; number all models, or name all of them")
        victims = attacked.victims
        if not len(victims):
            raise UserError(
                "signals: got no model with members among its eligible samples (canaries aside), expected at least one"
                " to attack; check `member`, `canary` and `is_victim` (references go into a file of their own)"
            )
        if allowed is None and references:
            same_model = attacked.model_names[victims][:, None] == references[-1].model_names[None, :]
            same_group = attacked.groups[victims][:, None] == references[-1].groups[None, :]
            allowed = same_group & ~same_model
        if allowed is None:
            allowed = np.zeros((len(victims), 0), dtype=bool)
        return cls(tuple(releases), tuple(references), victims, allowed)

    def changed(self, change: Callable[[Signals], Signals]) -> AttackInput:
        """The same attack input with other answers of the same models; each part is changed once."""
        parts = {id(part): part for part in (*self.releases, *self.references)}
        changed = {key: change(part) for key, part in parts.items()}
        releases, references = (tuple(changed[id(part)] for part in side) for side in (self.releases, self.references))
        return AttackInput(releases, references, self.victims, self.allowed)

    def among_references(self, rows: np.ndarray) -> AttackInput:
        """The same attack setting played on references only: each is a pseudo-victim of the others.

        Args:
            rows: (K',) int, the references to use.
        """
        taken = tuple(signals.take_models(rows) for signals in self.references)
        return AttackInput.of(taken, taken)


def _check_alike(other: Signals, attacked: Signals) -> None:
    """Refuses signals whose samples, labels or queries differ from those of the attacked release."""
    if other.num_samples != attacked.num_samples:
        raise UserError(
            f"references and releases must have the same samples: got {other.num_samples}, but"
            f" {attacked.num_samples} in the attacked release; give all of them the same samples"
        )
    if not np.array_equal(other.sample_ids, attacked.sample_ids):
        row = int(np.flatnonzero(other.sample_ids != attacked.sample_ids)[0])
        raise UserError(
            f"references and releases must have the same samples in the same order (compare `ids`): got sample "
            f"{other.sample_ids[row]} in the row where the attacked release has {attacked.sample_ids[row]}"
        )
    if not np.array_equal(other.labels, attacked.labels):
        raise UserError("references and releases disagree about labels; they must describe the same samples")
    says_classes = other.predicted is None and attacked.predicted is None  # else C is chance
    if (says_classes and other.num_classes != attacked.num_classes) or other.num_queries != attacked.num_queries:
        raise UserError(
            f"references and releases must have the same classes and queries: got {other.num_classes} classes and"
            f" {other.num_queries} queries, but {attacked.num_classes} and {attacked.num_queries} in the attacked"
            " release; give the same classes and the same queries to all"
        )


def _check_paired(earlier: Signals, last: Signals) -> None:
    """Refuses two releases of different models."""
    if not np.array_equal(earlier.model_names, last.model_names):
        raise UserError("paired releases must have the same models in the same order (compare `model_ids`)")
    if not np.array_equal(earlier.member, last.member):
        raise UserError("paired releases disagree about membership (`member`); they must be of the same models")


def _are_texts(signals: Signals) -> bool:
    return bool(signals.model_names.dtype.kind == "U")


@dataclass(frozen=True, eq=False)
class HeldOut:
    """References that a learned attack kept out of its training, in order to learn a threshold on them."""

    victims: np.ndarray
    """(V',) int, rows of the scores: the victims whose threshold may be learned here."""
    references: np.ndarray
    """(K',) int, rows of the references."""
    scores: np.ndarray
    """(K', N) float64 from the classifier that scored those victims; NaN where it trained on that row."""


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of an attack; NaN where a sample is not eligible or cannot be scored."""

    victims: np.ndarray
    """(V, N) float64, higher = more likely a member."""
    references: np.ndarray | None = None
    """(K, N) float64: the same score of each reference; only if it depends on one model alone."""
    variant: str = ""
    """The attack's settings in words, where its name does not determine them."""
    held_out: tuple[HeldOut, ...] | None = None
    """For learned attacks: scores to learn thresholds on, without further training."""
    threshold: float | None = None
    """A decision threshold fixed in advance; None: thresholds are learned."""
