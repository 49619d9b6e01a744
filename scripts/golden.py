"""Compares two versions of this program, byte for byte: what runs write must not change when code moves.

usage: golden.py BEFORE [--full] [--out FOLDER]

BEFORE is a commit. It is checked out into a temporary worktree; the version after is the working tree that this script
lies in. Both run the quick demo and two small studies, side by side, with this interpreter and one thread each. The
page of a report is compared by its text; everything else by its bytes, and by its content where a file holds more
than its content. golden_compare.py lists what is not compared. A difference of last digits is a difference: both run
on one machine, as another type of CPU may change them.

Exit code: 0 equal, 1 different (a line for each difference), 2 bad input.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from golden_compare import Comparison, compare

ROOT = Path(__file__).resolve().parents[1]
DISJOINT_WITH_DEFENCES = """
name = "disjoint"
seed = 3
data = { source = "digits", num_samples = 400, num_reserve = 200, label_noise = 0.1 }
membership = { protocol = "disjoint", num_models = 8, num_shadows = 3 }
model = { name = "mlp", options = { hidden = [24] } }
training = { epochs = 8, batch_size = 32, select = "best_dev" }

[[releases]]
finetune = { epochs = 2, learning_rate = 0.02 }

[[releases]]
pruner = "l1unstructured"
sparsity = 0.8
finetune = { epochs = 2, learning_rate = 0.02 }

[[releases]]
pruner = "l1unstructured"
sparsity = 0.8
finetune = { epochs = 2, learning_rate = 0.02 }
finetune_seed = 1
defense = { name = "wemem", options = { scoring_models = 2, stride = 2, width = 5 } }

[[releases]]
pruner = { name = "iterative", options = { rounds = 2 } }
sparsity = 0.8
finetune = { epochs = 1 }

[[releases]]
parent = "init"
defense = "relaxloss"

[audit]
attacks = ["loss", "attack_r", "calibration", "back_front", { name = "nn", options = { epochs = 2 } },
    { name = "lira", options = { mode = "offline" } }, { name = "rmia", options = { mode = "offline" } }]
knowledge = ["matched", "no-defense", "dense"]
fpr_levels = [0.1]
"""
CANARIES_WITH_DP = """
name = "canaries"
seed = 4
data = { source = "digits", num_samples = 300, num_reserve = 100, num_canaries = 40 }
membership = { num_models = 6 }
model = { name = "mlp", options = { hidden = [24] } }
training = { epochs = 20, batch_size = 32, augment = "flip" }
releases = [
    { pruner = "random", sparsity = 0.5, finetune = { epochs = 2 } },
    { parent = "init", defense = { name = "dp", options = { noise_multiplier = 1.0 } }, finetune = { epochs = 3 } },
]

[audit]
attacks = ["loss", "modified_entropy", "attack_p", "base", "bavaria", "joint_lira", "lira", "rmia",
    { name = "samia", options = { epochs = 1 } }, { name = "rmia", options = { mode = "offline" } }]
