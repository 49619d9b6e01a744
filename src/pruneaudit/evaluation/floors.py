"""What zeros and ones among given probabilities do to an audit: told, and deciding nothing about LiRA.

A probability of 0 or 1 counts as half of the data's resolution away from it. The half is a convention. RMIA compares
probabilities and hardly notices; LiRA compares log-odds, and another convention may move its result.
"""

# V victims, N samples

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.primary import MANY_FLOORED
from pruneaudit.attacks.view import View
from pruneaudit.evaluation.game import Game
from pruneaudit.evaluation.given import parts_of
from pruneaudit.evaluation.measure import play
from pruneaudit.evaluation.outcome import Audit
from pruneaudit.metrics import auc_influence
from pruneaudit.signals.signals import Signals

FINER = 10
"""The other floor that LiRA is tried with is so many times closer to 0 and 1: a twentieth of the resolution."""
NOTICEABLE = 0.01
"""A change of LiRA's AUC above which it is warned of."""


def tell_floors(found: Audit, attacks: Mapping[str, Attack], seed: int) -> None:
    """Writes into `about` what the probabilities' resolution is, how many are floored, and whether LiRA depends on it.

    Args:
        found: an audit of one game; its `about` is added to.
        attacks: what was played, by label.
        seed: the audit's.
    """
    game, about = found.games[0].game, found.results.about
    resolution = next((part.resolution for part in parts_of(game.view) if part.resolution is not None), None)
    if resolution is None:
        return
    floored = game.view.share_floored
    told: dict[str, Any] = {
        "resolution_at_0": float(resolution[0]),
        "resolution_at_1": float(resolution[1]),
        "floored": floored,
    }
    about["probabilities"] = told
    if floored > MANY_FLOORED:
        step = f"{resolution[0]:.3g}" if resolution[0] == resolution[1] else "{:.3g} and {:.3g}".format(*resolution)
        about["warnings"].append(
            f"{floored:.1%} of the true-class probabilities are 0 or 1 to their resolution ({step}); they count as half"
            " of it away"
        )
    label = next((name for name in found.games[0].by_attack if name.partition(":")[0] == "lira"), "")
    if not label or not any(part.floored.any() for part in parts_of(game.view)):
        return
    finer = _with_resolution(game, resolution / FINER)
    half = _mean_auc(game.view, found.games[0].by_attack[label])
    twentieth = _mean_auc(finer.view, play(attacks[label], label, finer, seed).victims)
    told |= {"lira": label, "lira_auc": half, "lira_auc_finer": twentieth}
    if abs(half - twentieth) > NOTICEABLE:
        about["warnings"].append(
            f"{label}: AUC {half:.3f} where a probability of 0 or 1 counts as 1/2 of the resolution away from it, and"
            f" {twentieth:.3f} at 1/20: its result depends on that choice"
        )


def _with_resolution(game: Game, resolution: np.ndarray) -> Game:
    """The same game with another resolution of all probabilities."""
    view = game.view
    changed = {
        id(part): part.with_resolution(resolution) if part.resolution is not None else part for part in parts_of(view)
    }

    def of(parts: tuple[Signals, ...]) -> tuple[Signals, ...]:
        return tuple(changed[id(part)] for part in parts)

    return replace(game, view=View(of(view.releases), of(view.references), view.victims, view.allowed))


def _mean_auc(view: View, scores: np.ndarray) -> float:
    """Mean over victims of the AUC of scores (V, N) on ordinary samples."""
    wanted = view.attacked.ordinary[view.victims]
    areas = auc_influence(np.where(wanted, scores, np.nan), view.attacked.member[view.victims]).values
    return float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan")
