"""Runs in processes of their own, which tests kill."""

import subprocess
import sys
import time
from pathlib import Path

DRIVER = """
import sys

from pruneaudit.api import Runtime, run
from pruneaudit.study import Study

finished = run(Study.load(sys.argv[1]), sys.argv[2], Runtime(jobs=2, checkpoint_seconds=0))
sys.exit(1 if finished.failures else 0)
"""

CHOICE = """
import sys

from pruneaudit.api import Runtime, choose
from pruneaudit.evaluation.limits import Limits
from pruneaudit.study import Study

limits = Limits(min_accuracy=0.6, max_auc=0.8)
choose(Study.load(sys.argv[1]), limits, sys.argv[2], Runtime(jobs=2, checkpoint_seconds=0))
"""


def is_alive(pid):
    """Whether a process runs; one that has ended and is not waited for (a zombie) does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Driver:
    """A run in a process of its own, and its workers."""

    def __init__(self, place, study_file, out, program=DRIVER):
        script = place / "driver.py"
        script.write_text(program)
        self.began = time.monotonic()
        self.log = out / "small" / "run.log"
        self._num_done = self.num_done()
        self.recovery_seconds = None
        self._process = subprocess.Popen([sys.executable, script, study_file, out], start_new_session=True)

    def num_done(self):
        return self.log.read_text().count("event=done") if self.log.exists() else 0

    def workers(self):
        lists = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        try:
            return [int(pid) for children in lists for pid in children.read_text().split()]
        except OSError:
            return []

    def code_within(self, seconds):
        """The exit code, if it ends in time; notes when the first task is done on the way."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self._process.poll() is None:
            if self.recovery_seconds is None and self.num_done() > self._num_done:
                self.recovery_seconds = time.monotonic() - self.began
            time.sleep(0.02)
        return self._process.poll()

    def kill(self):
        """Kills it; seconds until the last of its workers is gone too."""
        workers = self.workers()
        self._process.kill()
        self._process.wait()
        killed = time.monotonic()
        while any(is_alive(pid) for pid in workers):
            assert time.monotonic() - killed < 20, "workers outlive their driver"
            time.sleep(0.01)
        return time.monotonic() - killed
