"""Runs the trackers of a run so that none of them can delay, change or end the run."""

from __future__ import annotations

import contextlib
import csv
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd

from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.core.files import HISTORY_FILE
from pruneaudit.engine.plan import Task
from pruneaudit.engine.progress import Progress
from pruneaudit.evaluation.columns import MEAN
from pruneaudit.evaluation.results import Results
from pruneaudit.tracking.tracker import Tracker, tracked_name

TRAININGS = ("train", "release")
"""The tasks that write a history."""
PATIENCE_SECONDS = 300.0
"""Maximum wait at the end of a run for trackers that are still writing, or sending to a server that answers."""
UNREACHABLE_SECONDS = 10.0
"""Maximum wait for a tracker whose server has not responded during this time."""
SHORT_PATIENCE_SECONDS = 20.0
"""Maximum wait if the run failed or was interrupted, so that the user gets the terminal back."""
SILENT_SECONDS = 3.0
"""Shorter waits are not reported."""

Step = Callable[[Tracker], None]


class Trackers:
    """A progress receiver that also informs trackers.

    A tracker that fails, or is not done in time, causes one warning and is then dropped.
    """

    def __init__(
        self,
        trackers: Sequence[Tracker],
        progress: Progress,
        folder: Path,
        patience_seconds: float = PATIENCE_SECONDS,
        unreachable_seconds: float = UNREACHABLE_SECONDS,
    ) -> None:
        wrong = [tracker for tracker in trackers if not isinstance(tracker, Tracker)]
        if wrong:
            raise UserError(f"trackers: got {wrong[0]!r}, expected trackers, such as tracking.tracker('mlflow')")
        self._lines = [_Line(tracker) for tracker in trackers]
        self._progress, self._folder = progress, folder
        self._patience_seconds = patience_seconds
        self._unreachable_seconds = unreachable_seconds

    def __enter__(self) -> Trackers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends all trackers, and reports where to find the tracked run."""
        failed = kind is not None
        patience = min(self._patience_seconds, SHORT_PATIENCE_SECONDS) if failed else self._patience_seconds
        for line in self._lines:
            line.finish(failed)
        began = time.monotonic()
        for line in self._lines:
            if not self._is_done(line, began, patience):
                waited = time.monotonic() - began
                self._progress.warn(f"tracker {line.name}: not done after {waited:.1f} s; no longer waiting for it")
            elif line.tracker.place and not line.failure:
                self._progress.say(f"{line.name}: {line.tracker.place}")
        self._drop_failed()

    def _is_done(self, line: _Line, began: float, patience: float) -> bool:
        """Waits until a tracker is done, and reports longer waits; returns False if it was not done in time.

        Args:
            line: the tracker and its thread.
            began: when the wait for all trackers began; all share the same time limit.
            patience: maximum wait, in seconds.
        """
        is_told = False
        while True:
            until = began + patience
            if line.tracker.is_remote():
                until = min(until, max(began, line.last_done) + self._unreachable_seconds)
            left = until - time.monotonic()
            if line.wait(max(0.0, min(left, SILENT_SECONDS))):
                return True
            if left <= 0:
                return False
            if not is_told and left > SILENT_SECONDS:
                is_told = True
                self._progress.say(f"waiting for {line.name}, at most {began + patience - time.monotonic():.0f} s")

    def start(self, about: Mapping[str, Any]) -> None:
        """Informs trackers of the start and provenance of the run."""
        for line in self._lines:
            line.start()
        self._tell(lambda tracker: tracker.begin(about, self._folder))

    def results(self, results: Results, names: Sequence[str]) -> None:
        """Sends the findings and the files of the run folder to trackers."""
        values, paths = finding_values(results.findings), [self._folder / name for name in names]
        self._tell(lambda tracker: tracker.findings(values))
        self._tell(lambda tracker: tracker.files(paths))

    def begin(self, num_tasks: int, num_reused: int) -> None:
        """Reports the number of tasks."""
        self._progress.begin(num_tasks, num_reused)

    def done(self, task: Task, seconds: float = 0.0) -> None:
        """Reports a finished task; sends the curve of a training."""
        self._progress.done(task, seconds)
        if task.action in TRAININGS:
            name = tracked_name(task.release, f"model-{task.model_id:03d}")
            history = self._folder / task.artifact.folder / HISTORY_FILE
            self._tell(lambda tracker: _send_curve(tracker, name, history))

    def say(self, message: str) -> None:
        """Reports a message."""
        self._progress.say(message)

    def warn(self, message: str) -> None:
        """Reports a warning."""
        self._progress.warn(message)

    def fail(self, task: Task, reason: str, details: str) -> None:
        """Reports a failed task."""
        self._progress.fail(task, reason, details)

    def _tell(self, step: Step) -> None:
        for line in self._lines:
            line.tell(step)
        self._drop_failed()

    def _drop_failed(self) -> None:
        """Reports and drops failed trackers; done here, because progress displays need not be thread-safe."""
        for line in [line for line in self._lines if line.failure]:
            self._progress.warn(f"tracker {line.name} failed, the run continues without it: {line.failure}")
            self._lines.remove(line)


class _Line:
    """One tracker and its thread, which runs steps in order until one fails."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.name = tracker.name or type(tracker).__name__
        self.failure = ""
        """The reason in one line, if it has failed."""
        self.last_done = 0.0
        """When it last completed a step, by the monotonic clock."""
        self._steps: queue.SimpleQueue[Step | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread; a hanging thread does not prevent the program from ending."""
        self._thread = threading.Thread(target=self._work, name=f"tracker {self.name}", daemon=True)
        self._thread.start()

    def tell(self, step: Step) -> None:
        """Queues a step; returns at once."""
        self._steps.put(step)

    def finish(self, failed: bool) -> None:
        """Queues the last step."""
        self._steps.put(lambda tracker: tracker.end(failed))
        self._steps.put(None)

    def wait(self, seconds: float) -> bool:
        """Waits until all steps are done; returns whether they are."""
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (step := self._steps.get()) is not None:
            try:
                step(self.tracker)
                self.last_done = time.monotonic()
            except (Exception, SystemExit) as error:  # foreign code can raise anything
                self.failure = in_one_line(error)
                with contextlib.suppress(Exception, SystemExit):
                    self.tracker.end(True)
                return


def _send_curve(tracker: Tracker, name: str, history: Path) -> None:
    rows = read_history(history)
    if rows:
        tracker.curve(name, rows)


def read_history(path: Path) -> list[dict[str, float]]:
    """Reads the rows of a model's history, by column; leaves out empty cells.

    Args:
        path: the file, with one row per epoch; no rows without training.

    Raises:
        ValueError: a cell is neither empty nor a number.
    """
    with path.open(newline="", encoding="utf-8") as file:
        return [{tracked_name(key): float(cell) for key, cell in row.items() if cell} for row in csv.DictReader(file)]


def finding_values(findings: pd.DataFrame) -> dict[str, float]:
    """Returns every number of the findings' mean rows (over victims), by name, without missing or suppressed ones.

    Returns:
        Values by names such as "findings/dense/matched/lira/auc".
    """
    values: dict[str, float] = {}
    for row in findings[findings["victim"] == MEAN].to_dict("records"):
        which = ("findings", str(row["release"]), str(row["references"]), str(row["attack"]))
        numbers = {str(column): value for column, value in row.items() if not isinstance(value, str)}
        values |= {
            tracked_name(*which, column): float(value) for column, value in numbers.items() if math.isfinite(value)
        }
    return values
