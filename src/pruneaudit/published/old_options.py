"""Options of the two published systems that our commands do not take, each with its replacement.

Without this file, an old option would be answered with the most similar name of ours. `REPLACED` has every option of
their command lines that the command in place of their script does not take.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pruneaudit.core.errors import UserError

PRETRAIN, PRUNE, MIA = "mia-prune pretrain", "mia-prune prune", "mia-prune mia"
TRAIN, EXPERIMENT, EVALUATE, TEST = (f"pruning-mia {name}" for name in ("train", "run-experiment", "mia", "test"))
COMMANDS = (PRETRAIN, PRUNE, MIA, TRAIN, EXPERIMENT, EVALUATE, TEST)
"""The commands that replace their scripts."""

_NO_DWA = "leave it out: DWA is not available (see `pruneaudit list compressors`)"
_NO_SCRIPT = "leave it out: it belongs to a helper script that is not needed here"
_KNOWN_FROM_DATA = "leave it out: it follows from the data"
_KNOWS_ITS_STUDY = "leave it out: a run folder knows its data, network and training"
_ALL_ARE_ATTACKED = "leave it out: all releases of a run are attacked"
_ALL_PLAY = "leave it out: every model is a victim, with the others as references"
_ONE_MEMBERSHIP = "leave it out: `membership.npz` in the run folder contains the training sets"
_NAMED_AFTER_STUDY = "leave it out: a run is named after its study; use --wandb-tags for your own words"


def _give_it_to(command: str, why: str = "") -> str:
    return f"give it to `pruneaudit {command}`{why}"


def _with(commands: Sequence[str], advice: str) -> dict[str, str]:
    return dict.fromkeys(commands, advice)


_AFTER = (PRUNE, MIA)
_ON_RUNS = (EVALUATE, TEST)
_OF_TRAINING = _with(_AFTER, _give_it_to(PRETRAIN, ", which keeps it in the run folder")) | _with(
    _ON_RUNS, _KNOWS_ITS_STUDY
)
_OF_RELEASES = {PRETRAIN: _give_it_to(PRUNE)}
_OF_ATTACKS = _with((PRETRAIN, PRUNE), _give_it_to(MIA))
_OF_GRIDS = {EXPERIMENT: _give_it_to(TRAIN)} | _with(_ON_RUNS, _KNOWS_ITS_STUDY)
_OF_CELLS = {TRAIN: _give_it_to(EXPERIMENT)} | _with(_ON_RUNS, _ALL_ARE_ATTACKED)
_OF_MIA_PRUNE: dict[str, str | Mapping[str, str]] = {
    **dict.fromkeys(("dataset-name", "model-name", "optimizer", "early-stop", "shadow-num"), _OF_TRAINING),
    **dict.fromkeys(("epochs", "lr", "weight-decay", "batch-size"), _OF_TRAINING),
    "seed": _with(_AFTER, _give_it_to(PRETRAIN, ", which keeps it in the run folder"))
    | {EVALUATE: "leave it out: a run folder knows its seed"},
    **dict.fromkeys(("num-cls", "input-dim"), _with(_AFTER, _KNOWN_FROM_DATA)),
    **dict.fromkeys(("image-size", "hidden-size"), _with(_AFTER, "leave it out: it has no effect in mia_prune either")),
    **dict.fromkeys(("pruner-name", "prune-sparsity", "prune-epochs", "defend", "defend-arg"), _OF_RELEASES),
    **dict.fromkeys(("adaptive", "original", "attacks"), _OF_ATTACKS),
}
_OF_PRUNING_MIA: dict[str, str | Mapping[str, str]] = {
    # train.py and run_experiment.py
    **dict.fromkeys(("methods", "sparsities", "skip-existing", "multi-seed", "num-seeds", "start-seed"), _OF_GRIDS),
    **dict.fromkeys(("prune", "prune-type", "prune-method", "sparsity", "num-shadows"), _OF_CELLS),
    **dict.fromkeys(("dataset", "arch", "layers", "momentum"), _with(_ON_RUNS, _KNOWS_ITS_STUDY)),
    **dict.fromkeys(("prune-freq", "target-epoch", "freeze-epoch"), _with(_ON_RUNS, _KNOWS_ITS_STUDY)),
    "mia": {TRAIN: "leave it out: a run always attacks; choose with --attacks"},
    "workers": {TRAIN: "leave it out: data stay in memory, so there are no loader workers"},
    "print-freq": {TRAIN: "leave it out; --verbose prints a line for every task"},
    "config": {TRAIN: _give_it_to(EXPERIMENT)},
    **dict.fromkeys(("wandb-name", "wandb-notes"), _with((TRAIN, EXPERIMENT), _NAMED_AFTER_STUDY)),
    "reorganize-only": _NO_SCRIPT,
    # train_dwa.py
    **dict.fromkeys(("dwa-mode", "dwa-alpha", "dwa-beta", "dwa-threshold-percentile"), _NO_DWA),
    **dict.fromkeys(("dwa-modes", "dwa-alphas", "dwa-betas", "alpha", "beta", "forward-mode"), _NO_DWA),
    # mia_eval/, scripts/, and mia/ of its README
    "results-dir": {TEST: "leave it out: a test prints its results, and writes no files"},
    "output-dir": {EVALUATE: "use --results-dir FOLDER", TEST: "leave it out: a test writes no files"},
    "save-dir": _with(_ON_RUNS, "use --runs-dir FOLDER"),
    "model": {TRAIN: "use --arch resnet", EXPERIMENT: "use --arch resnet"} | _with(_ON_RUNS, _KNOWS_ITS_STUDY),
    "config-path": _with(_ON_RUNS, _KNOWS_ITS_STUDY),
    **dict.fromkeys(("victim-seed", "shadow-seeds"), _ALL_PLAY),
    **dict.fromkeys(("split-seed", "skip-data-prep"), _ONE_MEMBERSHIP),
    "threshold-strategy": "leave it out: thresholds are learned on references, never on the victim",
    "debug": "leave it out: there is no debug mode",
    **dict.fromkeys(("victim-ratio", "shadow-ratio", "test-ratio", "verify-only", "verify"), _NO_SCRIPT),
    **dict.fromkeys(("mode", "limit-shadows", "ckpt-globs", "runs"), _NO_SCRIPT),
}
REPLACED: Mapping[str, str | Mapping[str, str]] = _OF_MIA_PRUNE | _OF_PRUNING_MIA
"""The advice by option name without dashes, for all commands or by command."""


def advice(command: str, name: str) -> str:
    """Returns the advice for an old option; empty for an unknown option.

    Args:
        command: one of `COMMANDS`.
        name: the name of the option, without the leading dashes.
    """
    known = REPLACED.get(name, "")
    return known if isinstance(known, str) else known.get(command, "")


def refuse_old(command: str, arguments: Sequence[str], taken: Collection[str]) -> None:
    """Refuses old options that the command does not take, with advice.

    Args:
        command: one of `COMMANDS`.
        arguments: the arguments, with options in our spelling (`--prune-type`).
        taken: the options that the command takes, such as `--out`.

    Raises:
        UserError: an old option is given.
    """
    for argument in arguments:
        if argument == "--":
            return
        flag = argument.partition("=")[0]
        if flag.startswith("--") and flag not in taken and (instead := advice(command, flag[2:])):
            raise UserError(f"{flag}: pruneaudit {command} does not take this option; {instead}")
