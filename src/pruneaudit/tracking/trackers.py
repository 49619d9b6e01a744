"""A run's trackers, held so that none of them can delay the run, change it or end it."""

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
"""The tasks that leave a history."""
PATIENCE_SECONDS = 300.0
"""How long the end of a run waits for trackers that still have something to write, or to send and are being heard."""
UNREACHABLE_SECONDS = 10.0
"""The same for one that sends to a server and has got nothing done in this time: nobody answers."""
SHORT_PATIENCE_SECONDS = 20.0
"""The same where the run failed or was interrupted: somebody wants their terminal back."""
SILENT_SECONDS = 3.0
"""Nobody is told of a shorter wait."""

Step = Callable[[Tracker], None]


class Trackers:
    """A run's progress, of which trackers are told too.

    A tracker that fails is named in a warning, once, and told nothing more. So is one that is not done in time.
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
        """Ends all of them, however the run ended, and says where to look."""
        failed = kind is not None
        patience = min(self._patience_seconds, SHORT_PATIENCE_SECONDS) if failed else self._patience_seconds
        for line in self._lines:
            line.finish(failed)
        began = time.monotonic()
        for line in self._lines:
            if not self._is_done(line, began, patience):
                waited = time.monotonic() - began
                self._progress.warn(f"tracker {line.name}: not done after {waited:.1f} s, left to itself")
            elif line.tracker.place and not line.failure:
                self._progress.say(f"{line.name}: {line.tracker.place}")
        self._drop_failed()

    def _is_done(self, line: _Line, began: float, patience: float) -> bool:
        """Waits until a tracker is done, and says so where it takes a while; False: it was not in time.

        Args:
            line: the tracker's.
            began: when waiting for all of them began; they have the same time, not one after another.
            patience: how long to wait at most, in seconds.
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
        """Tells them that the run begins, and how it comes to be."""
        for line in self._lines:
            line.start()
        self._tell(lambda tracker: tracker.begin(about, self._folder))

    def results(self, results: Results, names: Sequence[str]) -> None:
        """Tells them what was found, and which files of the run folder hold it."""
        values, paths = finding_values(results.findings), [self._folder / name for name in names]
        self._tell(lambda tracker: tracker.findings(values))
        self._tell(lambda tracker: tracker.files(paths))

    def begin(self, num_tasks: int, num_reused: int) -> None:
        """The work is known."""
        self._progress.begin(num_tasks, num_reused)

    def done(self, task: Task, seconds: float = 0.0) -> None:
        """A task is finished; if it was a training, its curve is sent."""
        self._progress.done(task, seconds)
        if task.action in TRAININGS:
            name = tracked_name(task.release, f"model-{task.model_id:03d}")
            history = self._folder / task.artifact.folder / HISTORY_FILE
            self._tell(lambda tracker: _send_curve(tracker, name, history))

    def say(self, message: str) -> None:
        """Anything worth a line."""
        self._progress.say(message)

    def warn(self, message: str) -> None:
        """Something that the user should know."""
        self._progress.warn(message)

    def fail(self, task: Task, reason: str, details: str) -> None:
        """A task was given up."""
        self._progress.fail(task, reason, details)

    def _tell(self, step: Step) -> None:
        for line in self._lines:
            line.tell(step)
        self._drop_failed()

    def _drop_failed(self) -> None:
        """Names those that have failed; said here, since a watcher need not bear calls from other threads."""
        for line in [line for line in self._lines if line.failure]:
            self._progress.warn(f"tracker {line.name} failed, the run goes on without it: {line.failure}")
            self._lines.remove(line)


class _Line:
    """One tracker and its thread, which does what it is told in order, until something fails."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.name = tracker.name or type(tracker).__name__
        self.failure = ""
        """One line, once it has failed."""
        self.last_done = 0.0
        """When it last got something done, by the monotonic clock."""
        self._steps: queue.SimpleQueue[Step | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to work; a thread that hangs does not keep the program from ending."""
        self._thread = threading.Thread(target=self._work, name=f"tracker {self.name}", daemon=True)
        self._thread.start()

    def tell(self, step: Step) -> None:
        """Hands in a step; returns at once."""
        self._steps.put(step)

    def finish(self, failed: bool) -> None:
        """Hands in the last step."""
        self._steps.put(lambda tracker: tracker.end(failed))
        self._steps.put(None)

    def wait(self, seconds: float) -> bool:
        """Waits until all is done; whether it is."""
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (step := self._steps.get()) is not None:
            try:
                step(self.tracker)
                self.last_done = time.monotonic()
            except (Exception, SystemExit) as error:  # other people's code: anything may come
                self.failure = in_one_line(error)
                with contextlib.suppress(Exception, SystemExit):
                    self.tracker.end(True)
                return


def _send_curve(tracker: Tracker, name: str, history: Path) -> None:
    rows = read_history(history)
    if rows:
        tracker.curve(name, rows)


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a model's history, by column; empty cells are left out.

    Args:
        path: one row per epoch, no rows where nothing was trained.

    Raises:
        ValueError: a cell is neither empty nor a number.
    """
    with path.open(newline="", encoding="utf-8") as file:
        return [{tracked_name(key): float(cell) for key, cell in row.items() if cell} for row in csv.DictReader(file)]


def finding_values(findings: pd.DataFrame) -> dict[str, float]:
    """Every number of the rows that are means over victims, by name; what is missing or refused has none.

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
