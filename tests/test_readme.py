"""What the README shows is understood, and (slowly) run, block by block, in an empty folder."""

import re
import shlex
import tomllib
from pathlib import Path

import pandas as pd
import pytest

from pruneaudit.cli import main
from pruneaudit.study import Study

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README.read_text(), flags=re.MULTILINE | re.DOTALL)


def run_python(code):
    if re.match(r"# \w+\.py\n", code):
        write_file(code)
        return
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})


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


def test_every_block_is_understood(check_command):
    for language, code in BLOCKS:
        if language == "bash":
            for line in code.splitlines():
                check_command(line)
        elif language == "toml":
            Study.model_validate(tomllib.loads(code))
        else:
            compile(code, "README.md", "exec")


@pytest.mark.slow
def test_every_block_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as Python has it where a program stands
    run = {"python": run_python, "bash": run_shell, "toml": write_file}
    for language, code in BLOCKS:
        run[language](code)
    assert {language for language, _ in BLOCKS} == set(run)
    assert "study digits: 8 models" in capsys.readouterr().out
    findings = pd.read_csv("runs/digits/findings.csv")
    assert set(findings["release"]) == {"dense", "dense+finetune", "l1unstructured-0.7", "l1unstructured-0.9"}
    assert set(pd.read_csv("runs/mine/findings.csv")["release"]) == {"dense", "dense+finetune", "l1unstructured-0.9"}
    counts = re.findall(r"event=begin to_do=(\d+)", Path("runs/mine/run.log").read_text())
    assert counts == ["48", "0"]  # the same study twice


def test_links_lead_somewhere():
    targets = [link for link in re.findall(r"\]\(([^)]+)\)", README.read_text()) if "://" not in link]
    assert targets
    missing = [target for target in targets if not (README.parent / target.partition("#")[0]).exists()]
    assert not missing
