"""Shared by the subcommands: options, progress, the final table."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pruneaudit.core.errors import printable

if TYPE_CHECKING:
    from pruneaudit.engine.plan import Task
    from pruneaudit.engine.ray_cluster import RayCluster
    from pruneaudit.evaluation.results import Results

STUDY, MACHINE, TRACKING, OUTPUT = "Study", "Machine", "Tracking", "Output"
"""The panels of options."""

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting, such as training.epochs=5. Repeatable.",
        rich_help_panel=STUDY,
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.", rich_help_panel=STUDY)
]
ExecutorOption = Annotated[
    str,
    typer.Option("--executor", help="How tasks run: processes (one per core), serial or ray.", rich_help_panel=MACHINE),
]
JobsOption = Annotated[
    int | None, typer.Option("--jobs", help="Worker processes; default: one per core.", rich_help_panel=MACHINE)
]
RayAddressOption = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        help="HOST:PORT of a Ray cluster, or auto; default: start one here.",
        rich_help_panel=MACHINE,
    ),
]
GpusPerTaskOption = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-task",
        help="With ray: GPUs per task, such as 0.25 (four tasks share a GPU).",
        rich_help_panel=MACHINE,
    ),
]
DEVICE_HELP = "cpu, cuda or cuda:N."
DeviceOption = Annotated[str, typer.Option("--device", help=DEVICE_HELP, rich_help_panel=MACHINE)]
DATA_ROOT_HELP = "Folder of the data sets; default: $PRUNEAUDIT_DATA or ~/.cache/pruneaudit."
DataRootOption = Annotated[Path | None, typer.Option("--data-root", help=DATA_ROOT_HELP, rich_help_panel=MACHINE)]
WaitOption = Annotated[
    bool,
    typer.Option("--wait", help="If another run uses the folder, wait for it to end.", rich_help_panel=MACHINE),
]
FactoryOption = Annotated[
    str,
    typer.Option(
        "--factory",
        metavar="MODULE:FUNCTION",
        help="Function that builds the network; gets input_shape and num_classes if its signature names them. Or a"
        " packaged network. Default: what a folder of Transformers says.",
    ),
]
WeightsKeyOption = Annotated[
    str,
    typer.Option(
        "--weights-key",
        metavar="KEY",
        help="Key of the weights in a checkpoint: ema, state_dict.student, ...; default: the one that fits.",
    ),
]
OUT_HELP = "Folder in which to create run folders."
OutOption = Annotated[Path, typer.Option("--out", help=OUT_HELP, rich_help_panel=OUTPUT)]
OutputsOption = Annotated[
    str | None,
    typer.Option(
        "--outputs",
        metavar="NAMES",
        help="Also attack reduced outputs: round:2, top:1, label, label:queries.",
    ),
]
ShowRecordsOption = Annotated[
    bool,
    typer.Option(
        "--show-records",
        help="Show ids and pictures of exposed samples in the report, even of your own data.",
        rich_help_panel=OUTPUT,
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Show only results, warnings and errors.", rich_help_panel=OUTPUT),
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print a line for every task.", rich_help_panel=OUTPUT)
]
FORETELLING = 0.2
"""Fraction of tasks to finish before estimating the remaining time."""
SECONDS_BETWEEN_LINES = 10.0


ForceOption = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Write into a folder that is not empty, and replace files of the same name.",
        rich_help_panel=OUTPUT,
    ),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        from pruneaudit import __version__

        print(f"pruneaudit {__version__}")
        raise typer.Exit


def main_callback(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Measure how much a network reveals about its training data, and how compression changes that."""


def command_line() -> str:
    """Returns the running command as a line that repeats it."""
    return shlex.join(["pruneaudit", *sys.argv[1:]])


def ray_cluster_from(address: str | None, gpus_per_task: float | None) -> RayCluster | None:
    """Returns Ray's settings from the options; None if neither is given."""
    if address is None and gpus_per_task is None:
        return None
    from pruneaudit.engine.ray_cluster import RayCluster

    return RayCluster(address or "", 1.0 if gpus_per_task is None else gpus_per_task)


def print_findings(results: Results, where: Path) -> None:
    """Prints the compact table and the path of the report."""
    from rich.console import Console

    from pruneaudit.report.terminal import print_results

    console = Console()
    print_results(results, console)
    console.print(f"\nreport: {printable(str(where))}", soft_wrap=True, highlight=False)


def print_warnings(results: Results) -> None:
    """Prints the warnings of the results on stderr, one per line."""
    for note in results.about["warnings"]:
        print(printable(f"warning: {note}"), file=sys.stderr)


