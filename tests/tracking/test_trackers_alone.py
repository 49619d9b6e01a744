"""Single trackers, without a run: no network, old databases, long settings, odd names."""

import math
import os
import re
import socket
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.core.errors import UserError
from pruneaudit.tracking import tracker
from pruneaudit.tracking.mlflow import MAX_VALUE, batches, shortened
from pruneaudit.tracking.tracker import flat_settings, tracked_name
from pruneaudit.tracking.trackers import read_history
from pruneaudit.tracking.wandb import is_logged_in

ABOUT = {
    "name": "x",
    "description": "",
    "study": {"name": "x", "seed": 1},
    "created": "2026-01-02T03:04:05+00:00",
    "device": "cpu",
    "versions": {"torch": "2"},
}


@pytest.fixture
def silent_server(monkeypatch):
    """A server that takes connections and never answers, where W&B and proxies are said to be."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        for name in ("WANDB_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, address)
        server.setblocking(False)
        yield server


def asked_of(server):
    """What has been asked of a server, a text per connection: other libraries of this process may look for proxies."""
    requests = []
    while True:
        try:
            connection, _ = server.accept()
        except BlockingIOError:
            return requests
        with connection:
            connection.settimeout(1)
            requests.append(connection.recv(2000).decode(errors="replace"))


@pytest.mark.slow
def test_wandb_without_account_asks_no_network(no_account, silent_server, tmp_path):
    made, began = tracker("wandb"), time.monotonic()
    made.begin(ABOUT, tmp_path)
    made.curve("dense/model-000", [{"epoch": 1.0, "loss": 2.0}])
    made.end(False)
    assert time.monotonic() - began < 10
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    assert not [asked for asked in asked_of(silent_server) if "wandb" in asked or "sentry" in asked]


@pytest.mark.slow
def test_wandb_online_without_account_fails_instead_of_asking(no_account, monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(RuntimeError, match="not logged in; run `wandb login`"):
        tracker("wandb").begin(ABOUT, tmp_path)


def test_a_login_is_found_where_wandb_keeps_it(no_account, monkeypatch, tmp_path):
    assert not is_logged_in()
    (tmp_path / "netrc").write_text("machine api.wandb.ai\n  login user\n  password secret\n")
    assert is_logged_in()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not is_logged_in()
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert is_logged_in()


def test_tensorboard_writes_where_it_is_told_and_keeps_nan(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    made = tracker("tensorboard", folder=str(tmp_path / "elsewhere"))
    made.begin(ABOUT, tmp_path / "run")
    made.curve("dense/model-000", [{"epoch": 1.0, "loss": 2.0}, {"epoch": 2.0, "loss": math.nan}])
    made.end(False)
    events = EventAccumulator(str(tmp_path / "elsewhere" / "20260102T030405")).Reload().Scalars("dense/model-000/loss")
    assert [event.step for event in events] == [1, 2]
    np.testing.assert_array_equal([event.value for event in events], [2.0, math.nan])
    assert not (tmp_path / "run").exists()


def test_history_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss,learning_rate\n")
    assert read_history(path) == []
    path.write_text("epoch,loss,odd name%\n1,0.1,\n2,nan,3\n")
    first, second = read_history(path)
    assert first == {"epoch": 1.0, "loss": 0.1}
    assert math.isnan(second["loss"])
    assert second["odd_namepct"] == 3.0


@given(st.lists(st.text(min_size=1, max_size=120), min_size=1, max_size=3))
def test_names_are_of_characters_and_lengths_that_mlflow_takes(parts):
    name = tracked_name(*parts)
    assert re.fullmatch(r"[A-Za-z0-9_./:-]+", name)
    assert len(name) <= 250
    assert name.count("/") == len(parts) - 1


def test_settings_are_one_level():
    nested = {"a": {"b": 1, "c": {}}, "d": [{"e": None}, 2], "f": ()}
    assert flat_settings(nested) == {"a.b": 1, "d.0.e": None, "d.1": 2}


@given(st.lists(st.integers()), st.integers(1, 7))
def test_batches_hold_everything_in_order(items, size):
    made = list(batches(items, size))
    assert [item for batch in made for item in batch] == items
    assert all(len(batch) == size for batch in made[:-1])


@given(st.text(max_size=2 * MAX_VALUE))
def test_long_values_are_cut(text):
    short = shortened(text)
    assert len(short) <= MAX_VALUE
    assert short == text if len(text) <= MAX_VALUE else text.startswith(short.removesuffix("..."))


def test_unknown_trackers_and_options_are_named():
    with pytest.raises(UserError, match=r"unknown tracker 'wandbb' \(did you mean 'wandb'\?\)"):
        tracker("wandbb")
    with pytest.raises(UserError, match=r"tracker mlflow: .*url"):
        tracker("mlflow", url="http://localhost")


@pytest.mark.slow
def test_mlflow_goes_where_the_environment_says_and_goes_on_with_a_deleted_experiment(
    no_account, monkeypatch, tmp_path
):
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path / 'all.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        made = tracker("mlflow")
        made.begin(ABOUT | {"study": {"note": "n" * 7000}}, tmp_path / "run")
        made.end(True)
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name("x")
        (found,) = client.search_runs([experiment.experiment_id], max_results=1)
        assert (found.info.status, len(found.data.params["note"])) == ("FAILED", MAX_VALUE)
        client.delete_experiment(experiment.experiment_id)
    assert os.environ["MLFLOW_TRACKING_URI"] in made.place
