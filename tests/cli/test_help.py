"""What `--help` shows: commands by what a user wants, options in panels, and no published system's in `run`."""

import re

import pytest
import typer

from pruneaudit.cli import app

ROOT = typer.main.get_command(app)
COMMANDS = {
    "Start": ["demo", "list"],
    "Studies": ["run", "choose", "attack", "mia-prune", "pruning-mia", "compleak"],
    "Own models": ["audit-model", "collect", "audit", "compress", "canaries"],
    "Results": ["report", "check", "frontier", "families", "claims", "power", "records", "figures", "export"],
    "Maintenance": ["verify", "sanity-check", "clean", "migrate"],
}
STEPS = {
    "mia-prune": ["pretrain", "prune", "mia"],
    "pruning-mia": ["train", "run-experiment", "mia", "test", "export"],
}


def panels(text):
    """The first words of the rows below each heading of a help page."""
    found = re.split(r"^(\w[\w ]*):\n", text, flags=re.MULTILINE)
    rows = [re.findall(r"^  (-\w, --[\w-]+|[\w-]+)", part, flags=re.MULTILINE) for part in found[2::2]]
    return dict(zip(found[1::2], rows, strict=True))


def test_commands_stand_by_what_a_user_wants(call):
    code, out, _ = call("--help")
    assert code == 0
    shown = panels(out)
    assert shown.pop("Options") == ["--version", "--help"]
    assert shown == COMMANDS
    assert all(len(line) <= 80 for line in out.splitlines())
    assert call() == (2, out, "")


@pytest.mark.parametrize("group", STEPS)
def test_a_group_has_the_commands_of_its_system(call, group):
    code, out, _ = call(group, "--help")
    assert code == 0
    assert panels(out)["Commands"] == STEPS[group]
    assert call(group) == (2, out, "")


def test_run_has_few_options_in_panels(call):
    code, out, _ = call("run", "--help")
    assert code == 0
    shown = panels(out)
    assert list(shown) == ["Arguments", "Study", "Machine", "Tracking", "Output", "Options"]
    options = [row for panel in ("Study", "Machine", "Tracking", "Output") for row in shown[panel]]
    assert 10 < len(options) <= 18


def options_of(command):
    return {name for parameter in command.params for name in parameter.opts if name.startswith("--")}


OURS = {"--set", "--dry-run", "--device", "--executor", "--jobs", "--data-root", "--out", "--quiet", "--verbose"}
OURS |= {"--wait", "--track", "--show-records", "--ray-address", "--gpus-per-task"}
"""What our own commands and the groups have in common: on what machine, and what is shown."""


def test_run_has_no_option_of_a_published_system():
    of_systems = {
        option
        for group in STEPS
        for command in ROOT.commands[group].commands.values()
        for option in options_of(command)
    }
    assert len(of_systems) > 50
    assert options_of(ROOT.commands["run"]) & of_systems <= OURS


@pytest.mark.parametrize("name", sorted(ROOT.commands))
def test_every_option_and_command_says_what_it_does(name):
    command = ROOT.commands[name]
    for each in (command, *getattr(command, "commands", {}).values()):
        assert each.get_short_help_str(200)
        assert [parameter.name for parameter in each.params if not parameter.help] == []
