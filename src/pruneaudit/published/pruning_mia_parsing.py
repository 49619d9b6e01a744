"""Parses the options of Pruning_MIA's `train.py`, `run_experiment.py` and `mia/` into grids and attacks.

Like its parsers, `joined` accepts several values after one flag, `--methods dense static dpf`; it also accepts
comma-separated values and repeated flags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pruneaudit.core.errors import UserError

if TYPE_CHECKING:
    from pruneaudit.published.pruning_mia import Grid

SEVERAL = ("methods", "sparsities", "seeds", "attacks")
"""Options with several values."""
FAMILIES = ("advanced", "wemem")
"""Its two families of attacks, `mia_advanced.py` and `mia_wemem.py`; also groups of attacks here."""
NUM_SEEDS, START_SEED = 8, 43
"""The defaults of `--multi-seed`."""
METHOD, SPARSITY = "static", 0.5
"""The default method and sparsity of `run_experiment.py --prune`."""


def joined(arguments: Sequence[str], several: Sequence[str]) -> list[str]:
    """Joins all values after each option of `several` into one comma-separated value.

    Raises:
        UserError: such an option has no value.
    """
    flags, done, rest = {f"--{name}" for name in several}, [], list(arguments)
    while rest and rest[0] != "--":
        flag = rest.pop(0)
        done.append(flag)
        values = []
        while flag in flags and rest and not rest[0].startswith("-"):
            values.append(rest.pop(0))
        if flag in flags and not values:
            raise UserError(f"{flag}: got no value, expected one or more, such as {flag} A B")
        done += [",".join(values)] if values else []
    return done + rest


def parts_of(texts: Sequence[str] | None) -> list[str]:
    """Splits comma-separated texts into their values."""
    return [part.strip() for text in texts or () for part in text.split(",") if part.strip()]


def given_options(**options: Any) -> dict[str, Any]:
    """Returns the given options of the grid, by its keys, with comma-separated texts split."""
    given = {key: value for key, value in options.items() if value not in (None, [], ())}
    return given | {key: parts_of(given[key]) for key in SEVERAL if key in given}


def several_seeds(multi_seed: bool, num_seeds: int | None, start_seed: int | None) -> list[int] | None:
    """Returns the seeds of `--multi-seed --num-seeds N --start-seed S`; None without `--multi-seed`.

    Raises:
        UserError: `--num-seeds` or `--start-seed` is given without `--multi-seed`.
    """
    for option, value in (("--num-seeds", num_seeds), ("--start-seed", start_seed)):
        if value is not None and not multi_seed:
            raise UserError(f"{option}: got {value} without --multi-seed; add --multi-seed, or leave it out")
    if not multi_seed:
        return None
    first = START_SEED if start_seed is None else start_seed
    return list(range(first, first + (NUM_SEEDS if num_seeds is None else num_seeds)))


def grids(given: Mapping[str, Any], command: str) -> list[Grid]:
    """Returns the grids for the given options, one per seed.

    Args:
        given: from `given_options`; `seeds` gives several values of `seed`.
        command: the command of the options, for messages.

    Raises:
        UserError: an option is wrong, or two cannot be combined.
    """
    from pruneaudit.core.options import validated
    from pruneaudit.published.pruning_mia import Grid

    values = dict(given)
    seeds = values.pop("seeds", None)
    if "seed" in values and seeds is not None:
        raise UserError("--seed: cannot be combined with several seeds (--seeds, --multi-seed); leave one of them out")
    if seeds == []:
        raise UserError("--seeds: got no numbers, expected seeds such as 42 43")
    each = [values] if seeds is None else [values | {"seed": seed} for seed in seeds]
    made = [validated(Grid, grid, command) for grid in each]
    return list({grid.seed: grid for grid in made}.values())


def experiment(
    prune: bool, method: str | None, sparsity: float | None, name: str | None, num_shadows: int | None = None
) -> dict[str, Any]:
    """Returns the cell of the grid that `run_experiment.py` trains, as options of the grid.

    Args:
        prune: train a pruned release; otherwise the dense networks, which are always called `dense`.
        method: `static` or `dpf`; default: static.
        sparsity: the sparsity; default: 0.5.
        name: the name of the pruned release.
        num_shadows: shadows per network; the bank has one network more.

    Raises:
        UserError: a method or sparsity is given without `--prune`.
    """
    more = {} if num_shadows is None else {"num_models": num_shadows + 1}
    if prune:
        cell = {"methods": [method or METHOD], "sparsities": [SPARSITY if sparsity is None else sparsity]}
        return cell | ({"name": name} if name else {}) | more
    for option, value in (("--prune-method", method), ("--sparsity", sparsity)):
        if value is not None:
            raise UserError(f"{option}: got {value} without --prune; add --prune, or leave it out")
    return {"methods": ["dense"]} | more


def options_of(config: str | None, **given: Any) -> dict[str, Any]:
    """Returns the options of `run_experiment.py`; given ones override those of the configuration file.

    Args:
        config: the file, or None.
        given: the given options by name; None or False: not given.

    Raises:
        UserError: the file is unreadable, or something in it is wrong.
    """
    if config is None:
        return given
    from pruneaudit.published.pruning_mia_config import read_config

    return read_config(config).options() | {key: value for key, value in given.items() if value not in (None, False)}


def attacks_asked(only: str | None, attacks: Sequence[str] | None) -> list[str]:
    """Returns the attacks for `mia`: the named ones, those of one family, or all nine.

    Args:
        only: `advanced` or `wemem`, like its scripts of these names.
        attacks: names, comma-separated or one by one.

    Raises:
        UserError: the family is unknown, or a named attack belongs to the other one.
    """
    from pruneaudit.attacks.groups import GROUPS

    if only is not None and only not in FAMILIES:
        raise UserError(f"--only: got '{only}', expected {' or '.join(FAMILIES)}")
    named = parts_of(attacks)
    if attacks and not named:
        raise UserError("--attacks: got no names, expected names such as lira")
    for attack in named:
        name = attack.partition(":")[0]
        if only is not None and name != only and name not in GROUPS[only]:
            its = ", ".join(GROUPS[only])
            raise UserError(f"--attacks: got '{attack}' with --only {only}, which has {its}; leave one of them out")
    return named or ([only] if only else list(FAMILIES))
