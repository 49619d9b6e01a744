"""A finished run is complete: it is used from any working folder, on another machine, its data gone or replaced."""

import shutil

import numpy as np
import pytest

STUDY = """
name = "t"
model = { name = "mlp", options = { hidden = [8] } }
data = { source = "npz:data.npz" }
membership = { num_models = 4 }
training = { epochs = 2, batch_size = 64, learning_rate = 0.1 }
audit = { attacks = ["loss"] }
releases = [{ compress = "l1unstructured", sparsity = 0.5 }]
"""
SERIAL = ("--executor", "serial", "--quiet")


def write_data(folder, seed):
    rng = np.random.default_rng(seed)
    y = np.arange(200) % 4
    np.savez(folder / "data.npz", x=rng.normal(size=(200, 6)).astype(np.float32) + np.eye(4, 6)[y].astype("f"), y=y)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of a study whose data are named relative to the working folder."""
    from pruneaudit.api import Runtime, run
    from pruneaudit.study import Study

    home = tmp_path_factory.mktemp("home")
    (home / "study.toml").write_text(STUDY)
    write_data(home, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        run(Study.load("study.toml"), out="runs", runtime=Runtime(executor="serial"))
    (home / "data.npz").unlink()
    return home / "runs" / "t"


@pytest.fixture(params=["gone", "others"])
def copy(made, tmp_path, monkeypatch, request):
    """A copy of the run on another machine: its data are gone, or others lie at the same relative path."""
    shutil.copytree(made, tmp_path / "copies" / "t")
    (tmp_path / "elsewhere").mkdir()
    if request.param == "others":
        write_data(tmp_path / "elsewhere", 1)
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "copies" / "t"


@pytest.mark.slow
def test_everything_that_reads_a_finished_run_works(copy, made, call):
    models = {path: path.stat().st_mtime_ns for path in copy.rglob("model.safetensors")}
    for command in (
        ("verify", copy),
        ("attack", copy, "--attacks", "entropy", "--out", "attacked"),
        ("sanity-check", copy, "--attacks", "loss"),
        ("check", copy, "--max-auc", "1"),
        ("export", copy, "--release", "dense", "--format", "safetensors", "--out", "model.safetensors"),
        ("report", copy, "--compare", made),
        ("frontier", copy),
        ("figures", copy, "--out", "figures"),
        ("report", copy),
    ):
        code, _, err = call(*command)
        assert (code, "error" in err) == (0, False), (command, err)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("model.safetensors")} == models
    assert (copy / "findings.csv").read_bytes() == (made / "findings.csv").read_bytes()


def test_a_population_that_is_damaged_is_named_and_not_attacked(copy, call):
    (x,) = copy.glob("audit_data-*/x.npy")
    x.write_bytes(x.read_bytes()[:-1] + b"?")
    code, out, _ = call("verify", copy)
    assert (code, out.count("damaged: audit_data-"), ", 1 damaged, 0 missing, 0 stale" in out) == (1, 1, True)
    code, _, err = call("attack", copy, "--attacks", "entropy")
    assert (code, err.count("\n")) == (2, 1)
    assert f"{x.parent}: the run's copy of its data is damaged (x.npy has changed)" in err


def test_a_study_goes_on_from_the_runs_own_copy_and_other_data_are_told(copy, call, tmp_path):
    command = ("run", copy / "study.json", "--out", copy.parent, *SERIAL)
    code, out, err = call(*command, "--dry-run")
    assert code == 0, err
    if (tmp_path / "elsewhere" / "data.npz").exists():  # edited data: the user asks for another run
        assert "dense trainings: 4 to do, 0 to reuse" in out
        assert "warning: " in err + out
        assert "npz:path=data.npz gives different data" in err + out
    else:
        assert "dense trainings: 0 to do, 4 to reuse" in out
        shutil.rmtree(next(copy.glob("dense-*/model-001")))
        assert call(*command)[0] == 0
        assert call("verify", copy)[0] == 0
        code, _, err = call(*command, "--set", "seed=1")  # its data cannot be drawn anew
        assert (code, err.count("\n")) == (2, 1)
        assert "data.npz" in err
