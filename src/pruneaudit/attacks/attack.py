"""The base classes of attacks."""

# V victims, K references, N samples, C classes

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, cast

import numpy as np

from pruneaudit.attacks.attack_input import AttackInput, Scores
from pruneaudit.core.options import Configured, Options, OptionsT
from pruneaudit.metrics.arrays import for_each
from pruneaudit.signals.signals import Signals
from pruneaudit.study.parts import MIN_HOLDOUT, SUFFICIENT_HOLDOUT


class Attack(Configured[OptionsT], ABC):
    """An attack: scores samples by how likely they are members. Its module gives idea, formula and paper.

    Example:
        >>> sorted(pruneaudit.ATTACKS.get("lira").needs)
        ['references']
    """

    semantics_version: ClassVar[int] = 1
    """Raised when the same options give different scores than before."""
    trains: ClassVar[bool] = False
    """Whether it trains a classifier, which takes minutes rather than seconds."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Inputs that it requires: `references`, `holdout` (half B), `fitting` (half A), `features`, `forgetting`,
    `sensitivity`, `two releases`, `structure`, `start_saliency`."""
    from_classes: ClassVar[bool] = False
    """Whether predicted classes are enough; other attacks need logits or probabilities."""
    finds_alike: ClassVar[bool] = True
    """Whether it finds members if the confidence rises equally in every class, as in the simulated banks of
    `sanity-check`. If not, only its false alarms are checked there."""
    standard: ClassVar[str] = "loss"
    """The attack that it is compared with in paired comparisons."""

    def __init__(self, options: OptionsT | None = None) -> None:
        self.options = cast(OptionsT, self.Options()) if options is None else options
        self.device = "cpu"
        """Where classifiers train and predict: `cpu`, `cuda` or `cuda:N`; other attacks ignore it."""

    def lacks(self, attack_input: AttackInput) -> str:
        """Returns in words the needs of this attack that the attack input lacks; empty if it lacks nothing."""
        if not self.from_classes and any(
            part.predicted is not None for part in (*attack_input.releases, *attack_input.references)
        ):
            return "logits or probabilities (predicted classes alone are enough for `correctness`)"
        if "references" in self.needs and not (attack_input.allowed.size and attack_input.allowed.any(axis=1).all()):
            return "reference models for every victim (other models in the file, or a file of them as references)"
        if self.compares_in and not _have_in_references(attack_input):
            return (
                "references that were trained on samples of the victims (under protocol 'disjoint' there are none:"
                " use mode=offline where the attack has it)"
            )
        if "two releases" in self.needs and len(attack_input.releases) < 2:
            return (
                "a second release of the victims, in addition to the attacked one (give several releases, and "
                "references for each of them or for none)"
            )
        if {"two releases", "references"} <= self.needs and len(attack_input.references) != len(attack_input.releases):
            return "references in as many releases as the victims"
        for need, half, samples in (("fitting", "A", attack_input.fitting), ("holdout", "B", attack_input.nulls)):
            if need in self.needs and (number := int(samples.sum())) < MIN_HOLDOUT:
                return (
                    f"at least {MIN_HOLDOUT} samples in half {half} of the holdout (samples that are `eligible` for no"
                    f" model, members of none, and not used to make any model), got {number}; {SUFFICIENT_HOLDOUT}"
                    " holdout samples are enough for both halves"
                )
        if "features" in self.needs and attack_input.attacked.features is None:
            return (
                "numbers computed from the inputs alone (key `features`, (samples, features)), such as principal "
                "components; studies and `collect` store them"
            )
        if "forgetting" in self.needs and attack_input.attacked.forgotten is None:
            return (
                "answers of copies of the networks, trained further on half A of the holdout (key `forgotten`, "
                "(models, samples)); only a study can make these copies"
            )
        if "start_saliency" in self.needs and attack_input.attacked.start_saliency is None:
            return (
                "the growth of kept weights by a step at public initial weights (key `start_saliency`, (models, "
                "samples)); a study computes it for pruned releases if training.init is shared or a file"
            )
        if "structure" in self.needs and (lack := self._lacking_structure(attack_input)):
            return lack
        if "sensitivity" in self.needs and any(
            part.sensitivity is None for part in (attack_input.attacked, attack_input.reference)
        ):
            return (
                "sensitivity signals of victims and references (key `sensitivity`, see pruneaudit.signals.sensitivity)"
            )
        return ""

    def fits(self, attack_input: AttackInput) -> bool:
        """Returns whether the attacked release is of the kind that this attack needs.

        In a bank, only some releases have an earlier release, or a structure; such attacks are played only on those.
        """
        if "two releases" in self.needs and len(attack_input.releases) < 2:
            return False
        if "start_saliency" in self.needs and attack_input.attacked.start_saliency is None:
            return False
        return not ("structure" in self.needs and self._lacking_structure(attack_input))

    def _lacking_structure(self, attack_input: AttackInput) -> str:
        """What an attack on structure lacks, in words; empty if nothing. References count only if it needs them."""
        references = attack_input.references[-1:] if "references" in self.needs else ()
        structures = [part.structure for part in (attack_input.attacked, *references)]
        sizes = [structure.shape[1] for structure in structures if structure is not None]
        if len(sizes) < len(structures):
            return (
                "bits that say which weights or channels each victim and each reference keeps (key `structure`, "
                "(models, bits)); releases with masks or with fewer channels have them"
            )
        if len(set(sizes)) > 1:
            return f"the same bits of victims and references (key `structure`), got {sizes[0]:,} and {sizes[1]:,} bits"
        return ""

    def num_trainings(self, attack_input: AttackInput) -> int:
        """Returns the number of networks to train for one score of a victim, in addition to the victim itself.

        That is the largest number of references that a victim has, or 0 for attacks without references.
        """
        return int(attack_input.allowed.sum(axis=1).max()) if "references" in self.needs else 0

    @property
    def uses_references(self) -> bool:
        """Whether its scores depend on references, required or not, so that their number matters."""
        return "references" in self.needs

    @property
    def compares_in(self) -> bool:
        """Whether it needs references that were trained on samples of the victim (IN references)."""
        return False

    @property
    def offline(self) -> Attack | None:
        """Returns the form of this attack that uses only OUT references; None if there is none."""
        if getattr(self.options, "mode", "") != "online":
            return None
        return type(self)(self.options.model_copy(update={"mode": "offline"}))

    @property
    def per_class(self) -> bool:
        """Whether its threshold is learned class by class."""
        return getattr(self.options, "thresholds", "global") == "per_class"

    @abstractmethod
    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """Scores every (victim, sample), higher = more likely a member. It must not use the victims' membership."""


