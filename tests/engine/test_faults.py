"""What a weekend may bring: other runs, deaths, full disks, Ctrl-C, damage, hostile files."""

import errno
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import SafetensorError
from safetensors.numpy import save_file

from pruneaudit.api import PageSettings, Runtime, run
from pruneaudit.core.errors import RunError
from pruneaudit.core.files import file_sha256, is_storage_failure, is_system_failure, system_reason
from pruneaudit.core.randomness import torch_generator
from pruneaudit.engine import identities as identities_module
from pruneaudit.engine.estimate import disk_bytes
from pruneaudit.engine.processes import Processes
from pruneaudit.engine.scheduler import missing_tasks
from pruneaudit.engine.store import Store
from pruneaudit.runs.beginning import plan_study
from pruneaudit.runs.names import EVALUATED_FILE
from run_bytes import bytes_of, reproducible_bytes


@pytest.fixture(scope="module")
def small(make_study):
    """Dense models and one release, whose baseline they are."""
    return make_study(releases=[{"compress": "l1unstructured", "sparsity": 0.8}])


@pytest.fixture(scope="module")
def calm(small, tmp_path_factory):
    """An undisturbed run of the study."""
    return run(small, out=tmp_path_factory.mktemp("calm"), runtime=Runtime(executor="serial")).folder


@pytest.fixture
def folder(calm, tmp_path):
    """A copy of it, to do harm to; its study file lies beside the runs."""
    shutil.copytree(calm, tmp_path / "small")
    shutil.copy(calm / "study.json", tmp_path / "study.json")
    return tmp_path / "small"


@pytest.fixture
def call(call):
    """Runs a command line, which shows nobody a traceback."""

    def checked(*arguments):
        code, out, err = call(*arguments)
        assert "Traceback" not in err
        return code, out, err

    return checked


@pytest.fixture
def again(call, folder):
    """Runs the study of the copy again, in this process."""
    return lambda *options: call("run", folder.parent / "study.json", "--out", folder.parent, *SERIAL, *options)


SERIAL = ("--executor", "serial")


def last_line(err):
    return err.splitlines()[-1]


# One run at a time


