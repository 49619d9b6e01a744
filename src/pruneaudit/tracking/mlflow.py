"""MLflow: writes to a SQLite file in the run folder, or to the server of the option `uri` or MLFLOW_TRACKING_URI.

The experiment has the name of the study; each `pruneaudit run` is one MLflow run in it. Settings become parameters,
curves become metrics with the epoch as step, findings become metrics at step 0, and files become artifacts. MLflow's
telemetry is switched off, unless MLFLOW_DISABLE_TELEMETRY is set otherwise.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruneaudit.core.options import Options
from pruneaudit.tracking.tracker import Tracker, epoch_of, flat_settings, tracked_name

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

MAX_PARAMETERS = 100
MAX_METRICS = 1000
MAX_VALUE = 500
"""Limits of every MLflow server: parameters and metrics per call, characters of a parameter."""


class MlflowOptions(Options):
    """The server or database."""

    uri: str = ""
    """Its address; default: MLFLOW_TRACKING_URI, or a SQLite file in the run folder."""


class Mlflow(Tracker):
    """Writes an MLflow run."""

    Options = MlflowOptions
    modules = ("mlflow", "sqlalchemy", "alembic")
    name = "mlflow"

    def is_remote(self) -> bool:
        """Returns whether it uses a server or database outside the run folder."""
        return bool(self._uri())

    def _uri(self) -> str:
        """Returns the user's server or database; empty for a file in the run folder."""
        return self.options.uri or os.environ.get("MLFLOW_TRACKING_URI") or ""

    def begin(self, about: Mapping[str, Any], folder: Path) -> None:
        """Starts the MLflow run, and creates its experiment if necessary."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.entities import Param, RunTag
        from mlflow.tracking import MlflowClient

        here = folder.resolve()
        uri = self._uri()
        with _quiet():
            self._client: MlflowClient = MlflowClient(tracking_uri=uri or f"sqlite:///{here / 'mlflow.db'}")
            artifacts = None if uri else (here / "mlflow-artifacts").as_uri()
            run = self._client.create_run(self._experiment(about["name"], artifacts), run_name=about["created"])
        self._run_id = run.info.run_id
        self.place = f"{uri or f'sqlite:///{here}/mlflow.db'}, experiment {about['name']}, run {self._run_id}"
        told = {"device": about["device"], **about["versions"]}
        tags = [RunTag(f"pruneaudit.{key}", str(value)) for key, value in told.items()]
        self._client.log_batch(self._run_id, tags=tags)
        settings = flat_settings(about["study"])
        parameters = [Param(tracked_name(key), shortened(str(value))) for key, value in settings.items()]
        for batch in batches(parameters, MAX_PARAMETERS):
            self._client.log_batch(self._run_id, params=batch)

    def curve(self, name: str, rows: Sequence[Mapping[str, float]]) -> None:
        """Logs metrics with the epoch as step."""
        values = [
            (f"{name}/{key}", row[key], epoch_of(row, index))
            for index, row in enumerate(rows)
            for key in row
            if key != "epoch"
        ]
        self._log(values)

    def findings(self, values: Mapping[str, float]) -> None:
        """Logs metrics at step 0."""
        self._log([(key, value, 0) for key, value in values.items()])

    def files(self, paths: Sequence[Path]) -> None:
        """Logs artifacts."""
        for path in paths:
            self._client.log_artifact(self._run_id, str(path))

    def end(self, failed: bool) -> None:
        """Ends the MLflow run."""
        self._client.set_terminated(self._run_id, "FAILED" if failed else "FINISHED")

    def _experiment(self, name: str, artifacts: str | None) -> str:
        """Returns the experiment of a name; creates it if missing, restores it if deleted."""
        found = self._client.get_experiment_by_name(name)
        if found is None:
            return str(self._client.create_experiment(name, artifact_location=artifacts))
        if found.lifecycle_stage != "active":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _log(self, values: Sequence[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(key, value, now, step) for key, value, step in values]
        for batch in batches(metrics, MAX_METRICS):
            self._client.log_batch(self._run_id, metrics=batch)


def shortened(text: str) -> str:
    """Shortens a parameter's value to the limit of servers; the artifact study.json has the full settings."""
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 3] + "..."


def batches(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """Yields the items in order, `size` at a time."""
    rest = iter(items)
    while batch := list(itertools.islice(rest, size)):
        yield batch


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides MLflow's messages on creating its tables from the user."""
    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


TRACKER = Mlflow
