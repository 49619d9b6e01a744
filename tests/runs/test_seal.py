"""The seal of a finished run: every reader demands it, and nothing is sealed that has not been checked."""

import json
import os

import pytest

from command_line import called
from pruneaudit.core.files import SEALED_FILES, STUDY_FILE, check_sealed, seal_again, seal_files
from pruneaudit.runs.names import SEALED_ALWAYS, SEALED_IF_THERE

READERS = {
    "check": ("--max-auc", "1.0"),
    "report": (),
    "report --compare": (),
    "frontier": (),
    "figures": ("--format", "svg"),
    "export": ("--release", "dense", "--format", "torch"),
    "attack": ("--attacks", "loss"),
    "verify": (),
}
TO_A_FOLDER = ("figures", "export", "attack")


@pytest.fixture
def folder(tiny_copy):
    return tiny_copy


def read(reader, folder):
    """The exit code and what is complained of, by verify on standard output."""
    name, *compare = reader.split()
    options = [*READERS[reader], *(["--compare", folder] if compare else [])]
    options += ["--out", folder.with_name("out")] if name in TO_A_FOLDER else []
    code, out, err = called(name, folder, *options)
    return code, out if name == "verify" and code != 2 else err


def lines(folder):
    return (folder / SEALED_FILES).read_text().splitlines(keepends=True)


def without(folder, name):
    """Takes the line of a file out of the seal."""
    (folder / SEALED_FILES).write_text("".join(line for line in lines(folder) if not line.endswith(f"  {name}\n")))


def edited(folder):
    file = folder / "findings.csv"
    file.write_text(file.read_text().replace("0.", "0.0", 1))


def test_a_run_seals_all_that_it_leaves_beside_its_artifacts(tiny_run):
    made = tiny_run.folder
    listed = {line[66:].rstrip("\n") for line in lines(made)}
    assert listed == {*SEALED_ALWAYS, *(name for name in SEALED_IF_THERE if (made / name).exists())}
    there = {path.name for path in made.iterdir() if path.is_file() and not path.name.startswith(".")}
    assert there - listed == {SEALED_FILES, "run.log"}


@pytest.mark.parametrize("reader", READERS)
def test_an_empty_seal_vouches_for_nothing(folder, reader):
    edited(folder)
    (folder / SEALED_FILES).write_text("")
    code, complaint = read(reader, folder)
    assert code == (1 if reader == "verify" else 2)
    assert SEALED_FILES in complaint
    assert reader == "verify" or complaint.count("\n") == 1
    assert (folder / SEALED_FILES).read_text() == ""


@pytest.mark.parametrize("reader", [reader for reader in READERS if reader not in ("attack", "export")])
def test_a_seal_that_lacks_the_findings_is_refused(folder, reader):
    edited(folder)
    without(folder, "findings.csv")
    code, complaint = read(reader, folder)
    assert code == (1 if reader == "verify" else 2)
    assert "findings.csv" in complaint


@pytest.mark.parametrize("reader", ["attack", "export", "report", "verify"])
@pytest.mark.parametrize("harm", [lambda folder: without(folder, STUDY_FILE), lambda folder: other_study(folder)])
def test_another_study_is_not_taken_for_the_runs(folder, reader, harm):
    harm(folder)
    code, complaint = read(reader, folder)
    assert code == (1 if reader == "verify" else 2)
    assert STUDY_FILE in complaint


def other_study(folder):
    file = folder / STUDY_FILE
    file.write_text(file.read_text().replace('"tiny"', '"other"'))


@pytest.mark.parametrize("reader", [reader for reader in READERS if reader not in ("attack", "export")])
def test_edited_findings_are_refused_and_never_sealed(folder, reader):
    edited(folder)
    before = lines(folder)
    code, complaint = read(reader, folder)
    assert code == (1 if reader == "verify" else 2)
    assert "findings.csv" in complaint
    assert "changed" in complaint
    assert lines(folder) == before


def test_a_report_that_is_damaged_is_written_again_and_sealed(folder):
    before = lines(folder)
    (folder / "report.html").write_text("something else")
    assert read("report", folder)[0] == 0
    assert lines(folder) == before
    assert read("verify", folder)[0] == 0


@pytest.fixture
def earlier(folder):
    """A run of the first format: its study has other words, its findings no format."""
    study = json.loads((folder / STUDY_FILE).read_text())
    del study["format"]
    study["audit"]["knowledge"] = study["audit"].pop("references")
    (folder / STUDY_FILE).write_text(json.dumps(study))
    about = json.loads((folder / "about.json").read_text())
    del about["format"]
    (folder / "about.json").write_text(json.dumps(about))
    (folder / "attack_comparisons.csv").rename(folder / "contests.csv")
    names = [line[66:].rstrip("\n") for line in lines(folder)]
    seal_files(folder, ["contests.csv" if name == "attack_comparisons.csv" else name for name in names])
    return folder


@pytest.mark.parametrize("reader", READERS)
def test_a_run_of_the_first_format_is_refused_in_one_line_and_left_alone(earlier, reader):
    before = {path: path.read_bytes() for path in earlier.rglob("*") if path.is_file()}
    code, said = read(reader, earlier)
    assert code == 2
    assert "format" in said and said.count("\n") == 1
    assert f"pruneaudit migrate {earlier / STUDY_FILE}" in said
    assert {path: path.read_bytes() for path in earlier.rglob("*") if path.is_file()} == before


def test_one_file_is_sealed_again_and_no_other(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    seal_files(tmp_path, "ab")
    for name in "ab":
        (tmp_path / name).write_text("new")
    seal_again(tmp_path, "a")
    assert check_sealed(tmp_path) == {SEALED_FILES: "", "a": "", "b": "has changed since it was written"}


@pytest.mark.parametrize("text", ["no checksum  a\n", "{a}  a\n{a}  a\n", "{a}  ../a\n", "{a}  a"])
def test_a_list_that_nobody_wrote_so_is_unreadable(tmp_path, text):
    (tmp_path / "a").write_text("a")
    (tmp_path / SEALED_FILES).write_text(text.replace("{a}", "0" * 64))
    assert check_sealed(tmp_path) == {SEALED_FILES: "missing or unreadable"}


def test_files_and_seal_have_reached_the_disk(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("a")
    flushed = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (flushed.append(os.fstat(number).st_ino), fsync(number)))
    seal_files(tmp_path, ["a"])
    wanted = [tmp_path / "a", tmp_path / SEALED_FILES, tmp_path]
    assert flushed == [path.stat().st_ino for path in wanted]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(folder):
    (folder / "findings.csv").unlink()
    os.mkfifo(folder / "findings.csv")
    for reader in ("check", "report", "verify"):
        code, complaint = read(reader, folder)
        assert code == (1 if reader == "verify" else 2)
        assert "findings.csv" in complaint
