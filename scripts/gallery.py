"""Makes the reports of the gallery (docs/gallery.md) in build/gallery/: python scripts/gallery.py [NAME...].

`make docs` calls it. The runs stay there, so that a second call trains nothing; a run whose code or settings have
changed is made again, by the rules of every run. No network is needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import pruneaudit
from pruneaudit.study.recipes import load_recipe

FOLDER = Path(os.environ.get("PRUNEAUDIT_GALLERY", Path(__file__).parents[1] / "build" / "gallery"))
"""Reports and pictures; the runs are in its subfolder `runs`."""


@dataclass(frozen=True)
class Report:
    """A report, and the picture that stands for it."""

    study: Callable[[Path], pruneaudit.Study]
    """Makes the study; gets the folder of the runs, for files that it needs."""
    picture: str
    """The figure of `pruneaudit figures`, by the beginning of its name."""


def demo(_: Path) -> pruneaudit.Study:
    return load_recipe("demo-quick")


def families(_: Path) -> pruneaudit.Study:
    """A model, its update, and two compressed versions: fewer and smaller networks than in the recipe of that name."""
    finetune = {"epochs": 5, "batch_size": 32, "learning_rate": 0.02}
    everything = ["dense", "dense+finetune", "rtn-4", "pruned+finetune"]
    return pruneaudit.Study(
        name="families",
        description="A network, its update, and two compressed versions. What does one more release give away?",
        data={"source": "fashion_mnist_5k", "num_samples": 800, "num_holdout": 800},
        membership={"num_models": 10},
        model="tinycnn:width=8",
        training={"epochs": 15, "batch_size": 32, "learning_rate": 0.05, "momentum": 0.9},
        releases=[
            {"name": "dense+finetune", "finetune": finetune},
            {"compress": "rtn", "bits": 4},
            {"name": "pruned+finetune", "compress": "l1unstructured", "sparsity": 0.9, "finetune": finetune},
        ],
        audit={"attacks": ["loss", "rmia"], "fpr_levels": [0.1], "families": [everything]},
    )


def text(_: Path) -> pruneaudit.Study:
    """Fewer and smaller networks and releases than in the recipe of that name."""
    finetune = {"epochs": 3, "batch_size": 32, "learning_rate": 1e-3}
    adam = {"optimizer": "adam", "learning_rate": 2e-3, "weight_decay": 0.0}
    return pruneaudit.Study(
        name="text",
        description="Small transformers on 1,200 requests to an assistant, pruned, rounded, and with fewer heads.",
        data={"source": "clinc150_6k", "num_samples": 1200, "num_holdout": 1000, "num_public": 600},
        membership={"num_models": 6},
        model="tiny_transformer",
        training={"epochs": 8, "batch_size": 32, **adam},
        releases=[
            {"compress": "l1unstructured", "sparsity": 0.9, "finetune": finetune},
            {"compress": "rtn", "bits": 4},
            {"compress": "heads", "sparsity": 0.5, "finetune": finetune},
        ],
        audit={"attacks": ["loss", "rmia"], "fpr_levels": [0.1]},
    )


def one_model(folder: Path) -> pruneaudit.Study:
    """A target that was trained here once, on 2,000 of 5,000 images, and two compressed versions of it."""
    weights, members = folder / "one-model.safetensors", folder / "one-model-members.txt"
    network = {"name": "tinycnn", "options": {"width": 8}}
    training = {"epochs": 12, "batch_size": 64, "learning_rate": 0.05, "momentum": 0.9}
    if not (weights.exists() and members.exists()):
        chosen = np.sort(np.random.default_rng(0).permutation(5000)[:2000])
        np.savetxt(members, chosen, fmt="%d")
        _train(weights, chosen, network, training)
    return pruneaudit.Study(
        name="one-model",
        description="One trained network, and what pruning to 90% and rounding to 4 bits change about it.",
        data={"source": "fashion_mnist_5k"},
        model=network,
        training=training,
        target={"weights": str(weights), "member": str(members), "num_references": 4},
        releases=[
            {
                "name": "pruned",
                "compress": "l1unstructured",
                "sparsity": 0.9,
                "finetune": {"epochs": 3, "learning_rate": 0.01},
            },
            {"name": "int4", "compress": "rtn", "bits": 4},
        ],
        audit={"attacks": ["loss", "rmia"]},
    )


def _train(weights: Path, members: np.ndarray, network: dict[str, object], training: dict[str, float]) -> None:
    """Trains the target with plain PyTorch, as its owner would have."""
    import torch
    from safetensors.torch import save_file
    from torch.nn.functional import cross_entropy

    source = pruneaudit.SOURCES.get("fashion_mnist_5k")
    raw = source.load(source.Options(), None)
    maker = pruneaudit.MODELS.get(str(network["name"]))
    torch.manual_seed(0)
    model = maker.build(maker.Options.model_validate(network["options"]), (1, 28, 28), 10)
    x = (torch.from_numpy(raw.x[members]).float().reshape(-1, 1, 28, 28) / 255 - 0.2860) / 0.3530
    y = torch.from_numpy(raw.y[members])
    optimizer = torch.optim.SGD(model.parameters(), training["learning_rate"], training["momentum"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, int(training["epochs"]))
    for _ in range(int(training["epochs"])):
        for rows in torch.randperm(len(y)).split(int(training["batch_size"])):
            optimizer.zero_grad()
            cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        schedule.step()
    save_file(model.state_dict(), weights)


REPORTS = {
    "demo": Report(demo, "frontier"),
    "one-model": Report(one_model, "roc-dense"),
    "families": Report(families, "family-"),
    "text": Report(text, "frontier"),
}


def make(name: str, folder: Path = FOLDER) -> Path:
    """Makes a report, or takes the finished one.

    Args:
        name: one of `REPORTS`.
        folder: where reports, pictures and runs lie.

    Returns:
        The page.
    """
    runs = folder / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    report = REPORTS[name]
    run = pruneaudit.run(report.study(runs), out=runs)
    drawn = pruneaudit.figures(run.folder, runs / f"{name}-figures", formats="svg").files
    picture = next(file for file in drawn if file.name.startswith(report.picture))
    (folder / f"{name}.svg").write_bytes(picture.read_bytes())
    page = folder / f"{name}.html"
    page.write_bytes(run.report.read_bytes())
    return page


def main(names: list[str]) -> None:
    for name in names or REPORTS:
        print(make(name))


if __name__ == "__main__":
    main(sys.argv[1:])
