"""What docs/check.md shows is run, block by block, in an empty folder."""

import re
import shlex
from pathlib import Path

import pytest

from pruneaudit.cli import main

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[1] / "docs" / "check.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
STUDY = """
name = "digits"
data = { source = "digits", num_samples = 400 }
membership = { num_models = 4 }
model = { name = "mlp", options = { hidden = [16] } }
training = { epochs = 2 }
releases = [{ compress = "l1unstructured", sparsity = 0.9 }]
audit = { attacks = ["lira"], fpr_levels = [0.1] }
"""


def call(line):
    program, *arguments = shlex.split(line)
    assert program == "pruneaudit"
    if arguments[0] == "run":
        arguments += ["--executor", "serial"]  # starting workers takes longer than all the rest
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert not end.value.code, line


def test_every_block_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    Path("study.toml").write_text(STUDY)
    (workflow,) = (code for language, code in BLOCKS if language == "yaml")
    for line in re.findall(r"run: (pruneaudit .*)", workflow):
        call(line)
    for language, code in BLOCKS:
        if language == "bash":
            for line in code.splitlines():
                call(line)
        elif language == "python":
            exec(compile(code, PAGE.name, "exec"), {"__name__": "__main__"})
    assert "within 0\n" in capsys.readouterr().out
    assert Path("check.md").read_text().startswith("## pruneaudit check: within budget")
    assert "| training.epochs | 4 | 2 |" in Path("difference.md").read_text()