def _have_in_references(attack_input: AttackInput) -> bool:
    """Whether every victim has an allowed reference that was trained on one of its samples."""
    member = (
        attack_input.reference.member
        if attack_input.references
        else np.zeros((0, attack_input.attacked.num_samples), dtype=bool)
    )
    return all(
        any((member[row] & eligible).any() for row in np.flatnonzero(allowed))
        for allowed, eligible in zip(attack_input.allowed, attack_input.eligible, strict=True)
    )


class ThresholdOptions(Options):
    """Settings of attacks on one model's prediction."""

    thresholds: Literal["global", "per_class"] = "global"
    """One decision threshold for all classes, or one per class; scores and AUC do not depend on it."""


class PredictionAttack(Attack[ThresholdOptions]):
    """An attack whose score depends only on one model's prediction."""

    @abstractmethod
    def of_predictions(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Scores (N,) float64 from the logits (N, C) of one model and the labels (N,)."""

    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """Scores victims and references model by model; a model that is both is scored once."""
        attacked = attack_input.attacked
        if not attack_input.references:
            victims, references = self._of_models(attacked, attack_input.victims), None
        elif attack_input.reference is attacked:
            references = self._of_models(attacked, np.arange(attacked.num_models))
            victims = references[attack_input.victims]
        else:
            references = self._of_models(attack_input.reference, np.arange(attack_input.reference.num_models))
            victims = self._of_models(attacked, attack_input.victims)
        victims[~attack_input.eligible] = np.nan
        return Scores(victims, references)

    def _of_models(self, signals: Signals, rows: np.ndarray) -> np.ndarray:
        """Scores (M, N) of the models in `rows`."""
        found = np.empty((len(rows), signals.num_samples))

        def score(index: int) -> None:
            found[index] = self.of_model(signals, rows[index])

        for_each(score, len(rows), found.size)
        return found

    def of_model(self, signals: Signals, row: int) -> np.ndarray:
        """Scores (N,) float64 of one model; if it gives probabilities, `of_predictions` gets their logarithms."""
        return self.of_predictions(signals.logits_of(row), signals.labels)