HOLDER = """
import sys
from pathlib import Path

from pruneaudit.runs.lock import RunLock

with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(folder):
    """The folder, locked by another process."""
    command = [sys.executable, "-c", HOLDER, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "held\n"
            yield other
        finally:
            other.kill()


def test_a_second_run_is_told_who_holds_the_folder_and_can_wait(folder, again, call):
    before = reproducible_bytes(folder)
    with held(folder) as other:
        for code, out, err in (again(), call("attack", folder, "--attacks", "loss")):
            assert (code, out) == (2, "")
            assert err.count("\n") == 1
            assert f"process {other.pid} on {os.uname().nodename}" in err
            assert "--wait" in err
        threading.Timer(1.0, other.kill).start()
        began = time.monotonic()
        assert again("--wait")[0] == 0  # the lock of a dead process is free
        assert time.monotonic() - began > 0.9
    assert reproducible_bytes(folder) == before


# Deaths


def seed_of(model_id, study_seed=3):
    """The seed that a factory sees when it builds a model of the small study."""
    return int(torch.randint(2**62, (), generator=torch_generator(study_seed, "initialise", model_id)))


@pytest.fixture
def factory(make_study, small, network_of_files):
    """A study whose network does what files in its folder say: (study, that folder)."""
    target, place = network_of_files
    model = {"name": "factory", "options": {"target": target}}
    return make_study(model=model, releases=small.model_dump()["releases"]), place


@pytest.mark.slow
def test_deaths_are_retried_and_who_always_dies_is_left_out(factory, tmp_path, call):
    study, place = factory
    study_file = tmp_path / "study.json"
    study_file.write_text(study.model_dump_json())
    undisturbed = run(study, out=tmp_path / "calm", runtime=Runtime(executor="serial")).folder
    (place / f"once-{seed_of(0)}").touch()
    (place / f"always-{seed_of(2)}").touch()
    code, out, err = call("run", study_file, "--out", tmp_path, "--jobs", "1")
    folder, name = tmp_path / "small", "train dense model-002"
    assert code == 1
    assert "auc" in out.lower()  # the rest is audited
    assert "train dense model-000: its worker process died (signal SIGKILL); trying again (1 of 3 attempts)" in err
    assert f"{name} failed and is left out: its worker process died (signal SIGKILL) 3 times" in err
    assert last_line(err).startswith(f"error: failed and left out: {name}: ")
    assert json.loads((folder / "about.json").read_text())["failures"] == [
        f"{name}: its worker process died (signal SIGKILL) 3 times"
    ]
    assert name in (folder / "report.html").read_text()
    assert f'ERROR event=failed task="{name}"' in (folder / "run.log").read_text()
    assert set(pd.read_parquet(folder / "scores.parquet").model_id) == {0, 1, 3}

    (place / f"always-{seed_of(2)}").unlink()
    code, _, err = call("run", study_file, "--out", tmp_path, *SERIAL)
    assert code == 0
    assert "4 tasks to do, 12 found done" in err
    assert reproducible_bytes(folder) == reproducible_bytes(undisturbed)  # the retried model too
    assert json.loads((folder / "about.json").read_text())["failures"] == []


def test_a_task_that_raises_fails_alone(factory, tmp_path):
    study, place = factory
    (place / f"raise-{seed_of(1)}").touch()
    finished = run(study, out=tmp_path, runtime=Runtime(executor="serial"))
    assert finished.failures == ("train dense model-001: RuntimeError: no such luck",)
    assert set(pd.read_parquet(finished.folder / "scores.parquet").model_id) == {0, 2, 3}
    assert finished.num_tasks_done == 12


def test_a_release_that_diverges_everywhere_takes_no_other_with_it(make_study, small, tmp_path, call, calm):
    release = small.model_dump()["releases"][0]
    wild = {**release, "name": "wild", "finetune": {"epochs": 1, "learning_rate": 1e20}}
    study_file = tmp_path / "study.json"
    study_file.write_text(make_study(releases=[release, wild]).model_dump_json())
    code, _, err = call("run", study_file, "--out", tmp_path, *SERIAL)
    assert code == 1
    assert "release wild is left out" in err
    assert "release dense+finetune is left out" in err  # its baseline
    assert re.search(r"error: failed and left out: release wild model-000: .*diverged.*, and 7 more", last_line(err))
    assert bytes_of(tmp_path / "small") == bytes_of(calm)


def test_an_interrupted_training_goes_on_from_its_checkpoint(factory, tmp_path):
    study, place = factory
    study = study.changed(["releases=[]", "membership.num_models=2"], "small")
    undisturbed = run(study, out=tmp_path / "calm", runtime=Runtime(executor="serial")).folder
    steps = [len(pd.read_csv(path)) for path in undisturbed.glob("dense-*/model-000/history.csv")]
    assert steps == [3]  # epochs
    (place / "interrupt").write_text("9")  # the third epoch of the first model: 100 samples make 3 or 4 steps
    with pytest.raises(KeyboardInterrupt):
        run(study, out=tmp_path, runtime=Runtime(executor="serial", checkpoint_seconds=0))
    (pointer,) = (tmp_path / "small" / ".checkpoints").glob("*/checkpoint.json")
    assert json.loads(pointer.read_text())["facts"]["epoch"] == 2
    assert len(list(pointer.parent.iterdir())) == 2
    finished = run(study, out=tmp_path, runtime=Runtime(executor="serial", checkpoint_seconds=0))
    assert reproducible_bytes(finished.folder) == reproducible_bytes(undisturbed)
    assert not list((tmp_path / "small" / ".checkpoints").iterdir())


def test_workers_that_cannot_be_started_end_the_run(small, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "absent"))
    with pytest.raises(RunError, match=r"worker process .*\(No such file"):
        run(small, out=tmp_path, runtime=Runtime(jobs=2))


def wait_for(condition, seconds=30.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def children_of(pid):
    try:
        return [int(p) for path in Path(f"/proc/{pid}/task").glob("*/children") for p in path.read_text().split()]
    except OSError:
        return []


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc")
def test_ctrl_c_ends_driver_and_workers_at_once(small, tmp_path, interruptible):
    (tmp_path / "study.json").write_text(small.model_dump_json())
    command = [sys.executable, "-m", "pruneaudit", "run", tmp_path / "study.json", "--out", tmp_path, "--jobs", "2"]
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(lambda: len(children_of(driver.pid)) == 2)
    workers = children_of(driver.pid)
    time.sleep(0.3)  # in the middle of their start
    began = time.monotonic()
    os.killpg(driver.pid, signal.SIGINT)
    _, err = driver.communicate(timeout=20)
    assert time.monotonic() - began < 5
    assert driver.returncode == 130
    (said,) = [line for line in err.splitlines() if "tasks to do" not in line and "warning: " not in line]
    assert said.startswith("error: interrupted;") and "kept" in said
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc")
def test_workers_that_are_only_starting_are_killed_not_waited_for():
    others = set(children_of(os.getpid()))
    executor = Processes(2)
    with pytest.raises(KeyboardInterrupt), executor:
        wait_for(lambda: set(children_of(os.getpid())) - others)
        raise KeyboardInterrupt
    assert {worker.returncode for worker in executor._workers.values()} == {-signal.SIGKILL}
    assert not set(children_of(os.getpid())) - others


# What is reused, and what is not


@pytest.fixture
def todo(calm):
    """The tasks that a study would have to do in the finished run's folder, by name."""

    def names(study):
        plan, _ = plan_study(study)
        return {task.name for task in missing_tasks(plan, Store(calm))}, {task.name for task in plan.tasks}

    return names


