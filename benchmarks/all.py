"""Every benchmark in a small version, one after another: `make bench`, about ten minutes on an idle machine.

    python benchmarks/all.py

Each script prints a table and can be run alone, with more rounds and bigger sizes: see `benchmarks/README.md`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
PARTS = {
    "startup.py": ["--rounds", "10"],
    "bank.py": ["--rounds", "2", "--cases", "mlp", "tinycnn", "convnet", "resnet20"],
    "steps.py": ["--rounds", "2"],
    "attacks.py": ["--rounds", "3"],
    "classifiers.py": ["--rounds", "1", "--models", "9", "--no-forests"],
    "growth.py": ["--rounds", "1"],
    "auditing.py": ["--stages", "load", "phi", "score:lira", "score:rmia", "audit"],
}
ALL_THREADS = {"startup.py", "bank.py"}
"""The others run on one thread, but for the threads that the audit starts itself."""


def main() -> None:
    failed = []
    for name, options in PARTS.items():
        print(f"\n## {name} {' '.join(options)}\n", flush=True)
        environment = os.environ | ({} if name in ALL_THREADS else {"OMP_NUM_THREADS": "1"})
        start = time.perf_counter()
        code = subprocess.run([sys.executable, str(HERE / name), *options], env=environment).returncode
        print(f"\n({time.perf_counter() - start:.0f} s)", flush=True)
        failed += [name] if code else []
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
