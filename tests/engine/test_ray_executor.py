"""The same study on Ray: the same bytes, real deaths, nothing left behind, clusters of others left alone."""

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from pruneaudit.api import Runtime, run
from pruneaudit.core.errors import UserError
from pruneaudit.data.membership import draw_membership, to_text
from pruneaudit.engine.executors import Serial, make_executor
from pruneaudit.engine.progress import Silent
from pruneaudit.engine.ray_cluster import RayCluster
from pruneaudit.engine.store import Store
from pruneaudit.engine.task_spec import TaskSpec
from pruneaudit.runs.beginning import plan_study
from run_bytes import reproducible_bytes

# Ray is imported in functions: what keeps it quiet works only where the executor imports it first.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
    # Ray's own: sockets and processes that it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NETWORK = """
import os
import time
from pathlib import Path

from torch import nn

HERE = Path(__file__).parent


def build(input_shape, num_classes):
    if (HERE / "raise").exists():
        raise RuntimeError("no such luck")
    return Network(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, num_classes))


class Network(nn.Sequential):
    # In the middle of a training, says who it is and waits, as long as a file is there.
    num_batches = 0

    def forward(self, x):
        self.num_batches += self.training
        if self.num_batches == 5 and (HERE / "hold").exists():
            (HERE / "writing").write_text(str(os.getpid()))
            (HERE / "writing").rename(HERE / "pid")
            while (HERE / "hold").exists():
                time.sleep(0.01)
        return super().forward(x)
"""


def contents(folder):
    """What must not depend on how a study was run, signals themselves among it."""
    found = reproducible_bytes(folder, "*.npy")
    assert any(place.endswith("logits.npy") for place in found)
    return found


def descendants():
    """Processes that this one has started, and theirs, by id, with the time at which each began."""
    parents, began = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            parents[int(stat.parent.name)], began[int(stat.parent.name)] = int(fields[1]), fields[19]
    found = {os.getpid()}
    while more := {process for process, parent in parents.items() if parent in found} - found:
        found |= more
    return {process: began[process] for process in found - {os.getpid()}}


def still_there(processes, seconds=10):
    """Those of some processes that have not ended after a while; zombies have."""
    deadline = time.monotonic() + seconds
    while True:
        left = set()
        for process, began in processes.items():
            with suppress(OSError):
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                left |= {process} if fields[19] == began and fields[0] != "Z" else set()
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)


def command_of(process):
    """The command line of a process; empty where it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_text()
    return ""


def leftovers():
    """Folders of ours in this machine's temporary folders."""
    return {*Path("/tmp").glob("pa-ray-*"), *Path(tempfile.gettempdir()).glob("pruneaudit-" + "?" * 32)}


def left_since(before, seconds=90):
    """Folders that have come and stayed: a test of another process has its own for as long as it runs."""
    deadline = time.monotonic() + seconds
    while (left := leftovers() - before) and time.monotonic() < deadline:
        time.sleep(0.5)
    return left


@pytest.fixture(autouse=True)
def nothing_is_left():
    """After every test: no Ray process of ours, no folder, no connection, the signal handler that was there."""
    before, running, handler = leftovers(), descendants(), signal.getsignal(signal.SIGTERM)
    yield
    # What ran before, such as a service that an experiment tracker keeps, is no process of this test.
    assert not still_there({process: began for process, began in descendants().items() if process not in running})
    assert not left_since(before)
    import ray

    assert not ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.fixture
def network(tmp_path, monkeypatch):
    """A folder that workers find a module in, of a network that waits as its files say."""
    sys.modules.pop("ray_test_network", None)  # an earlier test's
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "ray_test_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def own_network_study(make_study, network):
    """Two releases of two models of that network."""
    model = {"name": "factory", "options": {"target": "ray_test_network:build"}}
    return make_study(model=model, releases=make_study().model_dump()["releases"][1:])


class Listening(Silent):
    def __init__(self):
        self.warnings = []

    def warn(self, message):
        self.warnings.append(message)


def test_findings_and_signals_are_the_same_under_every_executor(make_study, tmp_path, capfd):
    finetune = {"epochs": 1, "learning_rate": 0.02}
    wemem = {"name": "wemem", "options": {"stride": 2, "width": 4, "tau": 0.1, "scoring_models": 3}}
    study = make_study(
        model={"name": "tinycnn", "options": {"width": 4}},
        releases=[
            {"compress": "l1structured", "sparsity": 0.5, "finetune": finetune},
            {"name": "defended", "finetune": finetune, "defense": wemem},
        ],
        audit={"attacks": ["loss", "lira"], "queries": 2},
    )
    seen = {
        name: contents(run(study, out=tmp_path / name, runtime=Runtime(executor=name, jobs=2)).folder)
        for name in ("serial", "processes", "ray")
    }
    assert seen["ray"] == seen["serial"]
    assert seen["processes"] == seen["serial"]
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_a_worker_that_is_killed_in_a_training_is_replaced_and_the_study_completes(
    own_network_study, network, tmp_path, capfd
):
    (network / "hold").touch()
    killed = []

    def kill():
        while not (network / "pid").exists():
            time.sleep(0.01)
        killed.append(int((network / "pid").read_text()))
        os.kill(killed[0], signal.SIGKILL)
        (network / "hold").unlink()

    killer = threading.Thread(target=kill)
    killer.start()
    heard = Listening()
    finished = run(own_network_study, out=tmp_path / "ray", runtime=Runtime(executor="ray", jobs=1, progress=heard))
    killer.join()
    assert killed != [os.getpid()]
    assert [note for note in heard.warnings if "its Ray worker died" in note and "trying again (1 of 3" in note]
    assert not finished.failures
    calm = run(own_network_study, out=tmp_path / "serial", runtime=Runtime(executor="serial"))
    assert contents(finished.folder) == contents(calm.folder)
    assert "died" not in capfd.readouterr().out


