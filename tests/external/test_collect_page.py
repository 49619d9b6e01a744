"""What docs/collect.md shows is run, block by block, in an empty folder."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from pruneaudit.cli import main

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "collect.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)


def test_every_block_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for language, code in BLOCKS:
        if language == "bash":
            for line in code.splitlines():
                with pytest.raises(SystemExit) as end:
                    main(shlex.split(line, comments=True)[1:])
                assert not end.value.code, line
        elif code.startswith("# "):
            Path(code.splitlines()[0].removeprefix("# ")).write_text(code)
        else:
            exec(compile(code, PAGE.name, "exec"), {"__name__": "__main__"})
    findings = pd.read_csv("audit/findings.csv").set_index(["attack", "victim"])
    assert findings.loc[("lira", "mean"), "auc_low"] > 0.5
