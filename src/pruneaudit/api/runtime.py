"""On what a job runs, and who watches: nothing of it changes a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pruneaudit.engine.devices import check_device, usual_jobs
from pruneaudit.engine.executors import Executor, Standby, make_executor
from pruneaudit.engine.progress import Progress, Silent
from pruneaudit.tracking import Tracker

if TYPE_CHECKING:
    from pruneaudit.engine.ray_cluster import RayCluster


@dataclass(frozen=True)
class Runtime:
    """The machine, and what is told while it works.

    Example:
        >>> pruneaudit.Runtime(jobs=2).device
        'cpu'
    """

    executor: str = "processes"
    """`processes` (one worker process per core), `serial` (in this process) or `ray`."""
    jobs: int | None = None
    """Tasks at a time; default: one per core, in worker processes on a GPU one; on a cluster all that it has."""
    device: str = "cpu"
    """`cpu`, `cuda`, or `cuda:N`."""
    data_root: str | Path | None = None
    """Where downloaded data sets lie; default: PRUNEAUDIT_DATA or ~/.cache/pruneaudit."""
    progress: Progress = field(default_factory=Silent)
    """Told of every task."""
    checkpoint_seconds: float = 60.0
    """A training is kept on disk between epochs at most this often."""
    wait: bool = False
    """If another run is at work in the folder, wait for it; otherwise that is an error."""
    ray_cluster: RayCluster | None = None
    """For executor `ray`; default: a cluster on this machine, for this run."""
    trackers: Sequence[Tracker] = ()
    """Experiment trackers, such as `tracking.tracker("mlflow")`; one that fails is named and ends no run."""

    @property
    def data_folder(self) -> Path | None:
        """`data_root` as a path."""
        return Path(self.data_root) if self.data_root else None

    @property
    def num_jobs(self) -> int | None:
        """Tasks at a time; None: all that a cluster has."""
        if self.jobs is not None or self._is_on_a_cluster:
            return self.jobs
        return usual_jobs("cpu" if self.executor == "ray" else self.device)

    def standby(self) -> Standby:
        """What does the tasks; it starts with the first of them.

        Raises:
            UserError: there is no such executor or device, or no sensible number of jobs.
        """
        if not self._is_on_a_cluster:  # a cluster has devices of its own
            check_device(self.device)
        made: Executor = make_executor(self.executor, self.num_jobs, self.ray_cluster)
        return Standby(made)

    @property
    def _is_on_a_cluster(self) -> bool:
        return self.executor == "ray" and self.ray_cluster is not None and bool(self.ray_cluster.address)
