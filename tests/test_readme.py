"""The commands of the README are understood, and its links lead somewhere; the code of docs/own-code.md runs."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from pruneaudit.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"`(pruneaudit [a-z][^`]*)`", README)
OWN_CODE = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs/own-code.md").read_text(), re.MULTILINE | re.DOTALL)


def run_python(code):
    if re.match(r"# \w+\.py\n", code):
        write_file(code)
        return
    exec(compile(code, "own-code.md", "exec"), {"__name__": "__main__"})


def run_shell(code):
    for line in code.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "pruneaudit"
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert not end.value.code, line


def write_file(code):
    first, *_ = code.splitlines()
    Path(first.removeprefix("# ")).write_text(code)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_understood(command, check_command):
    check_command(command)


def test_every_question_has_a_command_and_a_guide():
    table = README.partition("| question | command | guide |\n")[2].partition("\n\n")[0].splitlines()[1:]
    assert len(table) > 12
    for row in table:
        question, command, guide = (cell.strip() for cell in row.strip("|").split("|"))
        assert question.endswith(("?", "."))
        assert command.startswith("`pruneaudit ")
        assert "](docs/" in guide


def test_the_readme_fits_a_screen_or_two():
    assert len(README.splitlines()) <= 80


@pytest.mark.slow
def test_own_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as Python has it where a program stands
    run = {"python": run_python, "bash": run_shell, "toml": write_file}
    for language, code in OWN_CODE:
        run[language](code)
    assert {language for language, _ in OWN_CODE} == set(run)
    assert set(pd.read_csv("runs/mine/findings.csv")["release"]) == {"dense", "dense+finetune", "l1unstructured-0.9"}
    counts = re.findall(r"event=begin to_do=(\d+)", Path("runs/mine/run.log").read_text())
    assert counts == ["48", "0"]  # the same study twice


def test_links_lead_somewhere():
    targets = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert targets
    missing = [target for target in targets if not (ROOT / target.partition("#")[0]).exists()]
    assert not missing
