"""Runs a study step by step, as in mia_prune: pretrain, prune, attack.

Each step adds to the study so far, and `pruneaudit.run` makes the missing parts. The study in the run folder
(`study.json`) is the result of the earlier steps.
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
"""The attacks of the first steps if all attacks of the study train classifiers; those are left to the third step."""


def begun(study: Study, out: Path) -> Study:
    """Returns the study of the first step: only the dense networks, or the run folder's study if it is the same study.

    Args:
        study: the given study.
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
    """Returns the study with only those of its attacks that train nothing; the third step runs the requested ones."""
    quick = [attack for attack in expand(study.audit.attacks) if not ATTACKS.get(attack.name).trains]
    attacks = quick or [Plugin(name=name) for name in FIRST_LOOK]
    return study.model_copy(update={"audit": study.audit.model_copy(update={"attacks": tuple(attacks)})})


def study_so_far(study: Study, out: Path, given: str) -> Study:
    """Returns the study after the earlier steps.

    Args:
        study: the given study.
        out: the folder of run folders.
        given: the user's name for it, for the message.

    Raises:
        UserError: the first step is missing, or used functions that the study does not name.
    """
    run, folder = RunFolder(out / study.name), out / study.name
    if not run.is_begun:
        raise UserError(
            f"{folder}: the dense networks are missing; first run: {_command('pretrain', given, '--out', str(out))}"
        )
    so_far = run.study
    _check_functions(so_far, study, folder)
    return so_far


def _check_functions(so_far: Study, given: Study, folder: Path) -> None:
    """Refuses a run folder that names functions that the user has not named, because they could be a stranger's."""
    foreign = sorted(functions_of(so_far) - functions_of(given))
    if foreign:
        raise UserError(
            f"{folder / STUDY_FILE}: names the function '{foreign[0]}', but the study that you gave does not; give that"
            " study file itself, or choose another --out"
        )


def defense_plugin(name: str, argument: str | None) -> Plugin:
    """Returns a defence from its name and main parameter (mia_prune's `--defend` and `--defend_arg`).

    Args:
        name: the name of the defence.
        argument: its main parameter; None: mia_prune's default for its defences, otherwise the defence's default.

    Raises:
        UserError: the defence is unknown, or has no main parameter.
    """
    main = DEFENSES.get(name).main
    value = DEFEND_ARGS.get(name) if argument is None else argument
    if value is None:
        return Plugin(name=name)
    if not main:
        raise UserError(
            f"--defend_arg: got {value}, but defense '{name}' has no main parameter; set its options in a study"
        )
    return validated(Plugin, f"{name}:{main}={value}", "--defend_arg")


def pruned_release(
    so_far: Study,
    pruner: str | None = None,
    sparsity: float | None = None,
    epochs: int | None = None,
    defend: str = "",
    defend_arg: str | None = None,
) -> Release:
    """Returns the release for mia_prune's options; with mia_prune's name if the method is one of its own.

    Args:
        so_far: the study after the earlier steps.
        pruner: a compressor here, or a name of mia_prune; default: l1unstructure.
        sparsity: in (0, 1); default: 0.7.
        epochs: epochs of fine-tuning; default: half of the training's, as in mia_prune.
        defend: a defence, or "".
        defend_arg: its main parameter.

    Raises:
        UserError: something is unknown, or a value is wrong.
    """
    if defend_arg is not None and not defend:
        raise UserError(f"--defend_arg: got {defend_arg} without a defence; add one, such as --defend ppb")
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
    """Returns the study with one more release, unless it has it already.

    Args:
        so_far: the study after the earlier steps.
        release: the new release.
        with_baseline: also add the dense networks with the same fine-tuning, without a mask.

    Raises:
        UserError: another release has its name.
    """
    wanted = _baselines(so_far, release) if with_baseline else []
    new = [each for each in (*wanted, release) if each not in so_far.releases]
    settings = so_far.model_dump() | {"releases": [*so_far.releases, *new]}
    return _quickly_attacked(validated(Study, settings, "prune") if new else so_far)


def _baselines(so_far: Study, release: Release) -> list[Release]:
    """Returns the baseline of a release, named after its epochs if there is one with other epochs."""
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
    """Returns the command that makes the release of `pruned_release` for the same options.

    Args:
        given: the user's name for the study.
        out: the folder of run folders.
        pruner: as for `pruned_release`, like all below.
        sparsity: in (0, 1).
        epochs: epochs of fine-tuning.
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
    """Returns a step as a command line."""
    return shlex.join(["pruneaudit", "mia-prune", step, *arguments])


def check_is_there(so_far: Study, release: Release, command: str) -> None:
    """Checks that a release has been made.

    Args:
        so_far: the study after the earlier steps.
        release: the release to attack.
        command: the command that makes it, for the message.

    Raises:
        UserError: it is missing.
    """
    if release not in so_far.releases:
        there = ", ".join(each.name for each in so_far.releases) or "none"
        raise UserError(f"the networks '{release.name}' are missing (made so far: {there}); first run: {command}")


def attacked(
    so_far: Study, first: str, attacks: Sequence[str], original: bool = False, adaptive: bool = False
) -> Study:
    """Returns the study with the attacker for mia_prune's options.

    Args:
        so_far: the study after the earlier steps.
        first: the command that prunes, for the message.
        attacks: names or groups.
        original: attack the dense networks, which are always attacked, so no pruned networks are needed.
        adaptive: defend the references in the same way as the victim; otherwise they are undefended.
    """
    if not original and not so_far.releases:
        raise UserError(
            f"the pruned networks are missing; first run: {first} (or attack the dense ones with --original)"
        )
    audit = so_far.audit.model_dump() | {"attacks": attacks, "references": ["matched" if adaptive else "undefended"]}
    return validated(Study, so_far.model_dump() | {"audit": audit}, "mia")
