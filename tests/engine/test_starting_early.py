"""Workers start while the driver still checks a study, but only if there is work for them."""

from __future__ import annotations

from pruneaudit.api import Runtime, run
from pruneaudit.engine import processes
from pruneaudit.engine.executors import Standby
from pruneaudit.engine.processes import Processes


def test_workers_that_got_nothing_to_do_end_with_their_executor():
    executor = Processes(2)
    with Standby(executor) as standby:
        standby.start()
        standby.start()  # once is enough
        assert len(executor._threads) == 2
    assert {worker.poll() is not None for worker in executor._workers.values()} == {True}
    standby.__exit__(None, None, None)  # as at the end of a run, whose tasks have ended it before


def test_a_finished_run_starts_none(tiny_copy, tiny_study, monkeypatch):
    started = []
    monkeypatch.setattr(processes, "_start_worker", lambda: started.append(1))
    again = run(tiny_study(), tiny_copy.parent, Runtime("processes", jobs=2))
    assert (again.num_tasks_done, started) == (0, [])
