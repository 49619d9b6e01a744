"""Compressed networks in onnxruntime against the audited ones: agreement, file sizes and running times.

    python benchmarks/onnx_agreement.py --networks mlp tinycnn convnet resnet20

Trains each network on 3,000 images of the embedded Fashion-MNIST, compresses it in several ways (calibration: 256
others), writes it as ONNX, and compares on 1,000 further images. Prints a Markdown table; `disagree` counts inputs
with another class, and in brackets those of them whose two largest logits are within one step. `time` is relative to
float weights, in brackets with weights that are computed once, when onnxruntime loads the file.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import torch

import pruneaudit
from pruneaudit.core.errors import UserError
from pruneaudit.data.augment import normalise
from pruneaudit.external.asked import NetworkOptions
from pruneaudit.external.collect import whole_source
from pruneaudit.models import build_model

METHODS = (
    *("rtn:bits=8", "rtn:bits=4", "rtn:bits=2", "rtn:bits=4:granularity=group", "rtn:bits=ternary", "gptq:bits=3"),
    *("kmeans:clusters=16", "static8", "static8:output=int8", "svd:fraction=0.5", "l1unstructured:sparsity=0.9"),
    "l1unstructured:sparsity=0.7+static8",
)
NUM_TRAINED, NUM_CALIBRATION, NUM_COMPARED = 3000, 256, 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["mlp", "tinycnn", "convnet"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="Steps of a chain are joined by +.")
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    raw = whole_source("fashion_mnist_5k", NetworkOptions(), None)
    x, y = normalise(torch.from_numpy(raw.x), raw.mean, raw.std), torch.from_numpy(raw.y)
    parts = (NUM_TRAINED, NUM_CALIBRATION, NUM_COMPARED, len(x) - NUM_TRAINED - NUM_CALIBRATION - NUM_COMPARED)
    (train, calibration, compared, _), labels = x.split(parts), y.split(parts)
    print(
        "| network | method | accuracy | disagree | largest difference | int8 kernels | bytes, float32 | bytes | time |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.networks:
        network = build_model(name, {}, tuple(x.shape[1:]), 10, torch.Generator().manual_seed(0))
        tuning = pruneaudit.FineTuning((train, labels[0]), epochs=options.epochs, learning_rate=0.05)
        # A mask that removes next to nothing: our loop trains the network.
        network = pruneaudit.compress(network, "random", 1e-6, finetuning=tuning).model.eval()
        for method in options.methods:
            steps = method.split("+")
            looks = any(step.partition(":")[0] in ("gptq", "static8") for step in steps)
            try:
                made = pruneaudit.compress(
                    network, steps, calibration=calibration if looks else None, test=(compared, labels[2])
                )
                with tempfile.TemporaryDirectory() as folder:
                    facts = made.to_onnx(Path(folder) / "model.onnx", inputs=compared)
            except UserError as error:
                print(f"| {name} | {method} | {error} |", flush=True)
                continue
            found = facts.agreement
            steps_off = "" if found.steps is None else f", {found.steps:.2f} steps"
            kernels = f"{facts.num_kernels} of {facts.num_rounded}" if facts.num_rounded else ""
            time = "" if facts.times is None else f"{facts.times.ratio:.2f}"
            time += "" if facts.times_computed_once is None else f" ({facts.times_computed_once.ratio:.2f})"
            accuracy = f"{made.summary['accuracy']['after_pruning']:.3f}"
            disagree = f"{found.others + found.near_ties} ({found.near_ties}) of {found.num_inputs:,}"
            sizes = f"{facts.float_bytes:,} | {facts.num_bytes:,}"
            row = (name, method, accuracy, disagree, f"{found.relative:.1e}{steps_off}", kernels, sizes, time)
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
