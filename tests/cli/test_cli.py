"""The command line as a user meets it: what it prints, how it ends, what it leaves behind."""

import pickle
import re

import numpy as np
import pytest

STUDY = """
name = "tiny"
[data]
source = "digits"
num_samples = 120
num_holdout = 40
[membership]
num_models = 3
[model]
name = "mlp"
options = { hidden = [8] }
[training]
epochs = 1
batch_size = 32
[[releases]]
compress = "l1unstructured"
sparsity = 0.5
[audit]
attacks = ["loss", "lira"]
"""


@pytest.fixture
def study_file(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def predictions(tmp_path):
    """A file of predictions in which members are predicted better."""
    rng = np.random.default_rng(0)
    member = rng.random((6, 80)) < 0.5
    labels = rng.integers(0, 3, 80)
    logits = rng.normal(size=(6, 80, 3))
    logits[:, np.arange(80), labels] += 1 + 2 * member
    path = tmp_path / "predictions.npz"
    np.savez(path, logits=logits, labels=labels, member=member)
    return path


def test_run_then_report_then_attack(call, study_file, tmp_path):
    code, out, err = call("run", study_file, "--out", tmp_path / "runs", "--executor", "serial")
    assert code == 0, err
    assert "LiRA" in out
    assert "15 tasks to do" not in out  # progress is not mixed with results
    report = tmp_path / "runs" / "tiny" / "report.html"
    assert out.strip().endswith(str(report))
    first = report.read_bytes()
    report.unlink()
    code, out, _ = call("report", tmp_path / "runs" / "tiny")
    assert code == 0
    assert report.read_bytes() == first
    code, out, _ = call("attack", tmp_path / "runs" / "tiny", "--attacks", "rmia,lira:mode=offline")
    assert code == 0
    assert "lira:mode=offline" in out


def test_dry_run_does_nothing(call, study_file, tmp_path):
    code, out, _ = call("run", study_file, "--out", tmp_path / "runs", "--dry-run")
    assert code == 0
    assert "dense trainings: 3 to do, 0 to reuse" in out
    assert "queries: 6 to do" in out
    assert not (tmp_path / "runs").exists()


def test_set_changes_a_setting(call, study_file, tmp_path):
    _, out, _ = call("run", study_file, "--set", "membership.num_models=5", "--set", "name=other", "--dry-run")
    assert "study other: 5 models" in out


def test_audit_of_predictions(call, predictions, tmp_path):
    code, out, err = call("audit", predictions, "--attacks", "loss,lira", "--out", tmp_path / "audit")
    assert code == 0, err
    assert {path.name for path in (tmp_path / "audit").iterdir()} >= {"findings.csv", "scores.parquet", "report.html"}
    assert re.search(r"lira +0\.\d{3}", out)


@pytest.mark.parametrize("kind", ["attacks", "models", "datasets", "compressors", "recipes"])
def test_lists(call, kind):
    code, out, _ = call("list", kind)
    assert code == 0
    expected = {
        "attacks": "lira",
        "models": "resnet20",
        "datasets": "fashion_mnist_5k",
        "compressors": "l1unstructured",
        "recipes": "demo",
    }
    assert any(line.split()[0] == expected[kind] and len(line.split()) > 3 for line in out.splitlines())


def test_version(call):
    code, out, _ = call("--version")
    assert code == 0
    assert re.fullmatch(r"pruneaudit \d+\.\d+\.\d+\n", out)


def refused(outcome, *words):
    """One line that holds these words, exit code 2, nothing on standard output."""
    code, out, err = outcome
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    for word in words:
        assert word in err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("epochs = 1", "epohcs = 1", ["training.epohcs", "did you mean 'epochs'"]),
        ("epochs = 1", 'epochs = "many"', ["training.epochs", "'many'", "integer"]),
        ("sparsity = 0.5", "sparsity = 1.0", ["releases.0", "sparsity", "got 1", "less than 1"]),
        (
            'compress = "l1unstructured"',
            'compress = "l1unstructred"',
            ["l1unstructred", "did you mean 'l1unstructured'"],
        ),
        ('compress = "l1unstructured"', 'compress = "l1unstructured:scop=global"', ["scop", "did you mean 'scope'"]),
        ('source = "digits"', 'source = "digit"', ["digit", "did you mean 'digits'"]),
        ('source = "digits"', 'source = "npz:absent.npz"', ["absent.npz"]),
        ('"lira"', '"lyra"', ["lyra", "did you mean 'lira'"]),
        ("hidden = [8]", "hidden = [0]", ["hidden"]),
        ('name = "tiny"', 'name = "../tiny"', ["name", "../tiny"]),
        ("num_models = 3", "num_models = 1000000000", ["num_models", "1000000000"]),
        ("num_samples = 120", "num_samples = 99999", ["99", "samples"]),
        ("[audit]", "[audit", ["not TOML"]),
    ],
)
def test_a_wrong_study_is_refused_in_one_line(call, study_file, tmp_path, old, new, words):
    assert old in STUDY
    study_file.write_text(STUDY.replace(old, new, 1))
    refused(call("run", study_file, "--out", tmp_path / "runs"), *words)
    assert not (tmp_path / "runs").exists()


