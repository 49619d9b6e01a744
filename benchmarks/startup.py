"""How long does `pruneaudit --help` take, and what does it import? The target is less than 0.4 seconds of CPU.

python benchmarks/startup.py --rounds 10
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from functools import partial

from interleaved import Spread, machine, parser, table, take_turns

TARGET = 0.4
HEAVY = ("pydantic", "torch", "numpy", "scipy", "pandas", "sklearn", "pyarrow", "rich")
COMMANDS = {
    "`python -c pass`": ["-c", "pass"],
    "`pruneaudit --help`": ["-m", "pruneaudit", "--help"],
    "`pruneaudit run --help`": ["-m", "pruneaudit", "run", "--help"],
    "`import pruneaudit`": ["-c", "import pruneaudit"],
}


def cpu_seconds(arguments: list[str]) -> float:
    """User and system time of one interpreter, whatever it starts included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imported(arguments: list[str]) -> list[str]:
    """Which of the heavy packages an interpreter imports."""
    traced = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    ).stderr
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in traced.splitlines()}
    return [name for name in HEAVY if name in modules]


def main() -> None:
    arguments = parser(__doc__, 10).parse_args()
    print(machine())
    variants = {name: partial(cpu_seconds, given) for name, given in COMMANDS.items()}
    take_turns(variants, 1)  # to warm up
    found = take_turns(variants, arguments.rounds)
    rows = [[name, Spread.of(found[name]), ", ".join(imported(COMMANDS[name])) or "none"] for name in COMMANDS]
    header = ["command", "CPU /s", f"imported of {', '.join(HEAVY)}"]
    print(f"median [min, max] of {arguments.rounds} rounds\n\n{table(header, rows)}\n")
    reached = Spread.of(found["`pruneaudit --help`"]).median < TARGET
    print(f"target of {TARGET} s of CPU for `pruneaudit --help`: {'reached' if reached else 'missed'}")


if __name__ == "__main__":
    main()