@pytest.fixture
def task_spec_of(own_network_study, tmp_path):
    """Makes a request of the study's first training, with changes to its specification."""
    plan, audit_data = plan_study(own_network_study)
    store = Store(tmp_path / "run")
    store.open_for_writing()
    staging = store.new_staging()
    audit_data.save(staging)
    store.commit(plan.audit_data, staging)
    task = plan.tasks[0]
    inputs = {"audit_data": str(store.path(plan.audit_data))}

    row = to_text(draw_membership(plan.study, audit_data), [task.model_id])

    def make(**changes):
        return TaskSpec(task.name, task.action, task.spec | changes, inputs, str(store.new_staging()), membership=row)

    return make


def test_what_goes_wrong_is_told_as_in_this_process(task_spec_of, network):
    unknown = {"name": "factory", "options": {"target": "ray_test_network:absent", "arguments": {}}}
    task_specs = [task_spec_of(model=unknown), task_spec_of(), replace(task_spec_of(), action="no such")]
    (network / "raise").touch()
    told = []
    for executor in (Serial(), make_executor("ray", 1)):
        with executor:
            for task_spec in task_specs:
                executor.submit(task_spec)
            outcomes = [executor.next_outcome() for _ in task_specs]
        told.append({(outcome.task_spec.action, outcome.kind, outcome.error) for outcome in outcomes})
    assert {kind for _, kind, _ in told[0]} == {"input", "task"}
    assert told[1] == told[0]


def test_an_interrupt_ends_what_is_running(task_spec_of, network):
    (network / "hold").touch()
    with pytest.raises(KeyboardInterrupt), make_executor("ray", 1) as executor:
        executor.submit(task_spec_of())
        while not (network / "pid").exists():
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert not list(Path(task_spec_of().staging).parent.rglob("model.safetensors"))


def test_a_worker_that_always_dies_is_an_outcome_each_time(task_spec_of, network):
    (network / "hold").touch()
    with make_executor("ray", 1) as executor:
        for _ in range(2):
            executor.submit(task_spec_of())
            while not (network / "pid").exists():
                time.sleep(0.01)
            process = int((network / "pid").read_text())
            (network / "pid").unlink()
            os.kill(process, signal.SIGKILL)
            assert executor.next_outcome().kind == "death"


@pytest.fixture
def cluster():
    """The address of a cluster of two nodes that somebody else has started, with one CPU each."""
    from ray.cluster_utils import Cluster

    quiet = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    handler = signal.getsignal(signal.SIGTERM)
    made = Cluster(initialize_head=True, head_node_args=quiet)
    made.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    yield made
    made.shutdown()
    signal.signal(signal.SIGTERM, handler)


def test_a_cluster_of_others_is_used_and_left_running(study, tmp_path, cluster):
    before = leftovers()
    with make_executor("ray", None, RayCluster(cluster.address)) as executor:
        assert executor.num_workers == 2
        with pytest.raises(UserError, match=r"the Ray cluster has 0 GPUs; use --device cpu"):
            executor.submit(TaskSpec("train", "train", {}, {}, "", device="cuda"))
    at_work = descendants()
    file = tmp_path / "study.json"
    file.write_text(study.model_dump_json())
    command = [sys.executable, "-m", "pruneaudit", "run", file, "--out", tmp_path, "--quiet"]
    joining = ["--executor", "ray", "--ray-address", cluster.address, "--gpus-per-task", "0.5"]
    subprocess.run([*command, *joining], check=True, stdout=subprocess.DEVNULL)
    calm = run(study, out=tmp_path / "serial", runtime=Runtime(executor="serial"))
    assert contents(tmp_path / study.name) == contents(calm.folder)
    assert not left_since(before)
    nodes = {process for process in at_work if "raylet" in command_of(process)}
    assert len(nodes) == 2  # and both are there still


def test_a_connection_of_the_callers_is_used_and_left_open(study, tmp_path, cluster):
    import ray

    handler = signal.getsignal(signal.SIGTERM)
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        finished = run(study, out=tmp_path / "ray", runtime=Runtime(executor="ray", jobs=2))
        assert ray.is_initialized()
    finally:
        ray.shutdown()
        signal.signal(signal.SIGTERM, handler)
    assert contents(finished.folder) == contents(
        run(study, out=tmp_path / "serial", runtime=Runtime(executor="serial")).folder
    )
