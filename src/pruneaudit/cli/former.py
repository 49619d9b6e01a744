"""Commands and options of earlier versions: answers each with the command to type now, in one line.

The options of the published systems are now in their own groups; `pruneaudit run` had 22 of them.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pruneaudit.cli.panels import PanelCommand, PanelGroup
from pruneaudit.core.errors import UserError

MOVED = {
    "pretrain": "mia-prune pretrain",
    "prune": "mia-prune prune",
    "mia": "mia-prune mia",
    "prune-model": "compress",
    "selftest": "sanity-check",
}
"""Commands of earlier versions and their present names; `mia` with a folder of runs differs (`_of_runs`)."""
RENAMED = {"--control": "--baseline", "--knowledge": "--references"}
"""Options of those commands that were renamed."""
TRAIN, EVALUATE, EXPORT = "pruning-mia train", "pruning-mia mia", "pruning-mia export"
IN_ITS_PLACE = (TRAIN, "pruning-mia run-experiment", "mia-prune pretrain", "mia-prune prune", "mia-prune mia")
"""Commands with options that `run` does not have, the likeliest first."""
RECIPE = "pruning-mia/"
"""Prefix of the names of Pruning_MIA's recipes; the data set follows."""
SETTINGS = {
    "--dataset": "data.source",
    "--epochs": "training.epochs",
    "--batch-size": "training.batch_size",
    "--lr": "training.learning_rate",
    "--momentum": "training.momentum",
    "--weight-decay": "training.weight_decay",
    "--seed": "seed",
    "--num-models": "membership.num_models",
    "--attacks": "audit.attacks",
    "--arch": "model.name",
    "--layers": "model.options.depth",
}
"""The setting of any study that is equivalent to an option of a grid."""
TRACKERS = ("wandb", "mlflow", "tensorboard")
FLAGS = ("--wandb", "--mlflow", "--tensorboard", "--skip-existing")
"""Former options of `run` that take no value."""
SEVERAL = ("--methods", "--sparsities", "--seeds", "--attacks", "--wandb-tags")
"""Former options of `run` that take several values."""
FORMER = {*SETTINGS, *FLAGS, *SEVERAL, "--mlflow-uri", "--wandb-project", "--wandb-entity"}
"""Former options of `run` with an equivalent there; all others belong to the commands of `IN_ITS_PLACE`."""
PAIRED = ("--paired", "--paired-references")
"""Former options of `audit`: the other release of the same models, which is now given like the attacked one."""

Words = list[str]
"""An option with its values, or an argument."""


class RootGroup(PanelGroup):
    """All commands; answers a former command with the one to type now."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Refuses a former command in one line."""
        former, rest = args[0], args[1:]
        if former in MOVED and former not in self.commands:
            now, rest = _of_runs(self, rest) if former == "mia" else (MOVED[former], rest)
            rest = [RENAMED.get(word, word) for word in rest]
            raise UserError(f"pruneaudit {former} is now: {_line(now, rest)}")
        return super().resolve_command(ctx, args)


class RunCommand(PanelCommand):
    """`run`; answers options that belong elsewhere with the command to type now."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuses options of the published systems, and former ones, in one line."""
        root = ctx.find_root().command
        if isinstance(root, PanelGroup):
            _refuse(_Options(root), args)
        return super().parse_args(ctx, args)


class ExportCommand(PanelCommand):
    """`export`; its former `--layout` is now a separate command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuses `--layout` in one line."""
        for place, word in enumerate(args):
            if word.partition("=")[0] == "--layout":
                rest = args[:place] + args[place + (1 if "=" in word else 2) :]
                raise UserError(f"--layout of pruneaudit export is now a command: {_line(EXPORT, rest)}")
        return super().parse_args(ctx, args)


class AuditCommand(PanelCommand):
    """`audit`; answers its former options for a second release with the command to type now."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuses `--paired` and `--paired-references` in one line."""
        root = ctx.find_root().command
        former = [word for word in args if word.partition("=")[0] in PAIRED]
        if former and isinstance(root, PanelGroup):
            words = _of_two_releases(list(_Options(root, ("audit",)).words(args)))
            raise UserError(f"{former[0].partition('=')[0]} is gone; several releases are now: {_line('audit', words)}")
        return super().parse_args(ctx, args)


class _Options:
    """The options of commands, by command and name."""

    def __init__(self, root: PanelGroup, names: Sequence[str] = ("run", EVALUATE, *IN_ITS_PLACE)) -> None:
        self.of: Mapping[str, Mapping[str, Any]] = {name: _options_of(_find(root, name)) for name in names}

    def words(self, args: Sequence[str]) -> Iterator[Words]:
        """Splits a command line into options, each with its values, and arguments."""
        rest = list(args)
        while rest and rest[0] != "--":
            option = rest.pop(0)
            yield [option, *(rest.pop(0) for _ in range(self._num_values(option, rest)))]
        if rest:  # after "--" every word is an argument
            yield rest

    def _num_values(self, option: str, rest: Sequence[str]) -> int:
        """Counts the words after an option that are its values."""
        known = next((of_it[option] for of_it in self.of.values() if option in of_it), None)
        is_flag = option in FLAGS or getattr(known, "is_flag", False)
        if (
            "=" in option
            or not option.startswith("-")
            or is_flag
            or (known is None and option not in (*FORMER, *PAIRED))
        ):
            return 0
        if option not in SEVERAL:
            return min(1, len(rest))
        values = 0
        while values < len(rest) and not rest[values].startswith("-") and not _is_study(rest[values]):
            values += 1
        return values


