"""A study made step by step, as mia_prune's users work: pretrain, prune, attack.

Each step is the study so far with something added; `pruneaudit.run` does what is not on disk yet. The study in the run
folder (`study.json`) is what the steps before have made.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.groups import expand
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import STUDY_FILE
from pruneaudit.core.options import validated
from pruneaudit.defenses import DEFENSES
from pruneaudit.published.mia_prune import DEFAULT_PRUNER, DEFEND_ARGS, PRUNERS, SPARSITY, release_name
from pruneaudit.published.pruning_mia import same_study
from pruneaudit.runs.folder import RunFolder
from pruneaudit.study import FineTuning, Plugin, Release, Study
from pruneaudit.study.lineage import functions_of

FIRST_LOOK = ("threshold",)
"""What is played at once where a study names attacks that train classifiers only: those are for the third step."""


def begun(study: Study, out: Path) -> Study:
    """The first step: the study with its dense networks alone, or what is there already where that is the same study.

    Args:
        study: as it is given.
        out: the folder of run folders.
    """
    run = RunFolder(out / study.name)
    if run.is_begun:
        so_far = run.study
        if same_study(so_far, study):
            _check_functions(so_far, study, out / study.name)
            return _quickly_attacked(so_far)
    return _quickly_attacked(study.model_copy(update={"releases": ()}))


def _quickly_attacked(study: Study) -> Study:
    """The study with those of its attacks that train nothing; the third step plays what it is asked for."""
    quick = [attack for attack in expand(study.audit.attacks) if not ATTACKS.get(attack.name).trains]
    attacks = quick or [Plugin(name=name) for name in FIRST_LOOK]
    return study.model_copy(update={"audit": study.audit.model_copy(update={"attacks": tuple(attacks)})})


def study_so_far(study: Study, out: Path, given: str) -> Study:
    """What the steps before have made of a study.

    Args:
        study: as it is given.
        out: the folder of run folders.
        given: how the user named it, for the message.

    Raises:
        UserError: the first step has not been done, or was done with functions that the study does not name.
    """
    run, folder = RunFolder(out / study.name), out / study.name
    if not run.is_begun:
        raise UserError(
            f"{folder}: the dense networks are not there yet; first: {_command('pretrain', given, '--out', str(out))}"
        )
    so_far = run.study
    _check_functions(so_far, study, folder)
    return so_far


def _check_functions(so_far: Study, given: Study, folder: Path) -> None:
    """Refuses a run folder that would have functions called that the user has not named: they may be anybody's."""
    foreign = sorted(functions_of(so_far) - functions_of(given))
    if foreign:
        raise UserError(
            f"{folder / STUDY_FILE}: names the function '{foreign[0]}', and the study that you gave does not; give that"
            " study file itself, or choose another --out"
        )


def defense_plugin(name: str, argument: str | None) -> Plugin:
    """A defence by its name and its main parameter (mia_prune's `--defend` and `--defend_arg`).

    Args:
        name: of the defence.
        argument: its main parameter; none: mia_prune's for the defences that it has, otherwise the defence's default.

    Raises:
        UserError: there is no such defence, or it has no main parameter.
    """
    main = DEFENSES.get(name).main
    value = DEFEND_ARGS.get(name) if argument is None else argument
    if value is None:
        return Plugin(name=name)
    if not main:
        raise UserError(f"--defend_arg: got {value}, but defense '{name}' has no main parameter; name it in a study")
    return validated(Plugin, f"{name}:{main}={value}", "--defend_arg")


