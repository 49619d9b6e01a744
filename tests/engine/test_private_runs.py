"""Runs on people's data: their folders are the owner's alone, and no page or tracker shows whose data they are."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pruneaudit.api import Runtime, audit_files, report_again, run
from pruneaudit.api.writing import page_for_trackers
from pruneaudit.engine.progress import Silent
from pruneaudit.evaluation.results import Results
from pruneaudit.external.output import write_signals
from pruneaudit.report.page.html import write_report
from pruneaudit.signals.signals import Signals
from pruneaudit.tracking import Tracker

PICTURE = "data:image/png;base64,"


class Collector(Tracker):
    """Keeps what it is given, as a server would."""

    name = "collector"

    def __init__(self):
        super().__init__(None)
        self.texts, self.pages = [], {}

    def is_remote(self):
        return False

    def begin(self, about, folder):
        self.texts.append(repr(about))

    def curve(self, name, rows):
        self.texts.append(repr((name, rows)))

    def end(self, failed):
        assert not failed

    def findings(self, values):
        self.texts.append(repr(values))

    def files(self, paths):
        self.pages = {path.name: path.read_bytes() for path in paths}


class Warned(Silent):
    """Keeps warnings."""

    def __init__(self):
        self.lines = []

    def warn(self, message):
        self.lines.append(message)


@pytest.fixture(autouse=True)
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode_of(path):
    return stat.S_IMODE(Path(path).stat().st_mode)


def with_rises(results):
    """The results as if every sample had become easier to find, and the ids of the samples."""
    sample_detection = results.sample_detection.assign(
        change=0.5, detection_rate_before=0.25, detection_rate_after=0.75
    )
    assert len(sample_detection)
    return replace(results, sample_detection=sample_detection), set(sample_detection["sample_id"].astype(str))


def listed(page, ids):
    """The ids that stand on a page, and whether there are pictures."""
    text = page.read_text(encoding="utf-8")
    return {name for name in ids if f'<th scope="row"><bdi>{name}</bdi></th>' in text}, PICTURE in text


@pytest.fixture
def own_study(tmp_path, make_study):
    """A study on images of the user's own."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (100, 1, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", x=x, y=np.arange(100) % 2)  # noise: whatever is learned is memorised
    data = {"source": f"npz:{tmp_path / 'own.npz'}", "num_holdout": 10}
    return make_study(data=data, audit={"attacks": ["loss"], "references": ["matched"], "fpr_levels": [0.3]})


def test_a_run_on_ones_own_data(own_study, tmp_path):
    tracker, warned = Collector(), Warned()
    finished = run(own_study, tmp_path / "runs", Runtime("serial", trackers=[tracker], progress=warned))
    folder, page = finished.folder, finished.report
    assert (mode_of(folder), mode_of(folder.parent), mode_of(page)) == (0o700, 0o755, 0o644)
    assert not [line for line in warned.lines if "0700" in line or "chmod" in line]
    assert sorted(tracker.pages) == ["findings.csv", "report.html", "study.json"]
    assert tracker.pages["report.html"] == (folder / ".tracked" / "report.html").read_bytes()
    assert report_again(folder).about["audit_data"]["public"] is False
    results, ids = with_rises(Results.load(folder))
    assert listed(write_report(results, page), ids) == (set(), False)
    assert "--show-records" in page.read_text(encoding="utf-8")
    found, has_pictures = listed(write_report(results, page, show_records=True), ids)
    assert found
    assert has_pictures
    assert listed(folder / page_for_trackers(results, folder), ids) == (set(), False)
    folder.chmod(0o750)
    run(own_study, tmp_path / "runs", Runtime("serial", progress=warned))
    assert mode_of(folder) == 0o750
    assert [line for line in warned.lines if "0750" in line and "chmod 700" in line]


def test_a_run_on_public_data_shows_samples_but_not_to_trackers(make_study, tmp_path):
    study = make_study(audit={"attacks": ["loss"], "references": ["matched"], "fpr_levels": [0.3]})
    finished = run(study, tmp_path, Runtime("serial"))
    assert mode_of(finished.folder) == 0o755
    results, ids = with_rises(Results.load(finished.folder))
    found, has_pictures = listed(write_report(results, finished.report), ids)
    assert found
    assert has_pictures
    assert listed(finished.folder / page_for_trackers(results, finished.folder), ids) == (set(), False)


def test_signals_and_audits_lie_in_folders_of_their_owner(tmp_path):
    rng = np.random.default_rng(0)
    member = rng.random((4, 60)) < 0.5
    ids = np.array([f"patient-{number}" for number in range(60)])
    signals = Signals(rng.normal(size=(4, 60, 2)), np.arange(60) % 2, member, ids=ids)
    file = tmp_path / "collected" / "signals.npz"
    write_signals(signals, file)
    assert (mode_of(file.parent), mode_of(file)) == (0o700, 0o644)
    finished = audit_files(file, "loss", out=tmp_path / "out" / "audit")
    assert (mode_of(finished.folder), mode_of(finished.folder.parent)) == (0o700, 0o755)
    assert mode_of(finished.report) == 0o644
    for path in finished.folder.iterdir():
        if path.name != "scores.parquet":  # the file of single samples
            assert b"patient-" not in path.read_bytes(), path.name


def test_notebook_gate_and_figures_name_no_sample(tmp_path, call):
    rng = np.random.default_rng(0)
    ids = np.array([f"patient-{number}" for number in range(60)])
    signals = Signals(rng.normal(size=(4, 60, 2)), np.arange(60) % 2, rng.random((4, 60)) < 0.5, ids=ids)
    write_signals(signals, tmp_path / "signals.npz")
    finished = audit_files(tmp_path / "signals.npz", "loss", out=tmp_path / "audit")
    assert b"patient-" in (finished.folder / "scores.parquet").read_bytes()  # there are ids to give away
    gate, told, _ = call("check", finished.folder, "--max-auc", "1", "--json")
    assert (gate, json.loads(told)["exit_code"]) == (0, 0)
    _, summary, _ = call("check", finished.folder, "--max-auc", "1")
    assert call("figures", finished.folder, "--out", tmp_path / "figures", "--format", "svg", "--latex")[0] == 0
    figures = [path.read_text(encoding="utf-8") for path in (tmp_path / "figures").iterdir()]
    assert figures
    for text in (told, summary, finished._repr_html_(), *figures):
        assert text
        assert "patient-" not in text


def test_a_folder_that_is_there_keeps_its_mode(tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    rng = np.random.default_rng(0)
    signals = Signals(rng.normal(size=(2, 30, 2)), np.arange(30) % 2, rng.random((2, 30)) < 0.5)
    write_signals(signals, tmp_path / "open" / "signals.npz")
    assert mode_of(tmp_path / "open") == 0o755
    found = audit_files(tmp_path / "open" / "signals.npz", "loss", out=tmp_path / "open")
    assert mode_of(tmp_path / "open") == 0o755
    assert [note for note in found.audit.results.about["warnings"] if "0755" in note and "chmod 700" in note]
