"""Options of the two published systems that our commands do not take, and what says the same here.

Without this file, a user who types an old option is pointed to whichever name of ours looks most like it. `REPLACED`
holds every option of their command lines that `pretrain`, `prune`, `mia` or `run` does not take.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pruneaudit.core.errors import UserError

COMMANDS = ("pretrain", "prune", "mia", "run")
"""Our commands that replace theirs."""

_AT_PRETRAIN = "give it to `pruneaudit pretrain`, which keeps it in the run folder"
_AT_PRUNE = "give it to `pruneaudit prune`"
_AT_MIA = "give it to `pruneaudit mia`"
_AT_RUN = "give it to `pruneaudit run pruning-mia/cifar10`"
_ONLY_GRIDS = "leave it out: grids are trained by `pruneaudit run pruning-mia/cifar10`"
_NO_EFFECT = "leave it out: it has no effect there either"
_NO_DWA = "leave it out: DWA is not here (`pruneaudit list pruners` has what is)"
_NO_SCRIPT = "leave it out: it belongs to a helper script that nothing here needs"
_KNOWN_FROM_DATA = "leave it out: the data tell"
_ALL_ARE_ATTACKED = "leave it out: all releases of a run are attacked alike"
_ALL_PLAY = "leave it out: every model is a victim, and the others are its references"
_ONE_MEMBERSHIP = "leave it out: `membership.npz` in the run folder says who is in whose training set"
_NAMED_AFTER_STUDY = "leave it out: a run is named after its study; --wandb-tags takes words of your own"
_NOTHING_TO_SET = "leave it out: there is nothing to set"
_METHOD = "use --methods static, or --methods dpf"
_SEEDS = "use --seeds 43 44, a run for each"


def _first_step(run: str = "") -> dict[str, str]:
    """Of an option that `pretrain` takes; `run`: what to do with it there, nothing where it is taken."""
    return {"prune": _AT_PRETRAIN, "mia": _AT_PRETRAIN, "run": run}


def _grid(run: str = "", **others: str) -> dict[str, str]:
    """Of an option of training a grid; `run`: as for `_first_step`; `others`: for the commands that have their own."""
    return dict.fromkeys(COMMANDS, _ONLY_GRIDS if run else _AT_RUN) | others | {"run": run}


_OF_MIA_PRUNE: dict[str, str | Mapping[str, str]] = {
    "dataset-name": _first_step("use --set data.source=NAME"),
    "model-name": _first_step("use --set model=NAME"),
    "num-cls": dict.fromkeys(("prune", "mia", "run"), _KNOWN_FROM_DATA),
    "input-dim": dict.fromkeys(("prune", "mia", "run"), _KNOWN_FROM_DATA),
    "optimizer": _first_step("use --set training.optimizer=NAME"),
    "early-stop": _first_step("use --set training.patience=N"),
    "shadow-num": _first_step(
        "use --set membership.num_shadows=N --set membership.num_models=M, M a multiple of N + 1"
    ),
    **dict.fromkeys(("epochs", "lr", "weight-decay", "batch-size", "seed"), _first_step()),
    "image-size": _NO_EFFECT,
    "hidden-size": _NO_EFFECT,
    **{
        name: {"pretrain": _AT_PRUNE, "run": _AT_PRUNE}
        for name in ("pruner-name", "prune-sparsity", "prune-epochs", "defend", "defend-arg")
    },
    "adaptive": {"pretrain": _AT_MIA, "prune": _AT_MIA, "run": """use --set 'audit.knowledge=["matched"]'"""},
    "original": {
        **{"pretrain": _AT_MIA, "prune": _AT_MIA},
        "run": "leave it out: the dense networks are always attacked, too",
    },
    "attacks": {"pretrain": _AT_MIA, "prune": _AT_MIA},
}
_OF_PRUNING_MIA: dict[str, str | Mapping[str, str]] = {
    # train.py and run_experiment.py
    "gpu": "use --device cuda:N",
    "save-dir": "use --out FOLDER",
    "datapath": "use --data-root FOLDER",
    "workers": "leave it out: data stay in memory, so there are no loader workers to set",
    "print-freq": dict.fromkeys(("pretrain", "prune", "mia"), _NOTHING_TO_SET)
    | {"run": "leave it out; --verbose prints a line for every task"},
    "config": dict.fromkeys(("pretrain", "prune", "mia"), "give the file as the argument, without --config")
    | {"run": "its files are not read here; give their values as options, such as --methods dpf --sparsities 0.9"},
    "config-path": "give the file as the argument, without --config-path",
    "prune": _grid(_METHOD),
    "prune-method": _grid(_METHOD, mia=_ALL_ARE_ATTACKED),
    "sparsity": _grid(
        "use --sparsities 0.9",
        pretrain="give --prune-sparsity 0.9 to `pruneaudit prune`",
        prune="use --prune-sparsity 0.9",
        mia=_ALL_ARE_ATTACKED,
    ),
    "prune-type": _grid("leave it out: masks are unstructured, whatever it says", mia=_ALL_ARE_ATTACKED),
    "mia": _grid("leave it out: a run always attacks; --attacks says how"),
    "num-shadows": _grid("use --num-models N"),
    **dict.fromkeys(("multi-seed", "num-seeds", "start-seed"), _grid(_SEEDS)),
    "sparsities": _grid(prune="use --prune-sparsity 0.9", mia=_ALL_ARE_ATTACKED),
    "methods": _grid(mia=_ALL_ARE_ATTACKED),
    "dataset": _grid(pretrain="use --dataset-name NAME", mia="leave it out: a run folder knows its data"),
    "arch": _grid(pretrain="use --model-name NAME"),
    **dict.fromkeys(("layers", "momentum", "name", "prune-freq", "target-epoch", "freeze-epoch"), _grid()),
    **dict.fromkeys(("wandb", "wandb-project", "wandb-entity", "wandb-tags"), _grid()),
    "wandb-name": _grid(_NAMED_AFTER_STUDY),
    "wandb-notes": _grid(_NAMED_AFTER_STUDY),
    "skip-existing": "leave it out: what is on disk is never made again",
    "verbose": _NOTHING_TO_SET,
    "reorganize-only": _NO_SCRIPT,
    # train_dwa.py
    **dict.fromkeys(("dwa-mode", "dwa-alpha", "dwa-beta", "dwa-threshold-percentile"), _NO_DWA),
    **dict.fromkeys(("dwa-modes", "dwa-alphas", "dwa-betas", "alpha", "beta", "forward-mode"), _NO_DWA),
    # mia_eval/, scripts/, and mia/ of its README
    "runs-dir": dict.fromkeys(("pretrain", "prune", "run"), "use --out FOLDER")
    | {"mia": "give the folder as the argument: `pruneaudit mia runs`"},
    "results-dir": {"pretrain": _AT_MIA, "prune": _AT_MIA},
    "output-dir": dict.fromkeys(("mia", "run"), "use --results-dir FOLDER")
    | dict.fromkeys(("pretrain", "prune"), "give --results-dir FOLDER to `pruneaudit mia`"),
    "model": dict.fromkeys(("prune", "mia"), "leave it out: the run folder knows its network")
    | {"pretrain": "use --model-name NAME", "run": "use --arch resnet"},
    **dict.fromkeys(("victim-seed", "shadow-seeds"), _ALL_PLAY),
    **dict.fromkeys(("split-seed", "skip-data-prep"), _ONE_MEMBERSHIP),
    "threshold-strategy": "leave it out: thresholds are learned on references, never on the victim",
    "debug": _NOTHING_TO_SET,
    **dict.fromkeys(("victim-ratio", "shadow-ratio", "test-ratio", "verify-only", "verify"), _NO_SCRIPT),
    **dict.fromkeys(("mode", "limit-shadows", "ckpt-globs", "runs"), _NO_SCRIPT),
}
REPLACED: Mapping[str, str | Mapping[str, str]] = _OF_MIA_PRUNE | _OF_PRUNING_MIA
"""By name without dashes: what to do instead, the same with every command or by command."""


def advice(command: str, name: str) -> str:
    """What to do instead of an old option, in words; empty where nothing is known of it.

    Args:
        command: one of `COMMANDS`.
        name: of the option, without the leading dashes.
    """
    known = REPLACED.get(name, "")
    return known if isinstance(known, str) else known.get(command, "")


def refuse_old(command: str, arguments: Sequence[str], taken: Collection[str]) -> None:
    """Names our option where an old one is given that the command does not take.

    Args:
        command: one of `COMMANDS`.
        arguments: as typed, options in our spelling (`--prune-type`).
        taken: the options that the command takes, such as `--out`.

    Raises:
        UserError: there is such an option.
    """
    for argument in arguments:
        if argument == "--":
            return
        flag = argument.partition("=")[0]
        if flag.startswith("--") and flag not in taken and (instead := advice(command, flag[2:])):
            raise UserError(f"{flag}: this command does not take that option of mia_prune or Pruning_MIA; {instead}")
