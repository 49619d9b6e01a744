"""The stored scores of learned attacks: written by a worker, read when the attack is evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import HeldOut, Scores
from pruneaudit.evaluation.attack_setting import AttackSetting

ATTACK = "attack"
"""The kind of these artifacts."""
SCORES_FILE = "scores.npz"


@dataclass(frozen=True)
class Learned:
    """The stored scores of learned attacks."""

    folders: Mapping[tuple[str, str, str], Path]
    """Folders by attack label, release and references."""

    def recall(self, label: str, setting: AttackSetting) -> Scores | None:
        """Returns the scores of an attack in an attack setting; None if there are none."""
        folder = self.folders.get((label, setting.release, setting.references))
        return None if folder is None else load_scores(folder / SCORES_FILE)


def attack_in(spec: Mapping[str, Any]) -> Attack:
    """Makes the attack that a task's spec names."""
    kind = ATTACKS.get(spec["attack"]["name"])
    return kind(kind.Options.model_validate(spec["attack"]["options"]))


def save_scores(scores: Scores, file: Path) -> None:
    """Writes the scores of a learned attack, as plain arrays."""
    arrays = {"victims": scores.victims, "variant": np.array(scores.variant)}
    arrays |= {} if scores.threshold is None else {"threshold": np.array(scores.threshold)}
    for number, part in enumerate(scores.held_out or ()):
        arrays |= {f"{number}/victims": part.victims, f"{number}/references": part.references}
        arrays[f"{number}/scores"] = part.scores
    np.savez(file, allow_pickle=False, **arrays)


def load_scores(file: Path) -> Scores:
    """Reads the scores that `save_scores` wrote; never unpickles objects."""
    with np.load(file, allow_pickle=False) as arrays:
        numbers = sorted({int(key.partition("/")[0]) for key in arrays.files if "/" in key})
        held_out = tuple(
            HeldOut(arrays[f"{n}/victims"], arrays[f"{n}/references"], arrays[f"{n}/scores"]) for n in numbers
        )
        threshold = float(arrays["threshold"]) if "threshold" in arrays.files else None
        return Scores(arrays["victims"], variant=str(arrays["variant"]), held_out=held_out, threshold=threshold)
