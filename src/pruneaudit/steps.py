"""A study made step by step, as mia_prune's users work: pretrain, prune, attack.

Each step is the study so far with something added; `pruneaudit.run` does what is not on disk yet. The study in the run
folder (`study.json`) is what the steps before have made.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pruneaudit.api import STUDY_FILE, load_study
from pruneaudit.defenses import DEFENSES
from pruneaudit.errors import UserError
from pruneaudit.options import validated
from pruneaudit.published.mia_prune import DEFEND_ARG, PRUNERS, release_name
from pruneaudit.published.pruning_mia import same_study
from pruneaudit.study import FineTuning, Plugin, Release, Study

_DEFENSES_WITH_ARG = ("ppb", "adv")
"""Those whose main parameter mia_prune sets to `DEFEND_ARG` unless told otherwise."""


def begun(study: Study, out: Path) -> Study:
    """The first step: the study with its dense networks alone, or what is there already where that is the same study.

    Args:
        study: as it is given.
        out: the folder of run folders.
    """
    if (out / study.name / STUDY_FILE).is_file():
        so_far = load_study(out / study.name)
        if same_study(so_far, study):
            return so_far
    return study.model_copy(update={"releases": ()})


def study_so_far(study: Study, out: Path, given: str) -> Study:
    """What the steps before have made of a study.

    Args:
        study: as it is given.
        out: the folder of run folders.
        given: how the user named it, for the message.

    Raises:
        UserError: the first step has not been done.
    """
    folder = out / study.name
    if not (folder / STUDY_FILE).is_file():
        raise UserError(
            f"{folder}: the dense networks are not there yet; first: pruneaudit pretrain {given} --out {out}"
        )
    return load_study(folder)


def defense_plugin(name: str, argument: str | None) -> Plugin:
    """A defence by its name and its main parameter (mia_prune's `--defend` and `--defend_arg`).

    Args:
        name: of the defence.
        argument: its main parameter; none: mia_prune's for the defences that it has, otherwise the defence's default.

    Raises:
        UserError: there is no such defence, or it has no main parameter.
    """
    main = DEFENSES.get(name).main
    if argument is None and name not in _DEFENSES_WITH_ARG:
        return Plugin(name=name)
    if not main:
        raise UserError(f"--defend_arg: got {argument}, but defense '{name}' has no main parameter; name it in a study")
    return validated(Plugin, f"{name}:{main}={DEFEND_ARG if argument is None else argument}", "--defend_arg")


def pruned_release(
    so_far: Study,
    pruner: str,
    sparsity: float,
    epochs: int | None = None,
    defend: str = "",
    defend_arg: str | None = None,
) -> Release:
    """The release that mia_prune's options describe; by its names where the method is one of its own.

    Args:
        so_far: what the steps before have made.
        pruner: one of ours, or of mia_prune's names.
        sparsity: in (0, 1).
        epochs: of fine-tuning; default: half of the training's, as in mia_prune.
        defend: a defence, or "".
        defend_arg: its main parameter.

    Raises:
        UserError: something is unknown, or a value is wrong.
    """
    defense = defense_plugin(defend, defend_arg) if defend else None
    values = {
        "pruner": PRUNERS.get(pruner, pruner),
        "sparsity": sparsity,
        "finetune": FineTuning(epochs=epochs or max(1, so_far.training.epochs // 2)),
        "defense": defense,
    }
    if pruner in PRUNERS:
        arguments = list(defense.options.values()) if defense else []
        values["name"] = release_name(pruner, sparsity, defend, arguments[0] if arguments else None)
    return validated(Release, values, "prune")


def pruned(so_far: Study, release: Release) -> Study:
    """The study with one more release, unless it is there already.

    Raises:
        UserError: another release has its name.
    """
    if release in so_far.releases:
        return so_far
    settings = so_far.model_dump() | {"releases": [*so_far.releases, release]}
    return validated(Study, settings, "prune")


def check_is_there(so_far: Study, release: Release, command: str) -> None:
    """Checks that a release has been made.

    Args:
        so_far: what the steps before have made.
        release: the one that shall be attacked.
        command: the one that makes it, for the message.

    Raises:
        UserError: it is not there.
    """
    if release not in so_far.releases:
        there = ", ".join(each.name for each in so_far.releases) or "none"
        raise UserError(f"no networks '{release.name}' are there yet (there are: {there}); first: {command}")


def attacked(so_far: Study, attacks: Sequence[str], original: bool = False, adaptive: bool = False) -> Study:
    """The study with the attacker that mia_prune's options describe.

    Args:
        so_far: what the steps before have made.
        attacks: names or groups.
        original: the dense networks are what counts; they are always attacked, so nothing need be pruned yet.
        adaptive: references are defended as the victim is; otherwise they are not.
    """
    if not original and not so_far.releases:
        raise UserError(
            "no pruned networks are there yet; first: pruneaudit prune STUDY --pruner_name l1unstructure"
            " --prune_sparsity 0.7 (or attack the dense ones with --original)"
        )
    audit = so_far.audit.model_dump() | {"attacks": attacks, "knowledge": ["matched" if adaptive else "no-defense"]}
    return validated(Study, so_far.model_dump() | {"audit": audit}, "mia")