class StepLine:
    """Shows the current step: on a terminal in one line that is overwritten, elsewhere as a line every few seconds."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._live, self._last = quiet, sys.stderr.isatty(), time.monotonic()

    def say(self, message: str) -> None:
        """Shows a step."""
        if self._quiet:
            return
        now = time.monotonic()
        if self._live:
            print(f"\r\x1b[K{printable(message)}", end="", file=sys.stderr, flush=True)
        elif now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            print(printable(message), file=sys.stderr, flush=True)

    def __enter__(self) -> StepLine:
        return self

    def __exit__(self, *_: object) -> None:
        """Clears the line, so that an error starts on a new one."""
        if self._live:
            self.say("")


def check_results_folder(out: Path, force: bool) -> None:
    """Checks that findings and a report may be written into a folder.

    Raises:
        UserError: it is not empty and `force` is not set, or it is a study's folder, whose findings would be lost.
    """
    from pruneaudit.core.errors import UserError
    from pruneaudit.core.files import STUDY_FILE, check_new_folder

    if (out / STUDY_FILE).exists():
        raise UserError(f"{out}: contains the run of a study, whose findings would be lost; choose another --out")
    check_new_folder(out, force)


class LineProgress:
    """Progress as plain lines on stderr, at most one every few seconds."""

    def __init__(self) -> None:
        self._total = self._done = 0
        self._began = self._last = 0.0

    def begin(self, num_tasks: int, num_reused: int) -> None:
        """Says how much there is to do."""
        self._total, self._done = num_tasks, 0
        self._began = self._last = time.monotonic()
        self.say(f"{num_tasks} tasks to do, {num_reused} found done")

    def done(self, task: Task, seconds: float = 0.0) -> None:
        """Counts a task, and reports progress at intervals."""
        self._done += 1
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_LINES or self._done == self._total:
            self._last, elapsed = now, now - self._began
            left = elapsed / self._done * (self._total - self._done)
            # Trainings come first and take longest: the first few tasks are no guide to the rest.
            foretold = f", about {left:.0f} s left" if self._done >= FORETELLING * self._total else ""
            self.say(f"{self._done}/{self._total} tasks done in {elapsed:.0f} s{foretold}")

    def say(self, message: str) -> None:
        """Prints a line."""
        print(printable(message, "\n\t"), file=sys.stderr, flush=True)

    def warn(self, message: str) -> None:
        """Prints a warning."""
        print(printable(f"warning: {message}"), file=sys.stderr, flush=True)

    def fail(self, task: Task, reason: str, details: str) -> None:
        """Names a task that was given up."""
        self.warn(f"{task.name} failed and is left out: {reason}")

    def __enter__(self) -> LineProgress:
        return self

    def __exit__(self, *_: object) -> None:
        """Holds nothing to release."""


class BarProgress:
    """Progress as a live bar on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task: Any = None

    def begin(self, num_tasks: int, num_reused: int) -> None:
        """Shows the bar."""
        self.say(f"{num_tasks} tasks to do, {num_reused} found done")
        if num_tasks:
            self._task = self._bar.add_task("working", total=num_tasks)

    def done(self, task: Task, seconds: float = 0.0) -> None:
        """Moves the bar on."""
        self._bar.update(self._task, advance=1, description=task.name)

    def say(self, message: str) -> None:
        """Prints a line above the bar."""
        self._console.print(printable(message), markup=False, highlight=False)

    def warn(self, message: str) -> None:
        """Prints a warning above the bar."""
        self.say(f"warning: {message}")

    def fail(self, task: Task, reason: str, details: str) -> None:
        """Names a task that was given up."""
        self.warn(f"{task.name} failed and is left out: {reason}")

    def __enter__(self) -> BarProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the bar away."""
        self._bar.stop()


class VerboseProgress(LineProgress):
    """A line for every task, with its time, and tracebacks of those that fail."""

    def done(self, task: Task, seconds: float = 0.0) -> None:
        """Names the task."""
        super().done(task)
        self.say(f"{task.name}: {seconds:.1f} s")

    def fail(self, task: Task, reason: str, details: str) -> None:
        """Names the task, and shows where it failed."""
        super().fail(task, reason, details)
        if details:
            self.say(details)


class QuietProgress(LineProgress):
    """Says nothing but warnings."""

    def begin(self, num_tasks: int, num_reused: int) -> None:
        """Says nothing."""

    def done(self, task: Task, seconds: float = 0.0) -> None:
        """Says nothing."""

    def say(self, message: str) -> None:
        """Says nothing."""


def progress_for(quiet: bool, verbose: bool) -> LineProgress | BarProgress:
    """A bar on a terminal, plain lines elsewhere; warnings alone when quiet, every task when verbose."""
    if quiet or verbose:
        return QuietProgress() if quiet else VerboseProgress()
    return BarProgress() if sys.stderr.isatty() else LineProgress()
