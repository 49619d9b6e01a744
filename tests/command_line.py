"""The command line in the process of the tests."""

import contextlib
import io
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from pruneaudit.study import Study

built = cache(get_command)
"""A program's commands. To build them takes longer than most commands do, and a call changes nothing of them."""


def called(*arguments: Any) -> tuple[int, str, str]:
    """Runs a command line: (exit code, standard output, standard error)."""
    from pruneaudit.cli import main

    words = [str(argument) for argument in arguments]
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", ["pruneaudit", *words])
        patch.setattr("typer.main.get_command", built)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(words)
    return end.value.code or 0, out.getvalue(), err.getvalue()


def succeed(*arguments: Any) -> str:
    """Runs a command line that must end with 0; its standard output."""
    code, out, err = called(*arguments)
    assert code == 0, err
    return out


def refused_study(study: Study, tmp_path: Path) -> str:
    """The line with which `run` refuses a study, before it makes a folder."""
    path = tmp_path / "bad.json"
    path.write_text(study.model_dump_json(exclude_unset=True))
    code, _, err = called("run", path, "--out", tmp_path / "runs")
    assert code == 2
    assert not (tmp_path / "runs").exists()
    (line,) = err.strip().splitlines()
    return line
