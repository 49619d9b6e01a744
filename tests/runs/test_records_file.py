"""records.csv: for its owner alone from the first byte on, all or nothing, and read only if it is the expected one."""

import os
import signal
import stat
import subprocess
import sys
import textwrap

import pandas as pd
import pytest

from pruneaudit.core.files import file_sha256
from pruneaudit.engine.store import Store
from pruneaudit.runs.names import RECORDS_FILE, SEALED_ALWAYS, SEALED_IF_THERE
from pruneaudit.runs.records_file import named_records, new_records


def one_list(victim="3", ids=(5, 9), named=(1, 0)):
    columns = {"kind": "model", "release": "dense", "victim": victim, "id": ids, "class": 1}
    return pd.DataFrame(columns | {"p": [0.25, 1 / 3], "q": [0.5, 1.0], "named": named})


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_only_the_owner_can_read_it_from_the_first_byte_on(tmp_path):
    (tmp_path / RECORDS_FILE).write_text("old")
    (tmp_path / RECORDS_FILE).chmod(0o644)
    with new_records(tmp_path) as append:
        append(one_list())
        (temporary,) = tmp_path.glob(".records.csv.*")
        assert mode_of(temporary) == 0o600
        assert (tmp_path / RECORDS_FILE).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == [RECORDS_FILE]
    assert mode_of(tmp_path / RECORDS_FILE) == 0o600
    table = pd.read_csv(tmp_path / RECORDS_FILE)
    assert list(table.columns) == ["kind", "release", "victim", "id", "class", "p", "q", "named"]
    assert table["p"].tolist() == [0.25, 1 / 3]


def test_a_link_in_its_place_is_replaced_and_never_followed(tmp_path):
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / RECORDS_FILE).symlink_to(tmp_path / "elsewhere")
    with new_records(tmp_path) as append:
        append(one_list())
    assert not (tmp_path / RECORDS_FILE).is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "mine"


def test_it_is_written_whole_or_not_at_all(tmp_path):
    with new_records(tmp_path) as append:
        append(one_list())
    before = (tmp_path / RECORDS_FILE).read_bytes()
    with pytest.raises(ZeroDivisionError), new_records(tmp_path) as append:
        append(one_list(victim="4"))
        raise ZeroDivisionError
    assert (tmp_path / RECORDS_FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [RECORDS_FILE]


def test_a_killed_command_leaves_the_old_file_and_a_private_remnant_that_clean_removes(tmp_path):
    (tmp_path / RECORDS_FILE).write_text("old")
    code = f"""
        import os, signal
        from pathlib import Path
        from pruneaudit.runs.records_file import new_records
        os.umask(0)
        with new_records(Path({str(tmp_path)!r})):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / RECORDS_FILE).read_text() == "old"
    (remnant,) = tmp_path.glob(".*")
    assert mode_of(remnant) == 0o600
    assert remnant in list(Store(tmp_path).root.glob(".*.tmp"))  # what `clean` looks for


def test_names_are_read_from_the_expected_file_alone(tmp_path):
    with new_records(tmp_path) as append:
        append(one_list(victim="a,b\r\n", ids=("x\r", 'y"')))
        append(one_list(victim="4", named=(0, 0)))
    path = tmp_path / RECORDS_FILE
    (row,) = named_records(tmp_path, file_sha256(path))
    assert (row["victim"].strip(), row["id"].strip(), row["q"]) == ("a,b", "x", "0.5")
    assert list(named_records(tmp_path, "0" * 64)) == []
    path.unlink()
    assert list(named_records(tmp_path, "0" * 64)) == []


def test_no_seal_lists_it():
    assert RECORDS_FILE not in (*SEALED_ALWAYS, *SEALED_IF_THERE)
