"""How long do the sets of a family of releases take, and how much memory?

The bank is made up, and lies on disk as the store keeps it. Every set of at most `--size` releases is measured (AUC
with influence values, TPR with 200 replicates), and every pair of sets that differ by one release is compared.

    python benchmarks/families.py                                        # 28 models x 2,200 samples x 8 releases
    python benchmarks/families.py --models 128 --samples 50000 --releases 4
"""

# M models, N samples, R releases

from __future__ import annotations

import argparse
import itertools
import resource
import tempfile
import time
from pathlib import Path

from made_up import load, make_bank

LEVELS = (0.1, 0.01, 0.001)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=28)
    parser.add_argument("--samples", type=int, default=2200)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--releases", type=int, default=8)
    parser.add_argument("--size", type=int, default=4, help="most releases of a set")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for release in range(given.releases):
            make_bank(Path(folder), given.models, given.samples, given.classes, 0, release)
        measure(Path(folder), given.releases, given.size)


def measure(folder: Path, num_releases: int, size: int) -> None:
    from pruneaudit.core.threads import one_blas_thread
    from pruneaudit.evaluation.attack_setting import bank_settings
    from pruneaudit.evaluation.families import FamilyPlan, JointAttack
    from pruneaudit.evaluation.family_sets import edges_of

    watch = Watch()
    names = ("dense", *(f"release-{number}" for number in range(1, num_releases)))
    settings = bank_settings({name: load(folder, number) for number, name in enumerate(names)}, ["matched"])
    watch.tell("load the signals")
    with one_blas_thread():
        joint = JointAttack.of(settings, names, LEVELS, 0)
        joint.measured(names[:1])
        watch.tell(f"evidence of {num_releases} releases, and one set")
        sets = [each for number in range(1, size + 1) for each in itertools.combinations(names, number)]
        joint.set_rows(sets)
        watch.tell(f"{len(sets)} sets of up to {size}")
        edges = edges_of(sets, names)
        joint.edge_rows(edges, names, FamilyPlan((names,)))
        watch.tell(f"{len(edges)} marginal leakages")


class Watch:
    """Prints wall time, CPU time and the peak of resident memory."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def tell(self, what: str) -> None:
        """Prints the times since the last call."""
        wall, cpu = time.perf_counter(), time.process_time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{what:45} {wall - self.wall:7.1f} s  {cpu - self.cpu:7.1f} CPU s  peak {peak:.2f} GiB", flush=True)
        self.wall, self.cpu = wall, cpu


if __name__ == "__main__":
    main()
