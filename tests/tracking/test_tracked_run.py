"""A run with all trackers, read back by the trackers' own libraries."""

import json
import shutil

import pytest

from pruneaudit.api import Runtime, run, verify
from pruneaudit.tracking import TRACKERS, tracker

pytestmark = pytest.mark.slow
FILES = ("report.html", "findings.csv", "study.json")


def curves_of(values):
    """(name, step, value) triples as a mapping; each point there once."""
    points = [((name, step), value) for name, step, value in values if not name.startswith("findings/")]
    assert len(dict(points)) == len(points)
    return dict(points)


def test_the_run_names_where_to_look_and_warns_of_nothing(tracked):
    folder, watcher = tracked
    assert not [warning for warning in watcher.warned if "tracker" in warning]
    said = "\n".join(watcher.said)
    assert f"wandb sync {folder}/wandb/offline-run-" in said
    assert f"mlflow: sqlite:///{folder}/mlflow.db, experiment tiny, run " in said
    assert f"tensorboard --logdir {folder}/tensorboard" in said


def test_trackers_change_no_byte_of_what_is_found(tracked, untracked):
    for name in ("findings.csv", "findings.json", "comparisons.csv", "curves.csv", "scores.parquet"):
        assert (tracked[0] / name).read_bytes() == (untracked / name).read_bytes()
    assert {checked.state for checked in verify(tracked[0])} == {"whole"}


def read_events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (written,) = (folder / "tensorboard").iterdir()
    return EventAccumulator(str(written), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def scalars_of(events):
    return [(tag, event.step, event.value) for tag in events.Tags()["scalars"] for event in events.Scalars(tag)]


@pytest.fixture(scope="module")
def events(tracked):
    return read_events(tracked[0])


def test_tensorboard_reads_back_every_curve_and_finding(events, expected_curves, expected_findings):
    scalars = scalars_of(events)
    assert curves_of(scalars) == pytest.approx(expected_curves, rel=1e-6)  # float32
    findings = {tag: value for tag, step, value in scalars if tag.startswith("findings/") and step == 0}
    assert findings == pytest.approx(expected_findings, rel=1e-6)


def test_tensorboard_reads_back_settings_and_where_the_files_are(events, tracked, tiny):
    texts = {tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in events.Tags()["tensors"]}
    study = json.loads(texts["study"].removeprefix("```json\n").removesuffix("```"))
    assert study["training"] == tiny.model_dump(mode="json")["training"]
    assert texts["files"].splitlines() == [f"- {tracked[0] / name}" for name in (".tracked/report.html", *FILES[1:])]


def test_a_run_that_has_nothing_to_train_sends_findings_alone(tiny, untracked, tmp_path, expected_findings, watcher):
    shutil.copytree(untracked, tmp_path / "tiny")
    again = run(
        tiny, out=tmp_path, runtime=Runtime(executor="serial", progress=watcher, trackers=[tracker("tensorboard")])
    )
    assert again.num_tasks_done == 0
    sent = {name: value for name, _, value in scalars_of(read_events(tmp_path / "tiny"))}
    assert sent == pytest.approx(expected_findings, rel=1e-6)


@pytest.fixture(scope="module")
def client(tracked):
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{tracked[0]}/mlflow.db")


def metrics_of(client, run_id):
    names = client.get_run(run_id).data.metrics
    return [(name, point.step, point.value) for name in names for point in client.get_metric_history(run_id, name)]


def run_of(client):
    (found,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    return found


def test_mlflow_reads_back_every_curve_and_finding(client, expected_curves, expected_findings):
    first = run_of(client)
    assert first.info.status == "FINISHED"
    metrics = metrics_of(client, first.info.run_id)
    assert curves_of(metrics) == expected_curves
    assert {name: value for name, step, value in metrics if name.startswith("findings/")} == expected_findings


def test_mlflow_reads_back_settings_and_files(client, tracked):
    first = run_of(client)
    assert first.data.params["training.epochs"] == "3"
    assert first.data.params["releases.0.compress.0.name"] == "l1unstructured"
    assert first.data.tags["pruneaudit.device"] == "cpu"
    assert {file.path for file in client.list_artifacts(first.info.run_id)} == set(FILES)
    report = tracked[0] / "mlflow-artifacts" / first.info.run_id / "artifacts" / "report.html"
    assert report.read_bytes() == (tracked[0] / ".tracked" / "report.html").read_bytes()


@pytest.fixture(scope="module")
def records(tracked):
    """Records of the W&B run by kind, from the file that `wandb sync` sends."""
    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    (path,) = (tracked[0] / "wandb").glob("offline-run-*/*.wandb")
    store, found = DataStore(), {}
    store.open_for_scan(str(path))
    while (data := store.scan_data()) is not None:
        record = Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        found.setdefault(kind, []).append(getattr(record, kind))
    store.close()
    return found


def items_of(items):
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def test_wandb_reads_back_every_curve(records, expected_curves):
    rows = [items_of(row.item) for row in records["history"]]
    points = [
        (name, row["epoch"], value) for row in rows for name, value in row.items() if name[0] != "_" and name != "epoch"
    ]
    assert curves_of(points) == expected_curves


def test_wandb_reads_back_findings_settings_and_files(records, tracked, expected_findings, tiny):
    summary = {}
    for record in records["summary"]:
        summary |= items_of(record.update)
    assert {name: summary[name] for name in summary if name.startswith("findings/")} == expected_findings
    (begun,) = records["run"]
    assert (begun.project, begun.display_name, list(begun.tags)) == ("pruneaudit", "tiny", ["a", "b"])
    config = items_of(begun.config.update)
    assert config["training"] == tiny.model_dump(mode="json")["training"]
    (artifact,) = records["artifact"]
    assert (artifact.name, artifact.type) == ("tiny-results", "results")
    assert {entry.path: entry.size for entry in artifact.manifest.contents} == {
        name: (tracked[0] / (".tracked" if name == "report.html" else "") / name).stat().st_size for name in FILES
    }
    assert records["exit"][0].exit_code == 0


def test_every_tracker_is_listed_with_what_it_is():
    assert TRACKERS.names() == ("mlflow", "tensorboard", "wandb")
    assert all(TRACKERS.get(name).name == name for name in TRACKERS.names())
