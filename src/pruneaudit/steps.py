"""A study made step by step, as mia_prune's users work: pretrain, prune, attack.

Each step is the study so far with something added; `pruneaudit.run` does what is not on disk yet. The study in the run
folder (`study.json`) is what the steps before have made.
"""

from __future__ import annotations

from pathlib import Path

from pruneaudit.api import STUDY_FILE, load_study
from pruneaudit.defenses import DEFENSES
from pruneaudit.errors import UserError
from pruneaudit.options import validated
from pruneaudit.study import FineTuning, Plugin, Release, Study

THEIR_PRUNERS = {
    "l1unstructure": "l1unstructured:preset=mia_prune",
    "l1structure": "l1structured:preset=mia_prune",
    "l2structure": "l2structured:preset=mia_prune",
    "slim": "slim:preset=mia_prune",
}
"""mia_prune's names of methods, as ours with its presets; any name of ours serves too."""


def begun(study: Study, out: Path) -> Study:
    """The first step: the study with its dense networks alone, or what is there already where that is the same study.

    Args:
        study: as it is given.
        out: the folder of run folders.
    """
    if (out / study.name / STUDY_FILE).is_file():
        so_far = load_study(out / study.name)
        later = {"releases", "audit"}
        if so_far.model_dump(exclude=later) == study.model_dump(exclude=later):
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

    Raises:
        UserError: there is no such defence, or it has no main parameter.
    """
    main = DEFENSES.get(name).main
    if argument is None:
        return Plugin(name=name)
    if not main:
        raise UserError(f"--defend_arg: got {argument}, but defense '{name}' has no main parameter; name it in a study")
    return validated(Plugin, f"{name}:{main}={argument}", "--defend_arg")


def pruned(
    so_far: Study,
    pruner: str,
    sparsity: float,
    epochs: int | None = None,
    defend: str = "",
    defend_arg: str | None = None,
) -> Study:
    """The study with one more pruned release, unless it is there already.

    Args:
        so_far: what the steps before have made.
        pruner: one of ours, or of mia_prune's names.
        sparsity: in (0, 1).
        epochs: of fine-tuning; default: half of the training's, as in mia_prune.
        defend: a defence, or "".
        defend_arg: its main parameter.
    """
    values = {
        "pruner": THEIR_PRUNERS.get(pruner, pruner),
        "sparsity": sparsity,
        "finetune": FineTuning(epochs=epochs or max(1, so_far.training.epochs // 2)),
        "defense": defense_plugin(defend, defend_arg) if defend else None,
    }
    release = validated(Release, values, "prune")
    if release in so_far.releases:
        return so_far
    settings = so_far.model_dump() | {"releases": [*so_far.releases, release]}
    return validated(Study, settings, "prune")


def attacked(so_far: Study, attacks: list[str], original: bool = False, adaptive: bool = False) -> Study:
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
