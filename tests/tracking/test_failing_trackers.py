"""Trackers that fail, hang, or lack their library: the run goes on, and says so once."""

import socket
import sys
import threading
import time
import urllib.request

import pytest

from pruneaudit.api import Runtime, run
from pruneaudit.core.errors import UserError
from pruneaudit.engine.progress import Silent
from pruneaudit.tracking import TRACKERS
from pruneaudit.tracking.tracker import Tracker
from pruneaudit.tracking.trackers import UNREACHABLE_SECONDS, Trackers

pytestmark = pytest.mark.slow

METHODS = ("begin", "curve", "findings", "files", "end")


class Recorder(Tracker):
    """Knows what it was told; fails where it is asked to."""

    def __init__(self, name="recorder", fails_in="", error=None):
        super().__init__(None)
        self.name, self._fails_in, self._error = name, fails_in, error or OSError("no such server")
        self.told = []

    def _note(self, method, *arguments):
        self.told.append((method, *arguments))
        if method == self._fails_in:
            raise self._error

    def begin(self, about, folder):
        self._note("begin", about["name"], folder)

    def curve(self, name, rows):
        self._note("curve", name, rows)

    def findings(self, values):
        self._note("findings", values)

    def files(self, paths):
        self._note("files", [path.name for path in paths])

    def end(self, failed):
        self._note("end", failed)


def methods_of(recorder):
    return [told[0] for told in recorder.told]


def test_one_that_fails_in_any_method_ends_no_run_and_is_named_once(tiny, untracked, tmp_path, watcher, monkeypatch):
    for name in ["mlflow", *(name for name in sys.modules if name.startswith("mlflow."))]:
        monkeypatch.setitem(sys.modules, name, None)  # its library is not there when it is needed
    lacking = TRACKERS.get("mlflow")(TRACKERS.get("mlflow").Options())
    failing = [Recorder(f"bad {method}", method) for method in METHODS]
    exiting, sound = Recorder("exiting", "curve", SystemExit(3)), Recorder()
    finished = run(
        tiny,
        out=tmp_path,
        runtime=Runtime(executor="serial", progress=watcher, trackers=[*failing, lacking, exiting, sound]),
    )
    warnings = sorted(warning for warning in watcher.warned if "tracker" in warning)
    said = {warning.partition(" failed, ")[0]: warning for warning in warnings}
    assert len(warnings) == len(said) == 7
    assert set(said) == {f"tracker {name}" for name in (*(bad.name for bad in failing), "mlflow", "exiting")}
    assert said["tracker bad curve"] == (
        "tracker bad curve failed, the run continues without it: OSError: no such server"
    )
    for name in ("findings.csv", "scores.parquet"):
        assert (finished.folder / name).read_bytes() == (untracked / name).read_bytes()
    for bad, method in zip(failing, METHODS, strict=True):  # told nothing more, but that it may close
        told = methods_of(bad)
        assert told[told.index(method) + 1 :] in (["end"], [])
    assert methods_of(sound) == ["begin", *["curve"] * 6, "findings", "files", "end"]
    assert sound.told[-1] == ("end", False)


def test_a_run_that_is_interrupted_ends_its_trackers(tiny, tmp_path):
    class Impatient(Silent):
        def done(self, task, seconds=0.0):
            if task.action == "release":
                raise KeyboardInterrupt

    recorder = Recorder()
    with pytest.raises(KeyboardInterrupt):
        run(tiny, out=tmp_path, runtime=Runtime(executor="serial", progress=Impatient(), trackers=[recorder]))
    assert methods_of(recorder) == ["begin", "curve", "curve", "end"]
    assert recorder.told[-1] == ("end", True)


def test_a_run_that_never_begins_tells_nothing(tmp_path, watcher):
    recorder = Recorder()
    with pytest.raises(UserError), Trackers([recorder], watcher, tmp_path):
        raise UserError("the study is wrong")
    assert recorder.told == []


def test_one_that_hangs_is_left_to_itself(tmp_path, watcher):
    released = threading.Event()

    class Hanging(Recorder):
        def curve(self, name, rows):
            released.wait(30)

        def begin(self, about, folder):
            released.wait(30)

    began = time.monotonic()
    with Trackers([Hanging("slow"), Recorder("quick")], watcher, tmp_path, patience_seconds=0.2) as trackers:
        trackers.start({"name": "x"})
    assert time.monotonic() - began < 5
    assert len(watcher.warned) == 1
    assert watcher.warned[0].startswith("tracker slow: not done after 0.")
    released.set()


@pytest.fixture
def deaf_server():
    """The address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_servers_that_never_answer_cost_a_run_one_short_wait(deaf_server, tmp_path, watcher):
    class Sending(Recorder):
        def begin(self, about, folder):
            with urllib.request.urlopen(deaf_server, timeout=30):
                pass

    three = [Sending("first"), Sending("second"), Recorder("sound")]
    with Trackers(three, watcher, tmp_path, unreachable_seconds=0.5) as trackers:
        trackers.start({"name": "x"})
        began = time.monotonic()
    assert 0.4 < time.monotonic() - began < 0.5 + 2  # both have the same time, and a busy machine has some more
    assert [warning.partition(":")[0] for warning in watcher.warned] == ["tracker first", "tracker second"]
    assert UNREACHABLE_SECONDS <= 10


def test_mlflow_gives_up_a_server_that_never_answers(deaf_server, tmp_path, watcher, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # its thread is not to outlive the test by much
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    mlflow = TRACKERS.get("mlflow")(TRACKERS.get("mlflow").Options(uri=deaf_server))
    about = {"name": "x", "created": "now", "study": {}, "device": "cpu", "versions": {}}
    with Trackers([mlflow], watcher, tmp_path, unreachable_seconds=0.5) as trackers:
        trackers.start(about)
        began = time.monotonic()
    assert time.monotonic() - began < 0.5 + 2
    assert watcher.warned[0].startswith("tracker mlflow: not done after")


def test_a_server_that_is_slow_and_answers_is_waited_for(tmp_path, watcher):
    class Slow(Recorder):
        def curve(self, name, rows):
            time.sleep(0.3)
            super().curve(name, rows)

    slow = Slow()
    with Trackers([slow], watcher, tmp_path, unreachable_seconds=2.0) as trackers:
        trackers.start({"name": "x"})
        for number in range(8):  # longer in all than the time for one
            trackers._tell(lambda tracker, name=str(number): tracker.curve(name, []))
    assert methods_of(slow) == ["begin", *["curve"] * 8, "end"]
    assert watcher.warned == []


def test_one_that_writes_files_is_no_server(monkeypatch):
    def made(name, **options):
        return TRACKERS.get(name)(TRACKERS.get(name).Options(**options))

    for variable in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NETRC", "/nowhere")
    monkeypatch.setenv("HOME", "/nowhere")
    assert [made(name).is_remote() for name in ("mlflow", "wandb", "tensorboard")] == [False] * 3
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert made("wandb").is_remote()
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert not made("wandb").is_remote()
    assert made("mlflow", uri="http://127.0.0.1:1").is_remote()


def test_what_is_no_tracker_is_refused(tiny, tmp_path):
    with pytest.raises(UserError, match=r"trackers: got 'wandb', expected trackers, such as tracking.tracker"):
        run(tiny, out=tmp_path, runtime=Runtime(executor="serial", trackers=["wandb"]))
