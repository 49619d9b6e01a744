"""The comparing part of scripts/golden.py, on folders made by hand: what it reports, lists and passes over."""

import importlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
RUN = Path("runs/study")
MODEL = RUN / "dense-0123abcd" / "model-000"
PAGE = """<style>.a {{}}</style><p>Leaks: <b>{auc}</b></p><p>pruneaudit {version}, torch 2.0</p><p>{date}</p>
<table><tr><th>Release</th><th>Latency, ms</th></tr><tr><th>dense</th><td>{latency}</td></tr></table>"""


@pytest.fixture(scope="module", autouse=True)
def scripts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        yield


@pytest.fixture
def golden():
    return importlib.import_module("golden")


@pytest.fixture
def both(tmp_path):
    """Two equal folders, as a case leaves them."""
    before, after = tmp_path / "before", tmp_path / "after"
    (before / MODEL).mkdir(parents=True)
    (before / MODEL / "model.safetensors").write_bytes(bytes(range(100)))
    np.save(before / MODEL / "logits.npy", np.arange(6.0))
    (before / RUN / "findings.csv").write_text("release,auc\ndense,0.625\npruned,0.5\n")
    (before / RUN / "SHA256SUMS").write_text("12ab  findings.csv\n")
    (before / RUN / "run.log").write_text("12:00 begin\n")
    (before / RUN / "report.html").write_text(
        PAGE.format(auc=0.625, version="1.0.0", date="2026-01-02T03:04:05+00:00", latency=0.07)
    )
    about = {"created": "2026-01-02", "versions": {"torch": "2.0"}, "engine": {"name": "plain"}, "auc": float("nan")}
    (before / RUN / "about.json").write_text(json.dumps(about))
    np.savez(before / RUN / "membership.npz", member=np.eye(3, dtype=bool))
    pd.DataFrame({"id": ["a", "b"], "loss": [0.5, np.nan]}).to_parquet(before / RUN / "scores.parquet")
    shutil.copytree(before, after)
    return before, after


def replace(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_equal_folders_are_equal(golden, both):
    found = golden.compare(*both)
    assert (found.differences, found.listed) == ([], [])
    assert found.compared == dict.fromkeys((".csv", ".html", ".json", ".npy", ".npz", ".parquet", ".safetensors"), 1)


@pytest.mark.parametrize("name", ["model.safetensors", "logits.npy"])
def test_one_byte_of_an_artifact_is_a_difference(golden, both, name):
    file = both[1] / MODEL / name
    changed = bytearray(file.read_bytes())
    changed[-1] ^= 1
    file.write_bytes(changed)
    (line,) = golden.compare(*both).differences
    assert line.startswith(str(MODEL / name))


def test_a_changed_number_is_shown_with_its_line(golden, both):
    replace(both[1] / RUN / "findings.csv", "0.625", "0.626")
    (line,) = golden.compare(*both).differences
    assert all(part in line for part in ("findings.csv", " 2", "0.625", "0.626"))


def test_date_version_and_latency_on_the_page_may_differ(golden, both):
    replace(both[1] / RUN / "report.html", "2026-01-02T03:04:05", "2027-01-02T03:04:06")
    replace(both[1] / RUN / "report.html", "1.0.0", "1.1.0")
    replace(both[1] / RUN / "report.html", "<td>0.07", "<td>0.08")
    assert golden.compare(*both).differences == []


def test_another_word_on_the_page_is_a_difference(golden, both):
    replace(both[1] / RUN / "report.html", "Leaks:", "Hides:")
    (line,) = golden.compare(*both).differences
    assert "Leaks" in line
    assert "Hides" in line


def test_logs_checksums_and_times_are_not_compared(golden, both):
    replace(both[1] / RUN / "run.log", "12:00", "13:00")
    replace(both[1] / RUN / "SHA256SUMS", "12ab", "34cd")
    replace(both[1] / RUN / "about.json", "2026", "2027")
    assert golden.compare(*both).differences == []


def test_a_key_of_about_json_may_go_but_not_change(golden, both):
    file = both[1] / RUN / "about.json"
    replace(file, '"engine": {"name": "plain"}, ', "")
    found = golden.compare(*both)
    assert found.differences == []
    (line,) = found.listed
    assert "about.json" in line
    assert "engine" in line
    replace(file, "NaN", "0.5")
    (line,) = golden.compare(*both).differences
    assert ".auc" in line


def test_further_columns_are_listed_and_the_others_compared(golden, both):
    table = both[1] / RUN / "findings.csv"
    table.write_text("release,bits,auc\ndense,32,0.625\npruned,4,0.5\n")
    found = golden.compare(*both)
    assert (found.differences, found.listed) == ([], [f"{RUN}/findings.csv: column bits only after"])
    replace(table, "0.5", "0.50")
    (line,) = golden.compare(*both).differences
    assert all(part in line for part in ("findings.csv", " 3", "0.5", "0.50"))
    table.write_text("release,bits\ndense,32\npruned,4\n")  # a column is lost
    assert len(golden.compare(*both).differences) == 1


def test_further_keys_of_a_summary_are_listed_and_lost_ones_are_differences(golden, both):
    for side, summary in zip(both, ({"sparsity": 0.5}, {"sparsity": 0.5, "macs": 3}), strict=True):
        (side / MODEL / "summary.json").write_text(json.dumps(summary))
    found = golden.compare(*both)
    assert (found.differences, found.listed) == ([], [f"{MODEL}/summary.json: .macs only after"])
    (line,) = golden.compare(both[1], both[0]).differences
    assert line == f"{MODEL}/summary.json: .macs only before"


def test_files_of_one_version_are_listed(golden, both):
    (both[0] / RUN / "old.csv").touch()
    (both[1] / RUN / "new.csv").touch()
    found = golden.compare(*both)
    assert found.differences == []
    assert [("old.csv" in line, "new.csv" in line) for line in found.listed] == [(True, False), (False, True)]


def test_another_identity_is_a_difference(golden, both):
    (both[1] / MODEL).parent.rename(both[1] / RUN / "dense-4567abcd")
    differences = golden.compare(*both).differences
    assert len(differences) == 1
    assert "dense-0123abcd" in differences[0]


def test_tables_are_compared_by_their_content(golden, both):
    np.savez_compressed(both[1] / RUN / "membership.npz", member=np.eye(3, dtype=bool))
    pd.read_parquet(both[0] / RUN / "scores.parquet").to_parquet(both[1] / RUN / "scores.parquet", compression="gzip")
    assert golden.compare(*both).differences == []
    np.savez(both[1] / RUN / "membership.npz", member=~np.eye(3, dtype=bool))
    pd.DataFrame({"id": ["a", "b"], "loss": [0.5, 0.25]}).to_parquet(both[1] / RUN / "scores.parquet")
    found = golden.compare(*both).differences
    assert [("member" in line, "loss" in line) for line in found] == [(True, False), (False, True)]


def test_nothing_to_compare_is_a_difference(golden, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert len(golden.compare(tmp_path / "a", tmp_path / "b").differences) == 1


@pytest.mark.parametrize("given", ["no-such-commit", "--help-me"])
def test_what_is_no_commit_is_refused(golden, monkeypatch, capsys, given):
    monkeypatch.setattr(sys, "argv", ["golden.py", "--", given])
    assert golden.main() == 2
    assert given in capsys.readouterr().err