def test_a_missing_study_is_refused(call, tmp_path):
    refused(call("run", tmp_path / "absent.toml"), "absent.toml", "cannot be read")
    refused(call("run", "dmeo"), "dmeo", "did you mean 'demo'")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "gpu"], ["gpu", "cuda"]),
        (["--executor", "threads"], ["threads", "serial"]),
        (["--jobs", "0"], ["jobs", "0"]),
        (["--set", "training.epochs"], ["--set", "training.epochs"]),
        (["--set", "training.epoch=3"], ["epoch", "did you mean 'epochs'"]),
        (["--nonsense"], ["--nonsense"]),
    ],
)
def test_wrong_options_are_refused(call, study_file, tmp_path, arguments, words):
    refused(call("run", study_file, "--out", tmp_path / "runs", *arguments), *words)
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_written_is_refused(call, study_file, predictions, tmp_path):
    (tmp_path / "file").write_text("in the way")
    refused(call("run", study_file, "--out", tmp_path / "file"), "cannot write", "--out")
    refused(call("audit", predictions, "--out", tmp_path / "file"), "is a file", "folder")
    assert (tmp_path / "file").read_text() == "in the way"


def bad_predictions(path, kind):
    """Writes predictions with one thing wrong."""
    good = {
        "logits": np.zeros((2, 4, 3)),
        "labels": np.array([0, 1, 2, 0]),
        "member": np.array([[1, 0, 1, 0], [0, 1, 1, 0]], dtype=bool),
    }
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"logits": 1}))
    elif kind == "object":
        np.savez(path, **{**good, "labels": np.array([0, None, 2, 0], dtype=object)})
    elif kind == "shape":
        np.savez(path, **{**good, "member": good["member"][:, :3]})
    elif kind == "nan":
        np.savez(path, **{**good, "logits": np.full((2, 4, 3), np.nan)})
    elif kind == "truncated":
        np.savez(path, **good)
        path.write_bytes(path.read_bytes()[:-50])
    elif kind == "key":
        np.savez(path, logits=good["logits"], labels=good["labels"])
    return path


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("pickle", "npz"),
        ("object", "Python objects"),
        ("shape", "member"),
        ("nan", "NaN"),
        ("truncated", "npz"),
        ("key", "'member' is missing"),
        ("absent", "cannot be read"),
    ],
)
def test_wrong_predictions_are_refused_in_one_line(call, tmp_path, kind, word):
    path = bad_predictions(tmp_path / "predictions.npz", kind)
    refused(call("audit", path, "--out", tmp_path / "audit"), "predictions.npz", word)
    assert not (tmp_path / "audit").exists()


def test_a_folder_that_is_no_run_is_refused(call, tmp_path):
    refused(call("report", tmp_path), str(tmp_path.name))
    refused(call("attack", tmp_path, "--attacks", "loss"), "study.json")


def test_a_failed_task_ends_with_exit_code_1_and_its_name(call, study_file, tmp_path):
    study_file.write_text(STUDY.replace("epochs = 1", "epochs = 1\nlearning_rate = 1e30"))
    code, out, err = call("run", study_file, "--out", tmp_path / "runs", "--executor", "serial")
    assert code == 1
    assert out == ""
    assert err.splitlines()[-1].startswith("error: train dense model-000: ")
    assert "diverged" in err


def test_a_network_that_does_not_fit_the_data_is_refused(call, study_file, tmp_path):
    np.savez(tmp_path / "table.npz", x=np.random.default_rng(0).random((160, 5), np.float32), y=np.arange(160) % 4)
    text = STUDY.replace('"digits"', f'"npz:{tmp_path / "table.npz"}"')
    study_file.write_text(text.replace('name = "mlp"\noptions = { hidden = [8] }', 'name = "tinycnn"'))
    refused(call("run", study_file, "--out", tmp_path / "runs", "--executor", "serial", "-q"), "tinycnn", "use", "mlp")


def test_progress_counts_every_round_from_zero(capsys):
    from types import SimpleNamespace

    from pruneaudit.cli.common import LineProgress

    progress = LineProgress()
    for number in (3, 1):
        progress.begin(number, 0)
        for _ in range(number):
            progress.done(SimpleNamespace(name="x"))
    said = capsys.readouterr().err
    assert "3/3 tasks done" in said
    assert "1/1 tasks done" in said
    assert "4/1" not in said
