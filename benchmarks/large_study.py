"""How long and how much memory does a large study take around its trainings? By default 256 ResNet-18 in 9 releases.

Nothing is trained. Artifacts are simulated: real seals, configurations and answers, but a few bytes instead of 45 MB of
weights. Every step has an interpreter of its own, so its peak of memory is its own too. Targets, on two idle cores: a
dry run within 5 s; plan, store and report within 1,000 MB.

    python benchmarks/large_study.py
    python benchmarks/large_study.py --models 16 --samples 500 --rounds 3
"""

# M models, N samples, C classes

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from interleaved import Spread, in_fresh_interpreter, machine, parser, stopwatch, table, take_turns

NUM_CLASSES, NUM_HOLDOUT = 10, 1_000
TRAINED = {"epochs": 10, "learning_rate": 0.01}
RELEASES = [
    {"name": "dense+finetune", "finetune": TRAINED},
    {"compress": "l1unstructured", "sparsity": [0.5, 0.7, 0.9, 0.95], "finetune": TRAINED},
    {"name": "channels-0.5", "compress": "l1structured", "sparsity": 0.5, "finetune": TRAINED},
    {"compress": "rtn", "bits": 4},
    {"compress": "kmeans", "clusters": 16},
]
ONCE = ("fill", "audit")
STEPS = {
    "plan": "plan",
    "dry": "dry run, nothing made",
    "fill": "store: simulate and commit all artifacts",
    "index": "store: find out what is there",
    "again": "dry run, all made",
    "audit": "audit of the answers, in memory",
    "report": "report, from finished results",
}


def write_study(folder: Path, num_models: int, num_samples: int, model: str) -> None:
    """Writes the study and its data, images of random pixels."""
    import numpy as np

    rng, total = np.random.default_rng(0), num_samples + NUM_HOLDOUT
    np.savez(
        folder / "data.npz",
        x=rng.integers(0, 256, (total, 3, 32, 32), dtype=np.uint8),
        y=rng.integers(NUM_CLASSES, size=total),
    )
    training = {"epochs": 50, "batch_size": 128, "learning_rate": 0.1, "augment": "crop_flip", "schedule": "cosine"}
    study = {
        "name": "large",
        "model": model,
        "data": {"source": f"npz:{folder / 'data.npz'}", "num_samples": num_samples, "num_holdout": NUM_HOLDOUT},
        "membership": {"num_models": num_models},
        "training": training,
        "releases": RELEASES,
        "audit": {"attacks": ["loss", "lira", "rmia"], "references": ["matched"]},
    }
    (folder / "study.json").write_text(json.dumps({"format": 2, **study}))


def planned(folder: Path) -> tuple[Any, Any]:
    """The plan of the study, and its audit data."""
    from pruneaudit.runs.beginning import plan_study
    from pruneaudit.study.recipes import load_recipe_or_file

    return plan_study(load_recipe_or_file(str(folder / "study.json"), []))


def plan(folder: Path) -> int:
    """Plans all tasks; returns their number."""
    return len(planned(folder)[0].tasks)


def dry(folder: Path) -> int:
    """The command with `--dry-run`; returns the number of networks that it made."""
    from pruneaudit.cli import main
    from pruneaudit.engine import task_context

    made, build = [], task_context.build_model

    def counted(*arguments: Any) -> Any:
        made.append(1)
        return build(*arguments)

    task_context.build_model = counted
    told = io.StringIO()
    words = ["run", str(folder / "study.json"), "--out", str(folder / "runs"), "--dry-run"]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        main(words)
    if "queries:" not in told.getvalue():
        raise SystemExit(told.getvalue())
    return len(made)


