"""What is measured of a candidate on some models: its accuracy, and its leakage under every attack."""

# V victims, N samples

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import Scores
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.limit_test import LimitTest, Question, answer, unanswered
from pruneaudit.evaluation.limits import ACCURACY, AUC, Limits
from pruneaudit.evaluation.measure import play, scored_for
from pruneaudit.metrics import METRICS, Measurement, Metric, PerVictim, Quantity

NO_ATTACK = "none of the attacks is about this release"
USUAL_LEVEL = 0.01
"""The false-positive rate at which a TPR is reported if none is limited."""
Recall = Callable[[str, AttackSetting], Scores | None]


@dataclass(frozen=True)
class Asked:
    """The questions: limits, and the study's seed for random draws."""

    limits: Limits
    seed: int

    @property
    def levels(self) -> tuple[float, ...]:
        """The false-positive rates at which TPRs are measured."""
        return tuple(self.limits.max_tpr) or (USUAL_LEVEL,)

    @property
    def figures(self) -> tuple[tuple[Metric, Quantity], ...]:
        """Every measured figure of leakage, with its metric."""
        metrics = [METRICS.get("tpr_at_fpr"), METRICS.get("auc")]
        return tuple((metric, quantity) for metric in metrics for quantity in metric.quantities(self.levels))

    def question(self, figure: str, attack: str = "", references: str = "", num_trials: int | None = None) -> Question:
        """Returns the question about a figure; without a limit if it has none."""
        limits = self.limits
        limit = limits.min_accuracy if figure == ACCURACY else limits.leakage.get(figure)
        return Question(figure, limit, attack, references, limits.alpha, num_trials, self.seed)


@dataclass(frozen=True, eq=False)
class Played:
    """The leakage of one candidate."""

    tests: tuple[LimitTest, ...]
    """Attack by attack."""
    measured: Mapping[tuple[str, str, str], Measurement]
    """Limited figures by attack, kind of references and column, for paired comparisons."""


def accuracy_test(found: PerVictim, num_nonmembers: int, asked: Asked) -> LimitTest:
    """Tests the accuracy on samples that are no members.

    Args:
        found: the accuracy of every victim.
        num_nonmembers: the smallest number of these samples of any victim.
        asked: the limits.
    """
    return answer(asked.question(ACCURACY, num_trials=num_nonmembers), found)


def play_attacks(
    settings: Sequence[AttackSetting], attacks: Mapping[str, Attack], asked: Asked, recall: Recall
) -> Played:
    """Plays every attack on one candidate, with every kind of references.

    Args:
        settings: the attack settings of the candidate.
        attacks: by label. One that is about another kind of release, such as masks, is left out.
        asked: the limits.
        recall: returns stored scores of attacks that train.

    Raises:
        UserError: an attack lacks something that the study does not have.
    """
    tests: list[LimitTest] = []
    measured: dict[tuple[str, str, str], Measurement] = {}
    for label, attack in attacks.items():
        for setting in settings:
            if not attack.fits(setting.attack_input):
                continue
            if lacking := attack.lacks(setting.attack_input):
                raise UserError(f"choose.attacks: attack '{label}' needs {lacking}; leave it out")
            scored = recall(label, setting) or play(attack, label, setting, asked.seed)
            for figure, test, found in _figures(setting, label, scored, asked):
                tests.append(test)
                if found is not None and test.limit is not None:
                    measured[label, setting.references, figure] = found
    if not tests:
        tests = [unanswered(asked.question(figure), NO_ATTACK) for figure in asked.limits.leakage]
    return Played(tuple(tests), measured)


def _figures(
    setting: AttackSetting, label: str, scored: Scores, asked: Asked
) -> list[tuple[str, LimitTest, Measurement | None]]:
    """The tests of one attack in one setting, each with its column and its measurement if there is one."""
    attacked, victims = setting.attack_input.attacked, setting.attack_input.victims
    member = attacked.member[victims]  # (V, N)
    counted = np.where(attacked.ordinary[victims] & ~np.isnan(scored.victims), scored.victims, np.nan)
    there = ~np.isnan(counted)
    fewest = int((there & member).sum(axis=1).min()), int((there & ~member).sum(axis=1).min())
    on = scored_for(counted, member, asked.levels, asked.seed)
    measurements = [each for name in ("tpr_at_fpr", "auc") for each in METRICS.get(name).measure(on)]
    rows: list[tuple[str, LimitTest, Measurement | None]] = []
    for (metric, quantity), found in zip(asked.figures, measurements, strict=True):
        question = asked.question(quantity.column, label, setting.references, metric.num_trials(*fewest))
        why = metric.suppressed(quantity, *fewest)
        if why is not None:
            rows.append((quantity.column, unanswered(question, why), None))
        else:
            rows.append((quantity.column, answer(question, found), found))
    return rows


def ranked_leakage(tests: Sequence[LimitTest], limits: Limits) -> float | None:
    """The largest value over attacks of the figure that `minimize = "leakage"` makes small; None if there is none."""
    values = [test.value for test in tests if test.figure == limits.ranked_by and test.value is not None]
    return max(values, default=None)


__all__ = ["AUC", "Asked", "Played", "accuracy_test", "play_attacks", "ranked_leakage"]
