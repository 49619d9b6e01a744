"""Artifacts as bytes, and what a worker does with them that shares no disk with the driver; no Ray needed."""

import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit import __version__
from pruneaudit.core.errors import UserError
from pruneaudit.data.membership import draw_membership, to_text
from pruneaudit.engine.executors import Serial, make_executor
from pruneaudit.engine.packed_files import UnpackingError, pack, unpack, unpacked_once
from pruneaudit.engine.ray_cluster import RayCluster
from pruneaudit.engine.ray_worker import clean_up, do_task, run_folder_here
from pruneaudit.engine.store import Store
from pruneaudit.engine.task_spec import TaskSpec
from pruneaudit.runs.beginning import plan_study

WITH_RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


def as_bytes(text):
    return np.frombuffer(text, dtype=np.uint8)


@given(
    files=st.dictionaries(st.sampled_from(("x.npy", "DONE", "model.safetensors", "_a-1", "A")), st.binary(max_size=9))
)
def test_a_folder_comes_out_as_it_went_in(files):
    with tempfile.TemporaryDirectory() as name:
        there, here = Path(name, "there"), Path(name, "here")
        there.mkdir()
        here.mkdir()
        for file, content in files.items():
            (there / file).write_bytes(content)
        unpack(pack(there), here)
        assert {path.name: path.read_bytes() for path in here.iterdir()} == files


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/outside",
        "a/b",
        "..",
        ".",
        "",
        ".hidden",
        "a\\b",
        "a\0b",
        "a\n",
        "ü.npy",
        "-rf",
        "C:x",
        "x" * 201,
        7,
    ],
)
def test_a_name_that_is_not_plain_is_refused_before_anything_is_written(tmp_path, name):
    folder = tmp_path / "staging"
    folder.mkdir()
    with pytest.raises(UnpackingError, match="expected a plain name"):
        unpack({"good.npy": as_bytes(b"1"), name: as_bytes(b"2")}, folder)
    assert not list(folder.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["staging"]


@pytest.mark.parametrize("content", ["text", b"bytes", np.zeros(3), np.zeros((2, 2), np.uint8), None])
def test_what_is_no_array_of_bytes_is_refused(tmp_path, content):
    with pytest.raises(UnpackingError, match=r"file x\.npy, expected its bytes"):
        unpack({"x.npy": content}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_file_that_is_there_is_written_over_nor_a_link_followed(tmp_path):
    target = tmp_path / "precious"
    target.write_bytes(b"mine")
    folder = tmp_path / "staging"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to(target)
    with pytest.raises(FileExistsError):
        unpack({"model.safetensors": as_bytes(b"yours")}, folder)
    assert target.read_bytes() == b"mine"


def test_many_processes_want_a_parcel_and_one_gets_it(tmp_path):
    calls = []

    def fetch():
        calls.append(1)
        return {"x.npy": as_bytes(b"123")}

    threads = [Thread(target=unpacked_once, args=(fetch, tmp_path / "audit_data")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert (tmp_path / "audit_data" / "x.npy").read_bytes() == b"123"


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """The temporary folder of this machine is a test's own; the name of a run's folder in it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "machine"))
    (tmp_path / "machine").mkdir()
    return "run-1"


def first_task_spec(study, folder):
    """The first training of a study, ready to be done; its audit data is there."""
    plan, audit_data = plan_study(study)
    store = Store(folder)
    store.open_for_writing()
    staging = store.new_staging()
    audit_data.save(staging)
    store.commit(plan.audit_data, staging)
    task = plan.tasks[0]
    inputs = {"audit_data": str(store.path(plan.audit_data))}
    checkpoints = str(store.checkpoints_of(task.artifact))
    row = to_text(draw_membership(plan.study, audit_data), [task.model_id])
    staging = str(store.new_staging())
    return TaskSpec(task.name, task.action, task.spec, inputs, staging, checkpoints=checkpoints, membership=row)


def test_a_task_elsewhere_writes_the_same_bytes_and_gets_the_population_once(study, tmp_path, scratch):
    task_spec = first_task_spec(study, tmp_path / "run")
    with Serial() as serial:
        serial.submit(task_spec)
        assert not serial.next_outcome().error
    fetched = []

    def fetch():
        fetched.append(1)
        return pack(Path(task_spec.inputs["audit_data"]))

    shipped = {"audit_data": ("digest", fetch)}
    for _ in range(2):
        answer, packed = do_task(task_spec.to_json(), shipped, scratch, __version__)
        assert json.loads(answer)["error"] == ""
        expected = pack(Path(task_spec.staging))
        assert {name: content.tobytes() for name, content in packed.items()} == {
            name: content.tobytes() for name, content in expected.items()
        }
    assert len(fetched) == 1
    assert sorted(path.name for path in run_folder_here(scratch).iterdir()) == [
        "audit_data-digest",
        "audit_data-digest.lock",
    ]
    clean_up(scratch)
    assert not run_folder_here(scratch).exists()


def test_a_failed_task_sends_no_files(study, tmp_path, scratch):
    task_spec = first_task_spec(study, tmp_path / "run")
    broken = TaskSpec(task_spec.name, "no such action", task_spec.spec, task_spec.inputs, task_spec.staging)
    shipped = {"audit_data": ("digest", lambda: pack(Path(task_spec.inputs["audit_data"])))}
    answer, packed = do_task(broken.to_json(), shipped, scratch, __version__)
    assert json.loads(answer)["kind"] == "task"
    assert not packed


def test_another_version_of_this_program_does_nothing(tmp_path, scratch):
    task_spec = TaskSpec("train", "train", {}, {}, str(tmp_path))
    answer, packed = do_task(task_spec.to_json(), {}, scratch, "0.0.1")
    assert json.loads(answer)["kind"] == "input"
    assert "0.0.1" in json.loads(answer)["error"]
    assert not packed
    assert not run_folder_here(scratch).exists()


def test_without_ray_the_user_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'pruneaudit\[ray\]'"):
        make_executor("ray", 1)


def test_settings_of_ray_are_refused_where_they_have_no_effect():
    with pytest.raises(UserError, match="use --executor ray"):
        make_executor("processes", 1, RayCluster("auto"))


@WITH_RAY
@pytest.mark.parametrize("fraction", [0, -0.5, 1.5, float("nan")])
def test_a_task_gets_a_part_of_one_gpu(fraction):
    with pytest.raises(UserError, match="gpus per task"):
        make_executor("ray", 1, RayCluster(gpus_per_task=fraction))


@WITH_RAY
def test_an_address_where_nothing_listens_is_refused_at_once():
    with (
        pytest.raises(UserError, match=r"cannot join a cluster at '127\.0\.0\.1:9'"),
        make_executor("ray", 1, RayCluster("127.0.0.1:9")),
    ):
        raise AssertionError
