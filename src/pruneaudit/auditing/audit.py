"""From signals to findings in one call."""

# V victims, N samples

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence

from pruneaudit.attacks.groups import skips
from pruneaudit.attacks.view import View
from pruneaudit.auditing.game import MATCHED, Game
from pruneaudit.auditing.lineup import named, ready
from pruneaudit.auditing.outcome import Audit
from pruneaudit.auditing.playing import DEFAULT_LEVELS, audit_games
from pruneaudit.errors import UserError
from pruneaudit.signals.derived import answer_digest
from pruneaudit.signals.signals import Signals
from pruneaudit.study import Plugin

DEFAULT_ATTACKS = ("loss", "confidence", "entropy", "modified_entropy", "lira", "rmia")


def audit(
    signals: Signals,
    references: Signals | None = None,
    paired: Signals | None = None,
    paired_references: Signals | None = None,
    attacks: Sequence[str | Plugin] | str = DEFAULT_ATTACKS,
    seed: int = 0,
    fpr_levels: Sequence[float] = DEFAULT_LEVELS,
) -> Audit:
    """Attacks models by their predictions.

    Args:
        signals: the victims' predictions; each victim's references are the other models in it.
        references: predictions of other models on the same samples, to be used as references instead.
        paired: predictions of the same models in another release that is public too (say, before pruning).
        paired_references: predictions of the references in that other release, where both are given.
        attacks: names such as "loss", "lira:mode=offline"; or the groups "scores" and "all",
            which leave out what the signals do not allow.
        seed: seed of folds and bootstrap.
        fpr_levels: false-positive rates at which the true-positive rate is reported.

    Returns:
        The audit; `.findings` is a table, `.scores` maps attack names to (V, N) arrays.

    Raises:
        UserError: an attack is unknown, or lacks what it needs; a rate is out of range.
    """
    if not fpr_levels or not all(0 < level < 1 for level in fpr_levels):
        raise UserError(f"fpr_levels: got {list(fpr_levels)}, expected rates above 0 and below 1 (0.01 is 1%)")
    parts = {"references": references, "paired": paired, "paired_references": paired_references}
    for name, given in {"signals": signals, **parts}.items():
        if given is not None and not isinstance(given, Signals):
            raise UserError(f"{name}: got {type(given).__name__}, expected Signals; use Signals.load(path)")
    if isinstance(attacks, str):
        attacks = attacks.split(",")
    games = [Game("signals", MATCHED, _given_view(signals, references, paired, paired_references))]
    found = audit_games(games, ready(attacks), seed, fpr_levels, skip=skips(named(attacks)))
    for note in found.results.about["warnings"]:
        warnings.warn(note, stacklevel=2)
    return found


def _given_view(
    signals: Signals, references: Signals | None, paired: Signals | None, paired_references: Signals | None
) -> View:
    releases = [signals] if paired is None else [paired, signals]
    if references is None:
        if paired_references is not None:
            raise UserError("paired_references goes with references, which are not given; give both, or neither")
        return View.of(releases, releases if signals.num_models > 1 else ())
    if (paired is None) != (paired_references is None):
        raise UserError(
            "references of pairs are pairs too: give paired (the victims' other release) and paired_references (the"
            " references' other release) together"
        )
    own = [references] if paired_references is None else [paired_references, references]
    allowed = None
    if signals.model_ids is None or references.model_ids is None:
        # Without ids from both sides nothing says which model is which; copies are refused below.
        allowed = signals.groups[signals.victims][:, None] == references.groups[None, :]
    view = View.of(releases, own, allowed)
    _refuse_copies(view)
    return view


def _refuse_copies(view: View) -> None:
    """Refuses a reference that answers exactly as the victim that it may serve: that is the victim itself."""
    attacked, reference = view.attacked, view.reference
    by_answer: dict[bytes, list[int]] = defaultdict(list)
    for row in range(reference.num_models):
        by_answer[answer_digest(reference.logits[row])].append(row)
    for victim, row in enumerate(view.victims):
        for copy in by_answer.get(answer_digest(attacked.logits[row]), ()):
            if view.allowed[victim, copy]:
                raise UserError(
                    f"references: model {reference.model_names[copy]} answers exactly as victim"
                    f" {attacked.model_names[row]}, expected other models (a victim must not be its own reference);"
                    " leave it out, or give both files model_ids"
                )