def test_identity_of_data_and_options(todo, make_study, small, tmp_path):
    releases = small.model_dump()["releases"]

    def changed(**values):
        missing, every = todo(make_study(**{"releases": releases, **values}))
        return "nothing" if not missing else "all" if missing == every else missing

    assert changed() == "nothing"
    assert changed(training={"epochs": 3.0, "batch_size": 32.0}) == "nothing"  # 4 versus 4.0
    assert changed(audit={"attacks": ["rmia"], "fpr_levels": [0.05]}) == "nothing"
    assert changed(training={"epochs": 3, "batch_size": 31}) == "all"
    assert changed(model={"name": "mlp", "options": {"hidden": [17]}}) == "all"  # the releases' parents too
    assert changed(audit={"queries": 2}) == {f"signals {r} model-{m:03d}" for r in RELEASES for m in range(4)}
    other_release = [{**releases[0], "compress": "l1unstructured:sparsity=0.7"}]
    assert changed(releases=other_release) == of_release("l1unstructured-0.8", range(4))
    more_models = changed(membership={"num_models": 6})
    assert more_models == {"train dense model-004", "train dense model-005"} | {
        f"{action} {release} model-00{m}"
        for m in (4, 5)
        for action, release in (
            *(("signals", release) for release in RELEASES),
            ("release", RELEASES[1]),
        )
    }


RELEASES = ("dense", "l1unstructured-0.8")


def of_release(release, models):
    return {f"{action} {release} model-{m:03d}" for action in ("release", "signals") for m in models}


def test_identity_of_semantics(todo, small, monkeypatch):
    from pruneaudit.compression.l1unstructured import L1Unstructured
    from pruneaudit.models.mlp import Mlp

    for owner, attribute, expected in (
        (Mlp, "semantics_version", "all"),
        (identities_module, "TRAINING_SEMANTICS", "all"),
        (identities_module, "RELEASE_SEMANTICS", of_release("l1unstructured-0.8", range(4))),
        (L1Unstructured, "semantics_version", of_release("l1unstructured-0.8", range(4))),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, attribute, getattr(owner, attribute) + 1)
            missing, every = todo(small)
        assert missing == (every if expected == "all" else expected), attribute


def test_identity_of_files(make_study, factory, tmp_path):
    study, place = factory
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 5)).astype(np.float32), np.arange(60) % 3

    def identities():
        np.savez(tmp_path / "own.npz", x=x, y=y)
        changes = {"data": {"source": f"npz:{tmp_path / 'own.npz'}"}, "model": study.model.model_dump()}
        plan, _ = plan_study(make_study(**changes, releases=[]))
        return {task.artifact.identity for task in plan.tasks}

    before = identities()
    assert identities() == before
    x[0, 0] += 1
    edited = identities()
    assert not edited & before
    source = next(place.glob("*.py"))
    source.write_text(source.read_text() + "# changed\n")
    assert not identities() & edited