def _of_two_releases(parts: Sequence[Words]) -> list[str]:
    """The words after `audit` that are equivalent to a former line with `--paired`."""
    values = {_name(part): (part[0].partition("=")[2] or part[-1]) for part in parts if part[0].startswith("-")}
    rest = [part for part in parts if _name(part) not in (*PAIRED, "--references", "--name")]
    attacked = next((part for part in rest if not part[0].startswith("-")), ["FILE"])
    other = values.get("--paired", "OTHER")
    name, baseline = values.get("--name", Path(attacked[0]).stem), Path(other).stem
    if name == baseline:
        name, baseline = "attacked", "baseline"
    words = [f"{baseline}={other}", f"{name}={attacked[0]}", "--baseline", baseline]
    for option, release in (("--paired-references", baseline), ("--references", name)):
        words += ["--references", f"{release}={values[option]}"] if option in values else []
    return [*words, *_flat([part for part in rest if part is not attacked])]


def _find(root: PanelGroup, name: str) -> Any:
    found: Any = root
    for part in name.split():
        found = found.commands[part]
    return found


def _options_of(command: Any) -> dict[str, Any]:
    return {name: parameter for parameter in command.params for name in parameter.opts if name.startswith("-")}


def _is_study(text: str) -> bool:
    return "/" in text or text.endswith((".toml", ".json"))


def _line(command: str, words: Sequence[str]) -> str:
    return shlex.join(["pruneaudit", *command.split(), *words])


def _flat(parts: Sequence[Words]) -> list[str]:
    return [word for part in parts for word in part]


def _name(part: Words) -> str:
    return part[0].partition("=")[0]


def _values(part: Words) -> list[str]:
    texts = [part[0].partition("=")[2], *part[1:]]
    return [value.strip() for text in texts for value in text.split(",") if value.strip()]


def _of_runs(root: PanelGroup, args: Sequence[str]) -> tuple[str, list[str]]:
    """Translates the former `mia`, of a study or of the runs in a folder; omits options without effect on runs."""
    options = _Options(root)
    parts = list(options.words(args))
    number = parts.pop(0)[0] if len(parts) > 1 and parts[0][0].isdecimal() else ""
    folder = next((part for part in parts if len(part) == 1 and Path(part[0]).is_dir()), None)
    if folder is None and "--runs-dir" not in map(_name, parts):
        return MOVED["mia"], list(args)
    kept = [part for part in parts if _name(part) in options.of[EVALUATE]]
    place = [["--runs-dir", *folder]] if folder else []
    gpu = [["--gpu", number]] if number else []
    return EVALUATE, _flat([*place, *kept, *gpu])


def _refuse(options: _Options, args: Sequence[str]) -> None:
    """Refuses options that another command takes, or that `run` took in an earlier version.

    Raises:
        UserError: there is such an option; the message has the whole new command.
    """
    parts = list(options.words(args))
    known = FORMER.union(*(options.of[name] for name in IN_ITS_PLACE))
    foreign = [part for part in parts if _name(part) not in options.of["run"] and _name(part) in known]
    if foreign:
        study = next((part[0] for part in parts if not part[0].startswith("-")), "")
        named = ", ".join(dict.fromkeys(map(_name, foreign)))
        line = _new_line(options, study, parts, foreign)
        if study in line.split() or study.startswith(RECIPE):
            raise UserError(f"{named}: not an option of pruneaudit run; use: {line}")
        raise UserError(
            f"{named}: is an option of Pruning_MIA's grid: {line}; to change '{study}', use --set or edit its file"
        )


def _new_line(options: _Options, study: str, parts: Sequence[Words], foreign: Sequence[Words]) -> str:
    """Returns the command that does the same as a former line of `run`."""
    of_run = [part for part in parts if part not in foreign]
    changed = _as_settings(foreign)
    if changed is not None and (not study.startswith(RECIPE) or _is_tracking(foreign)):
        return _line("run", _flat([*of_run, *changed]))
    tracked = [part for part in foreign if _name(part) in ("--mlflow", "--mlflow-uri", "--tensorboard")]
    its = [part for part in foreign if part not in tracked]
    rest = [part for part in parts if part not in tracked]
    wanted = [_name(part) for part in its]
    command = next((name for name in IN_ITS_PLACE if all(each in options.of[name] for each in wanted)), TRAIN)
    if command.startswith("pruning-mia"):
        rest = [part for part in rest if part != [study]]
        data = study.removeprefix(RECIPE) if study.startswith(RECIPE) else ""
        is_named = "--dataset" in wanted or data in ("", "cifar10")
        rest += [] if is_named else [["--dataset", data]]
    return _line(command, _flat([*rest, *_as_trackers(tracked)]))


def _is_tracking(foreign: Sequence[Words]) -> bool:
    return all(_name(part)[2:].partition("-")[0] in TRACKERS for part in foreign)


def _as_settings(foreign: Sequence[Words]) -> list[Words] | None:
    """Translates former options to `--set` and `--track`; None if one has no such form."""
    done: list[Words] = []
    for part in foreign:
        name, values = _name(part), _values(part)
        if name in SETTINGS:
            text = json.dumps(values) if name == "--attacks" else ",".join(values)
            done.append(["--set", f"{SETTINGS[name]}={text}"])
        elif name != "--skip-existing" and name[2:].partition("-")[0] not in TRACKERS:
            return None
    return done + _as_trackers(foreign)


def _as_trackers(foreign: Sequence[Words]) -> list[Words]:
    """Translates the former `--wandb --wandb-project X` to `--track wandb:project=X`."""
    asked: dict[str, list[str]] = {}
    for part in foreign:
        tracker, _, option = _name(part)[2:].partition("-")
        if tracker in TRACKERS:
            asked.setdefault(tracker, []).extend([f"{option}={','.join(_values(part))}"] if option else [])
    return [["--track", ":".join([tracker, *options])] for tracker, options in asked.items()]
