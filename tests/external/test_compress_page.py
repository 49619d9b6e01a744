"""What docs/compress.md shows is run, block by block, in an empty folder."""

import re
import shlex
from pathlib import Path

import pytest

from pruneaudit.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "compress.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
STUDY = """
name = "demo"
data = { source = "digits", num_samples = 120, num_holdout = 40 }
membership = { num_models = 4 }
model = { name = "mlp", options = { hidden = [8] } }
training = { epochs = 1 }
releases = [{ compress = "l1unstructured", sparsity = 0.9 }]
audit = { attacks = ["loss"] }
"""


def call(line):
    with pytest.raises(SystemExit) as end:
        main(shlex.split(line)[1:])
    assert not end.value.code, line


def test_every_block_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("study.toml").write_text(STUDY)
    call("pruneaudit run study.toml --executor serial --quiet")
    names = {"__name__": "__main__"}
    for language, code in BLOCKS:
        if language == "bash":
            for line in code.splitlines():
                call(line)
        elif code.startswith("# "):
            Path(code.splitlines()[0].removeprefix("# ")).write_text(code)
        else:
            exec(compile(code, PAGE.name, "exec"), names)
    assert Path("model.onnx").stat().st_size > 1000
    assert Path("model.safetensors.json").exists()