# The disk


@contextmanager
def file_size_limit(num_bytes):
    """No file of this process can grow beyond a size, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("gone", "limit"),
    [
        ("audit_data-*", 10_000),
        ("dense-*/model-00[01]", 4_000),
        ("l1unstructured-*/signals-*", 6_000),
        ("", 100),  # the study itself
        ("", 20_000),  # findings
        ("", 60_000),  # scores
        ("", 400_000),  # report
    ],
)
def test_a_full_disk_is_said_in_one_line_and_the_next_run_goes_on(folder, again, calm, gone, limit):
    for part in folder.glob(gone) if gone else ():
        shutil.rmtree(part)
    (folder / EVALUATED_FILE).unlink()  # as if nothing said that the results may be reused
    with file_size_limit(limit):
        code, out, err = again("--quiet")
    assert (code, out) == (1, "")
    assert [line.partition(":")[0] for line in err.splitlines() if not line.startswith("warning: ")] == ["error"]
    assert re.match(rf"error: {folder}.*: cannot write \(.*\); .* kept", last_line(err))
    assert again()[0] == 0
    assert reproducible_bytes(folder) == reproducible_bytes(calm)


def fails_to(monkeypatch, function, name, number):
    """Has a function of `os` fail for a target of a certain name, as on a disk that breaks."""
    real = getattr(os, function)

    def failing(source, target, **options):
        if Path(target).name == name:
            raise OSError(number, os.strerror(number), str(target))
        return real(source, target, **options)

    monkeypatch.setattr(os, function, failing)


@pytest.mark.parametrize(
    ("function", "name", "numbers"),
    [("rename", "model-001", (errno.EIO, errno.EMFILE, errno.EACCES)), ("replace", "report.html", (errno.EROFS,))],
)
def test_a_disk_that_fails_in_a_run_is_said_in_one_line_and_the_next_run_goes_on(
    folder, again, calm, function, name, numbers, monkeypatch
):
    shutil.rmtree(next(folder.glob("dense-*/model-001")))
    for number in numbers:
        with monkeypatch.context() as patch:
            fails_to(patch, function, name, number)
            code, out, err = again("--quiet")
        assert (code, out) == (1, "")
        assert [line for line in err.splitlines() if not line.startswith("warning: ")] == [last_line(err)]
        assert f"{folder}: cannot write there ({os.strerror(number)}); " in last_line(err)
        assert "kept" in last_line(err)
    assert again()[0] == 0
    assert reproducible_bytes(folder) == reproducible_bytes(calm)


def test_a_task_whose_machine_fails_ends_the_run_and_costs_no_model(factory, tmp_path, call):
    study, place = factory
    (tmp_path / "study.json").write_text(study.model_dump_json())
    (place / f"error-{seed_of(1)}").write_text(str(errno.EIO))
    code, _, err = call("run", tmp_path / "study.json", "--out", tmp_path, *SERIAL)
    assert code == 1
    assert f"train dense model-001: the machine cannot read or write ({os.strerror(errno.EIO)})" in last_line(err)
    assert not (tmp_path / "small" / "findings.csv").exists()
    (place / f"error-{seed_of(1)}").unlink()
    assert run(study, out=tmp_path, runtime=Runtime(executor="serial")).failures == ()


def test_a_log_that_cannot_be_opened_ends_no_run(small, tmp_path):
    (tmp_path / "small" / "run.log").mkdir(parents=True)
    assert run(small, out=tmp_path, runtime=Runtime(executor="serial")).failures == ()


def test_errors_of_the_operating_system_are_recognised_in_whatever_words_they_come():
    in_words = SafetensorError(f"Error while serializing: I/O error: Input/output error (os error {errno.EIO})")
    assert is_system_failure(in_words)
    assert system_reason(in_words) == os.strerror(errno.EIO)
    assert not is_system_failure(OSError(errno.ENOSPC, "full"))
    assert is_storage_failure(SafetensorError(f"I/O error: (os error {errno.ENOSPC})"))
    assert not is_system_failure(FileNotFoundError(errno.ENOENT, "no such file"))


def test_the_disk_estimate_is_close(calm, small):
    plan, audit_data = plan_study(small)
    parts = {calm / task.artifact.folder for task in plan.tasks}
    paths = {path for part in parts for path in (part, *part.iterdir()) if path in parts or path.is_file()}
    taken = 512 * sum(path.stat().st_blocks for path in paths)
    assert disk_bytes(plan, audit_data, plan.tasks) == pytest.approx(taken, rel=0.25)


def test_what_does_not_fit_is_refused_before_anything_is_trained(small, tmp_path, call, monkeypatch):
    (tmp_path / "study.json").write_text(small.model_dump_json())
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=7_000_000))
    for option in ("--dry-run", "--quiet"):
        code, _, err = call("run", tmp_path / "study.json", "--out", tmp_path / "new" / "runs", *SERIAL, option)
        assert code == 2
        assert re.search(r"needs about \d+ MB more, .* 7 MB are free there; .*--out", last_line(err))
    assert not list((tmp_path / "new").rglob("model-*"))


def test_a_finished_run_needs_no_room(folder, again, monkeypatch):
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=0))
    assert again("--quiet")[0] == 0
    assert again("--dry-run")[0] == 0


# Damage


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = [
    ("dense-*/model-001/model.safetensors", flip, r"damaged: dense-\w+/model-001: model.safetensors has changed"),
    ("dense-*/model-001/config.json", flip, r"damaged: dense-\w+/model-001: config.json has changed"),
    ("l1*/model-003/mask.safetensors", Path.unlink, r"damaged: l1\S+/model-003: mask.safetensors is missing"),
    ("l1*/signals-*/model-002/DONE", Path.unlink, r"damaged: l1\S+/model-002: DONE is missing or unreadable"),
    ("l1*/signals-*/model-002", shutil.rmtree, r"missing: l1\S+/signals-\w+/model-002"),
    ("audit_data-*/x.npy", flip, r"damaged: audit_data-\w+: x.npy has changed"),
    ("findings.csv", flip, r"damaged: findings.csv: has changed"),
    ("scores.parquet", Path.unlink, r"damaged: scores.parquet: is missing"),
    ("report.html", flip, r"damaged: report.html: has changed"),
    ("study.json", lambda path: path.write_text(path.read_text() + " "), r"damaged: study.json: has changed"),
    ("SHA256SUMS", Path.unlink, r"missing: SHA256SUMS: .* not finished"),
]


def test_verify_names_every_kind_of_damage(folder, call):
    code, out, _ = call("verify", folder)
    assert code == 0
    assert re.fullmatch(r"\d+ whole, 0 damaged, 0 missing, 0 stale\n", out)
    for pattern, harm, expected in DAMAGE:
        (path,) = folder.glob(pattern)
        shutil.copytree(folder, folder.parent / "kept")
        harm(path)
        code, out, _ = call("verify", folder)
        assert code == 1
        assert len(re.findall("^(?:damaged|missing): ", out, flags=re.MULTILINE)) == 1
        assert re.match(expected, out)
        shutil.rmtree(folder)
        (folder.parent / "kept").rename(folder)


def test_what_the_study_no_longer_asks_for_is_stale(folder, call, make_study):
    run(make_study(releases=[]), out=folder.parent, runtime=Runtime(executor="serial"))
    code, out, _ = call("verify", folder)
    assert code == 0
    assert out.count("stale: l1unstructured-0.8-") == 5
    assert "stale: and 3 more" in out
    flip(next(folder.glob("l1unstructured-*/model-000/model.safetensors")))
    assert call("verify", folder)[0] == 1  # damage is damage, asked for or not


def test_nothing_is_made_of_damaged_findings(folder, call):
    flip(folder / "findings.csv")
    code, out, err = call("report", folder)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "findings.csv has changed" in err


def test_no_attack_is_played_for_a_changed_study(folder, call):
    path = folder / "study.json"
    path.write_text(path.read_text().replace("0.001", "0.002"))
    code, out, err = call("attack", folder, "--attacks", "loss")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "study.json has changed" in err


def test_a_population_made_again_is_read_again(folder, again, calm):
    """In one process: what it has mapped into memory is the damaged file."""
    shutil.rmtree(next(folder.glob("dense-*/model-001")))
    assert again()[0] == 0  # its audit data is in memory now
    damaged = next(folder.glob("audit_data-*/x.npy"))
    damaged.write_bytes(bytes(255 - byte for byte in damaged.read_bytes()))
    shutil.rmtree(next(folder.glob("dense-*/model-001")))
    code, _, err = again()
    assert code == 0
    assert "x.npy has changed; quarantined as" in err
    assert reproducible_bytes(folder) == reproducible_bytes(calm)


# Hostile files


@pytest.mark.parametrize(
    "name", ["../up", "a/b", "/root", 'a"b', "a'b", "a\nb", "a\x1b[2Jb", "a\x00b", "..", "", "ä", "x" * 90]
)
@pytest.mark.parametrize("key", ["name", "releases.0.name", "in the run folder"])
def test_names_that_are_no_folder_names_are_refused(calm, call, tmp_path, name, key):
    values = json.loads((calm / "study.json").read_text())
    if key.startswith("releases"):
        name = name or "."  # an empty one is given a name
        values["releases"][0]["name"] = name
    else:
        values["name"] = name
    (tmp_path / "study.json").write_text(json.dumps(values))
    before = sorted(tmp_path.rglob("*"))
    command = ("attack", tmp_path, "--attacks", "loss") if key == "in the run folder" else (
        "run", tmp_path / "study.json", "--out", tmp_path / "runs", *SERIAL
    )  # fmt: skip
    code, out, err = call(*command)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err[:-1].isprintable()
    assert "expected up to 80 letters" in err
    assert sorted(tmp_path.rglob("*")) == before


def test_forged_weights_of_other_shapes_fail_by_name(folder, again):
    (victim,) = folder.glob("dense-*/model-001")
    weights = victim / "model.safetensors"
    save_file({"surprise": np.zeros((2, 3), np.float32)}, weights)
    seal = json.loads((victim / "DONE").read_text())
    seal["files"]["model.safetensors"] = file_sha256(weights)
    (victim / "DONE").write_text(json.dumps(seal))
    shutil.rmtree(next(folder.glob("dense-*/signals-*/model-001")))
    code, out, err = again("--quiet")
    assert (code, out) == (2, "")
    assert last_line(err).startswith(f"error: signals dense model-001: {weights.resolve()}: does not fit this network")


# The log


FIELD = r' [\w-]+=(?:[^\s"=]+|"(?:[^"\\]|\\.)*")'
LINE = re.compile(rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ (?P<level>INFO|WARNING|ERROR)(?P<fields>(?:{FIELD})+)")


def test_the_log_can_be_read_by_line_and_by_task(factory, tmp_path):
    study, place = factory
    (place / f"raise-{seed_of(1)}").touch()
    page = PageSettings("pruneaudit run 'a b' --set x=\"1\n2\"")
    run(study, tmp_path, Runtime(executor="serial"), page)
    flip(next((tmp_path / "small").glob("dense-*/model-000/model.safetensors")))
    run(study, out=tmp_path, runtime=Runtime(executor="serial"))
    lines = (tmp_path / "small" / "run.log").read_text().splitlines()
    parsed = [LINE.fullmatch(line) for line in lines]
    assert all(parsed)
    levels = {level: [m["fields"] for m in parsed if m["level"] == level] for level in ("WARNING", "ERROR")}
    assert any("quarantined as" in fields for fields in levels["WARNING"])
    assert levels["ERROR"][0].startswith(
        ' event=failed task="train dense model-001" reason="RuntimeError: no such luck" details="Traceback'
    )
    story = [line.partition(" event=")[2].split()[0] for line in lines if "train dense model-000" in line]
    assert story == ["done", "done"]


def test_a_checkpoint_that_a_kill_left_behind_its_finished_training_goes(study, tmp_path):
    finished = run(study, out=tmp_path, runtime=Runtime(executor="serial"))
    plan, _ = plan_study(study, folder=finished.folder)
    left = Store(finished.folder).checkpoints_of(plan.models("dense")[0].artifact)
    left.mkdir(parents=True)
    (left / "checkpoint.json").write_text("{}")
    assert run(study, out=tmp_path, runtime=Runtime(executor="serial")).num_tasks_done == 0
    assert not left.exists()
