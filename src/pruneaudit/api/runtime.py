"""The machine and the observers of a job. None of these settings changes a result."""

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
    """The machine that a job runs on, and the observers of its progress.

    Example:
        >>> pruneaudit.Runtime(jobs=2).device
        'cpu'
    """

    executor: str = "processes"
    """`processes` (one worker process per core), `serial` (in this process) or `ray`."""
    jobs: int | None = None
    """Number of tasks at a time; default: one per core; on a GPU one; on a cluster as many as fit."""
    device: str = "cpu"
    """`cpu`, `cuda`, or `cuda:N`."""
    data_root: str | Path | None = None
    """Folder of downloaded data sets; default: PRUNEAUDIT_DATA or ~/.cache/pruneaudit."""
    progress: Progress = field(default_factory=Silent)
    """The progress display; it is called for every task."""
    checkpoint_seconds: float = 60.0
    """Minimum time between two checkpoints of a training."""
    wait: bool = False
    """Wait if another run uses the folder, instead of raising an error."""
    ray_cluster: RayCluster | None = None
    """The cluster for executor `ray`; default: start one on this machine for this run."""
    trackers: Sequence[Tracker] = ()
    """Experiment trackers, such as `tracking.tracker("mlflow")`; a tracker that fails causes a warning only."""

    @property
    def data_folder(self) -> Path | None:
        """`data_root` as a path."""
        return Path(self.data_root) if self.data_root else None

    @property
    def num_jobs(self) -> int | None:
        """Tasks at a time; None: as many as fit on the cluster."""
        if self.jobs is not None or self._is_on_a_cluster:
            return self.jobs
        return usual_jobs("cpu" if self.executor == "ray" else self.device)

    def standby(self) -> Standby:
        """Returns an executor that starts with its first task.

        Raises:
            UserError: the executor or device does not exist, or the number of jobs is invalid.
        """
        if not self._is_on_a_cluster:  # a cluster has its own devices
            check_device(self.device)
        made: Executor = make_executor(self.executor, self.num_jobs, self.ray_cluster)
        return Standby(made)

    @property
    def _is_on_a_cluster(self) -> bool:
        return self.executor == "ray" and self.ray_cluster is not None and bool(self.ray_cluster.address)