def pruned_release(
    so_far: Study,
    pruner: str | None = None,
    sparsity: float | None = None,
    epochs: int | None = None,
    defend: str = "",
    defend_arg: str | None = None,
) -> Release:
    """The release that mia_prune's options describe; by its names where the method is one of its own.

    Args:
        so_far: what the steps before have made.
        pruner: one of ours, or of mia_prune's names; default: l1unstructure.
        sparsity: in (0, 1); default: 0.7.
        epochs: of fine-tuning; default: half of the training's, as in mia_prune.
        defend: a defence, or "".
        defend_arg: its main parameter.

    Raises:
        UserError: something is unknown, or a value is wrong.
    """
    if defend_arg is not None and not defend:
        raise UserError(f"--defend_arg: got {defend_arg} without a defence; say which, such as --defend ppb")
    method = pruner or DEFAULT_PRUNER
    fraction = SPARSITY if sparsity is None else sparsity
    defense = defense_plugin(defend, defend_arg) if defend else None
    usual = max(1, so_far.training.epochs // 2)
    values = {
        "compress": PRUNERS.get(method, method),
        "sparsity": fraction,
        "finetune": FineTuning(epochs=epochs or usual),
        "defense": defense,
    }
    if method in PRUNERS:
        arguments = list(defense.options.values()) if defense else []
        name = release_name(method, fraction, defend, arguments[0] if arguments else None)
        values["name"] = name if epochs in (None, usual) else f"{name}_{epochs}epochs"
    return validated(Release, values, "prune")


def pruned(so_far: Study, release: Release, with_baseline: bool = False) -> Study:
    """The study with one more release, unless it is there already.

    Args:
        so_far: what the steps before have made.
        release: the new one.
        with_baseline: with the dense networks fine-tuned alike, too, and no mask.

    Raises:
        UserError: another release has its name.
    """
    wanted = _baselines(so_far, release) if with_baseline else []
    new = [each for each in (*wanted, release) if each not in so_far.releases]
    settings = so_far.model_dump() | {"releases": [*so_far.releases, *new]}
    return _quickly_attacked(validated(Study, settings, "prune") if new else so_far)


def _baselines(so_far: Study, release: Release) -> list[Release]:
    """The baseline of a release, called after its epochs where there is one already with others."""
    baseline = validated(Release, {"finetune": release.finetune}, "prune")
    if baseline.name not in {each.name for each in so_far.releases} or baseline in so_far.releases:
        return [baseline]
    epochs = release.finetune.epochs if release.finetune else 0
    return [baseline.model_copy(update={"name": f"{baseline.name}_{epochs}epochs"})]


def prune_command(
    given: str,
    out: Path,
    pruner: str | None = None,
    sparsity: float | None = None,
    epochs: int | None = None,
    defend: str = "",
    defend_arg: str | None = None,
) -> str:
    """The command that makes the release that `pruned_release` describes with the same options.

    Args:
        given: how the user named the study.
        out: the folder of run folders.
        pruner: as for `pruned_release`; so are the others.
        sparsity: in (0, 1).
        epochs: of fine-tuning.
        defend: a defence, or "".
        defend_arg: its main parameter.
    """
    parts = ["--pruner_name", pruner or DEFAULT_PRUNER]
    parts += ["--prune_sparsity", f"{SPARSITY if sparsity is None else sparsity:g}"]
    parts += ["--prune_epochs", str(epochs)] if epochs else []
    parts += ["--defend", defend] if defend else []
    parts += ["--defend_arg", defend_arg] if defend and defend_arg is not None else []
    return _command("prune", given, *parts, "--out", str(out))


def _command(step: str, *arguments: str) -> str:
    """A step as a line to type."""
    return shlex.join(["pruneaudit", "mia-prune", step, *arguments])


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


def attacked(
    so_far: Study, first: str, attacks: Sequence[str], original: bool = False, adaptive: bool = False
) -> Study:
    """The study with the attacker that mia_prune's options describe.

    Args:
        so_far: what the steps before have made.
        first: the command that prunes, for the message.
        attacks: names or groups.
        original: the dense networks are what counts; they are always attacked, so nothing need be pruned yet.
        adaptive: references are defended as the victim is; otherwise they are not.
    """
    if not original and not so_far.releases:
        raise UserError(f"no pruned networks are there yet; first: {first} (or attack the dense ones with --original)")
    audit = so_far.audit.model_dump() | {"attacks": attacks, "references": ["matched" if adaptive else "undefended"]}
    return validated(Study, so_far.model_dump() | {"audit": audit}, "mia")
