"""What every driver of a peer shares: reading the predictions, the clock, and writing what its attack found.

A driver is a script that runs in the peer's own interpreter. It imports the peer's code and nothing of pruneaudit,
so this file needs NumPy and the standard library only. A bank is a folder:

    rest.npz                      labels, member, holdout, victims, paired, references, learners
    RELEASE-MODEL.npy             logits, float32; release 0 is the dense one
    sensitivity-RELEASE-MODEL.npy sensitivities, float32, where samia is played
"""

# M models, N samples, A audited samples, V victims, C classes

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

SCORES, FACTS = "scores.npy", "facts.json"


@dataclass(frozen=True)
class Bank:
    """The predictions that everybody gets."""

    folder: Path

    @cached_property
    def rest(self) -> dict[str, np.ndarray]:
        with np.load(self.folder / "rest.npz") as arrays:
            return {name: arrays[name] for name in arrays.files}

    @cached_property
    def audited(self) -> np.ndarray:
        """(A,) int: the samples that are scored."""
        return np.flatnonzero(~self.rest["holdout"])

    @property
    def labels(self) -> np.ndarray:
        """(N,) int."""
        return self.rest["labels"]

    @property
    def member(self) -> np.ndarray:
        """(M, N) bool."""
        return self.rest["member"]

    def rows(self, which: str) -> list[int]:
        """The models of a role.

        victims     are attacked
        paired      one for each victim, trained on the samples that the victim was not trained on
        references  in such pairs, two by two; none of them is a victim or paired with one
        learners    the references that classifiers learn from, in pairs too
        """
        return [int(row) for row in self.rest[which]]

    def pairs(self) -> list[tuple[int, int]]:
        """The references, two by two."""
        rows = self.rows("references")
        return list(zip(rows[::2], rows[1::2], strict=True))

    def logits(self, model: int, release: int = 0) -> np.ndarray:
        """(N, C) float32."""
        return np.load(self.folder / f"{release}-{model}.npy")

    def posteriors(self, model: int, release: int = 0) -> np.ndarray:
        """(N, C) float32, from a float64 softmax."""
        powers = self.logits(model, release).astype(np.float64)
        powers = np.exp(powers - powers.max(axis=1, keepdims=True))
        return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)

    def true_class(self, model: int, release: int = 0) -> np.ndarray:
        """The labels' posteriors, (N,) float32."""
        return self.posteriors(model, release)[np.arange(len(self.labels)), self.labels]

    def sensitivity(self, model: int, release: int = 0) -> np.ndarray:
        """(N, C) float32."""
        return np.load(self.folder / f"sensitivity-{release}-{model}.npy")

    @cached_property
    def num_releases(self) -> int:
        """The dense one included."""
        return len(list(self.folder.glob(f"[0-9]*-{self.rows('victims')[0]}.npy")))

    def stacked(self, get: Callable[[int], np.ndarray], which: str, members: bool | None = None) -> np.ndarray:
        """What `get` gives of the audited samples of all models of a role, one model below another.

        Args:
            get: a function of the model, such as `posteriors`.
            which: the role.
            members: only rows that the model trained on, or only the others.
        """
        chosen = [(row, self.audited) for row in self.rows(which)]
        if members is not None:
            chosen = [(row, samples[self.member[row, samples] == members]) for row, samples in chosen]
        return np.concatenate([get(row)[samples] for row, samples in chosen])

    def membership(self, which: str) -> np.ndarray:
        """Whether the rows of `stacked` without `members` are members."""
        return self.stacked(lambda row: self.member[row], which)

    def put_back(self, scores: np.ndarray, which: str = "victims") -> np.ndarray:
        """Scores of all members, model by model, followed by those of all non-members: back to (V, A)."""
        flat, member = np.empty(len(scores)), self.membership(which)
        flat[np.concatenate([np.flatnonzero(member), np.flatnonzero(~member)])] = scores
        return flat.reshape(len(self.rows(which)), len(self.audited))


@dataclass
class Clock:
    """CPU and wall seconds of the blocks it is entered for, children included, and the peak of memory since the first.

    Linux resets the peak on request, so that what the predictions took to read does not count; elsewhere it does.
    """

    cpu: float = 0.0
    wall: float = 0.0
    before: float = 0.0
    """Resident memory at the first block, in MB."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What else the driver has to say, such as seconds of a step that is not counted."""
    _began: tuple[float, float] = (0.0, 0.0)

    def __enter__(self) -> Clock:
        if not self.before:
            self.before = resident_memory()
            forget_peak()
        self._began = cpu_seconds(), time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self.cpu += cpu_seconds() - self._began[0]
        self.wall += time.perf_counter() - self._began[1]


def warm_up() -> None:
    """Takes a step with torch, which loads parts of itself only then (two seconds), and limits it to one thread."""
    import torch

    torch.set_num_threads(1)
    network = torch.nn.Linear(2, 2)
    for kind in (torch.optim.SGD, torch.optim.Adam):
        torch.nn.functional.cross_entropy(network(torch.ones(2, 2)), torch.tensor([0, 1])).backward()
        kind(network.parameters(), lr=0.1).step()


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def resident_memory() -> float:
    """In MB; 0 where the system does not tell."""
    file = Path("/proc/self/statm")
    return int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if file.exists() else 0.0


def forget_peak() -> None:
    """Starts the account of the peak anew, on Linux."""
    file = Path("/proc/self/clear_refs")
    if file.exists():
        file.write_text("5")


def peak_memory() -> float:
    """Highest resident memory since `forget_peak`, in MB, or that of a child if it was higher."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    file = Path("/proc/self/status")
    if file.exists():
        own = next(int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith("VmHWM"))
    return max(own, children) / 1e6 if sys.platform == "darwin" else max(own, children) * 1024 / 1e6


Attack = Callable[..., np.ndarray]
"""`attack(bank, clock, **options)` gives scores (V, A), higher = more likely a member."""


def run(attacks: dict[str, Attack], version: Callable[[], str]) -> None:
    """The command line of a driver: `DRIVER ATTACK BANK OUT OPTIONS`, the last as JSON."""
    name, folder, out, options = sys.argv[1:]
    clock = Clock()
    scores = np.asarray(attacks[name](Bank(Path(folder)), clock, **json.loads(options)), dtype=np.float64)
    np.save(Path(out) / SCORES, scores)
    facts = {"cpu": clock.cpu, "wall": clock.wall, "peak": peak_memory(), "notes": clock.notes}
    facts |= {"added": facts["peak"] - clock.before, "version": version()}
    (Path(out) / FACTS).write_text(json.dumps(facts))


def checkout() -> Path:
    """The peer's checkout, which the environment names; its modules become importable."""
    folder = Path(os.environ["PEER_CHECKOUT"])
    sys.path.insert(0, str(folder))
    return folder


def commit() -> str:
    """Commit and date of the peer's checkout; "+" where its files have been changed."""
    git = ["git", "-C", os.environ["PEER_CHECKOUT"]]
    said = _output([*git, "log", "-1", "--format=%h, %cs"])
    return f"commit {said}{'+' if _output([*git, 'status', '--porcelain', '-uno']) else ''}" if said else "no commit"


def _output(command: Sequence[str]) -> str:
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else ""