def fill(folder: Path) -> int:
    """Commits an artifact for every task; returns their number."""
    import numpy as np

    from pruneaudit.engine.store import Store
    from pruneaudit.runs.beginning import begin
    from pruneaudit.study.recipes import load_recipe_or_file

    made, audit_data = planned(folder)
    run = folder / "runs" / "large"
    store = Store(run)
    store.open_for_writing()
    splits = begin(made, load_recipe_or_file(str(folder / "study.json"), []), audit_data, run)
    staging = store.new_staging()
    audit_data.save(staging)
    store.commit(made.audit_data, staging)
    easy = np.random.default_rng(0).normal(1, 1, len(audit_data.y))
    facts = {"parameters": 11_173_962, "train_accuracy": 0.99, "test_accuracy": 0.9, "num_members": len(easy) // 2}
    for number, task in enumerate(made.tasks):
        staging, rng = store.new_staging(), np.random.default_rng(number)
        for name in task.artifact.files:
            if name == "logits.npy":
                logits = rng.normal(size=(len(easy), NUM_CLASSES)).astype(np.float32)  # (N, C)
                logits[np.arange(len(easy)), audit_data.y] += easy + splits.member[task.model_id]
                np.save(staging / name, logits)
            elif name == "summary.json":
                (staging / name).write_text(json.dumps(facts))
            else:
                (staging / name).write_bytes(b"simulated")
        store.commit(task.artifact, staging)
    return len(made.tasks)


def index(folder: Path) -> int:
    """Checks every artifact, as a run does before it works; returns how many are missing."""
    from pruneaudit.engine.scheduler import tasks_to_do
    from pruneaudit.engine.store import Store

    return len(tasks_to_do(planned(folder)[0], Store(folder / "runs" / "large")))


def audit(folder: Path) -> int:
    """Runs the attacks on the simulated answers and compares releases; returns the rows of the findings."""
    from pruneaudit.engine.assemble import audit_study, study_settings
    from pruneaudit.engine.store import Store
    from pruneaudit.runs.provenance import study_provenance

    made, audit_data = planned(folder)
    run = folder / "runs" / "large"
    about = study_provenance(made, audit_data, "pruneaudit run study.json")
    about |= {"device": "cpu", "command": "pruneaudit run study.json", "demonstration": False, "failures": []}
    store = Store(run)
    found = audit_study(made, store, study_settings(made, store, audit_data), about)
    found.results.save(run)
    return len(found.results.findings)


def report(folder: Path) -> int:
    """Writes the page from the results; returns its bytes."""
    from pruneaudit.evaluation.results import Results
    from pruneaudit.report.page.html import write_report

    run = folder / "runs" / "large"
    return write_report(Results.load(run), run / "report.html").stat().st_size


def measured(step: str, folder: Path) -> dict[str, float]:
    """One step, in this interpreter."""
    with stopwatch() as found:
        counted = {"again": dry}.get(step, globals().get(step))(folder)
    return {**found, "counted": counted}


def main() -> None:
    if sys.argv[1:2] == ["--only"]:
        print(json.dumps(measured(sys.argv[2], Path(sys.argv[3]))))
        return
    arguments = parser(__doc__, 1)
    arguments.add_argument("--models", type=int, default=256)
    arguments.add_argument("--samples", type=int, default=2_000, help="audited samples; default: %(default)s")
    arguments.add_argument("--model", default="resnet18")
    arguments.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP")
    chosen = arguments.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_study(folder, chosen.models, chosen.samples, chosen.model)
        rows = []
        for step in chosen.steps:
            one = {step: partial(in_fresh_interpreter, __file__, "--only", step, folder)}
            runs = [json.loads(said) for said in take_turns(one, 1 if step in ONCE else chosen.rounds)[step]]
            spreads = [Spread.of([run[key] for run in runs]) for key in ("wall", "cpu", "peak")]
            rows.append([STEPS[step], *spreads, f"{runs[0]['counted']:,.0f}"])
            print("  ".join(map(str, rows[-1])), flush=True)
    print(f"\n{chosen.models} {chosen.model}, {len(RELEASES) + 4} releases, {chosen.samples + NUM_HOLDOUT:,} samples\n")
    print(table(["step", "wall /s", "CPU /s", "peak /MB", "tasks, networks, rows or bytes"], rows))


if __name__ == "__main__":
    main()
