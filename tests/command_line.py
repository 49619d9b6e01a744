"""The command line in the process of the tests."""

import contextlib
import io
import sys
from typing import Any

import pytest


def called(*arguments: Any) -> tuple[int, str, str]:
    """Runs a command line: (exit code, standard output, standard error)."""
    from pruneaudit.cli import main

    words = [str(argument) for argument in arguments]
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", ["pruneaudit", *words])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(words)
    return end.value.code or 0, out.getvalue(), err.getvalue()


def succeed(*arguments: Any) -> str:
    """Runs a command line that must end with 0; its standard output."""
    code, out, err = called(*arguments)
    assert code == 0, err
    return out