fpr_levels = [0.1]
queries = 2
"""


@dataclass(frozen=True)
class Case:
    """One run of the program."""

    name: str
    arguments: tuple[str, ...]
    study: str = ""


STUDY_FILE = "study.toml"
FINISHED = "finished"
"""In the folder of a case: the case that was run there to its end."""
CASES = (
    Case("demo-quick", ("demo", "--quick")),
    Case("disjoint", ("run", STUDY_FILE, "--executor", "serial"), DISJOINT_WITH_DEFENCES),
    Case("canaries", ("run", STUDY_FILE, "--executor", "serial"), CANARIES_WITH_DP),
)
FULL_DEMO = Case("demo", ("demo",))


class BadInputError(Exception):
    """The comparison cannot be made."""


# Running


@contextmanager
def worktree(commit: str, folder: Path) -> Iterator[Path]:
    """The files of a commit, in a worktree that goes when the block ends, however it ends."""
    _git("worktree", "add", "--quiet", "--detach", str(folder), commit)
    try:
        yield folder
    finally:
        _git("worktree", "remove", "--force", str(folder))


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise BadInputError(f"git {arguments[0]}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.strip()


@dataclass(frozen=True)
class Version:
    """One version of the program, and the folder that its runs are made in."""

    tree: Path
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        own = {"PYTHONPATH": str(self.tree / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
        return os.environ | own | {"PYTHONDONTWRITEBYTECODE": "1"}

    def check(self) -> None:
        """Makes sure that this version is what runs, not one that is installed."""
        asked = [sys.executable, "-c", "import pruneaudit; print(pruneaudit.__file__)"]
        found = subprocess.run(asked, env=self.environment, cwd=self.folder, capture_output=True, text=True).stdout
        if not Path(found.strip() or "/").is_relative_to(self.tree):
            raise BadInputError(f"python imports pruneaudit from {found.strip() or 'nowhere'}, expected {self.tree}")

    def start(self, case: Case) -> subprocess.Popen[bytes] | None:
        """Starts the case; None: this folder holds it already, finished."""
        folder = self.folder / case.name
        if (folder / FINISHED).exists() and (folder / FINISHED).read_text() == repr(case):
            return None
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if case.study:
            (folder / STUDY_FILE).write_text(case.study)
        command = [sys.executable, "-m", "pruneaudit", *case.arguments, "--out", "runs"]
        with (folder / "terminal.txt").open("wb") as said, (folder / "progress.log").open("wb") as progress:
            return subprocess.Popen(command, cwd=folder, env=self.environment, stdout=said, stderr=progress)

    def end(self, case: Case, process: subprocess.Popen[bytes] | None) -> str:
        """Waits for the case; returns what went wrong, or nothing."""
        folder = self.folder / case.name
        if process is not None and process.wait():
            last = (folder / "progress.log").read_text().strip().splitlines()[-1:]
            return f"exit code {process.returncode}: {' '.join(last)}"
        (folder / FINISHED).write_text(repr(case))
        return ""


def run_both(case: Case, before: Version, after: Version) -> str:
    """Runs a case with both versions at once; returns what went wrong with the version after, or nothing."""
    started: list[tuple[Version, subprocess.Popen[bytes] | None]] = []
    try:
        started += [(version, version.start(case)) for version in (before, after)]
        problems = [version.end(case, process) for version, process in started]
    finally:
        for _, process in started:
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait()
    if problems[0]:
        raise BadInputError(f"{case.name}: the version before ends with {problems[0]}")
    return problems[1]


# The command line


def main() -> int:
    parser = argparse.ArgumentParser(description="Compares two versions of this program, byte for byte.")
    parser.add_argument("before", help="the commit to compare the working tree with")
    parser.add_argument("--full", action="store_true", help="run the full demo as well (minutes)")
    parser.add_argument("--out", type=Path, help="keep runs here, and take those of BEFORE from here the next time")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the worktree is removed then, too
    try:
        commit = _git("rev-parse", "--verify", "--quiet", f"{arguments.before}^{{commit}}")
    except (BadInputError, IndexError):
        print(f"golden.py: got {arguments.before!r}, expected a commit of this repository", file=sys.stderr)
        return 2
    cases = (*CASES, FULL_DEMO) if arguments.full else CASES
    with tempfile.TemporaryDirectory(prefix="golden-") as scratch:
        try:
            found = golden(commit, cases, Path(scratch), (arguments.out or Path(scratch) / "runs").resolve())
        except BadInputError as problem:
            print(f"golden.py: {problem}", file=sys.stderr)
            return 2
    for line in found.listed:
        print(f"not compared: {line}")
    for line in found.differences:
        print(f"DIFFERENT: {line}")
    counts = ", ".join(f"{number} {ending}" for ending, number in sorted(found.compared.items()))
    print(f"{len(found.differences)} differences from {commit[:12]}; files compared: {counts}")
    return 1 if found.differences else 0


def golden(commit: str, cases: Sequence[Case], scratch: Path, out: Path) -> Comparison:
    """Runs all cases with both versions and compares what they leave."""
    with worktree(commit, scratch / "tree") as tree:
        before, after = Version(tree, out / commit[:12]), Version(ROOT, out / "after")
        shutil.rmtree(after.folder, ignore_errors=True)
        for version in (before, after):
            version.folder.mkdir(parents=True, exist_ok=True)
            version.check()
        failed = [f"{case.name}: {problem}" for case in cases if (problem := run_both(case, before, after))]
    found = Comparison(failed)
    for case in cases:
        of_case = compare(before.folder / case.name, after.folder / case.name)
        found.differences += [f"{case.name}/{line}" for line in of_case.differences]
        found.listed += [f"{case.name}/{line}" for line in of_case.listed]
        found.compared += of_case.compared
    return found


if __name__ == "__main__":
    sys.exit(main())
