"""How many CIFAR-10 ResNet-18 networks an hour a GPU trains, and how long the recipe `claims-cifar10` would take there.

Measures a few epochs of each network of the recipe, with its batch size, augmentation and number of members, and adds
up the epochs of all releases. Masks, defences and teachers are not measured: they cost little beside a ResNet's own
passes. Stops after `--minutes`, below ten. It was never run on a GPU: none could be had. The small form runs on
a CPU, and checks the arithmetic only:

    python benchmarks/claims_on_cuda.py --device cuda --minutes 8
    python benchmarks/claims_on_cuda.py --small

The images are random numbers of CIFAR-10's shape: speed does not depend on them, and nothing has to be copied to the
machine. It prints JSON lines, one per kind of network, then the sum.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter

import torch
from torch import Tensor, nn

from pruneaudit.models import build_model
from pruneaudit.study import Plugin, Release, Study, Training
from pruneaudit.study.baselines import with_baselines
from pruneaudit.study.lineage import network_of, training_of
from pruneaudit.study.recipes import load_recipe
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples

RECIPE = "claims-cifar10"
SHAPE, STORED, CLASSES = (3, 32, 32), (32, 32, 3), 10
SMALL = {"model": "tinycnn", "members": 64}


def epochs_by_network(study: Study) -> Counter[str]:
    """How many epochs one model of the bank is trained in all releases together, by the label of the network.

    A compressor that trains by itself (`iterative`: in rounds) counts its rounds.
    """
    found = Counter({study.model.label: study.training.epochs})
    for release in study.releases:
        training = training_of(study, release)
        if training is not None:
            found[network_of(study, release).label] += training.epochs * _rounds(release)
    return found


def _rounds(release: Release) -> int:
    iterative = [plugin for plugin in release.compress if plugin.name == "iterative"]
    return int(iterative[0].options.get("rounds", 5)) if iterative else 1


def seconds_per_epoch(network: Plugin, training: Training, num_members: int, device: str, limit: float) -> float:
    """The time of one epoch, after one that warms up; of the fastest of several within `limit` seconds."""
    draws = torch.Generator().manual_seed(0)
    model: nn.Module = build_model(network.name, network.options, SHAPE, CLASSES, draws).to(device)
    x: Tensor = torch.randn((num_members, *STORED), generator=draws)
    samples = Samples(x.to(device), torch.randint(0, CLASSES, (num_members,), generator=draws).to(device))
    one = training.model_copy(update={"epochs": 1, "keep_early": None})
    best, end = float("inf"), time.perf_counter() + limit
    for number in range(20):
        start = time.perf_counter()
        train(model, samples, one, torch.Generator().manual_seed(number))
        if device != "cpu":
            torch.cuda.synchronize()
        if number:
            best = min(best, time.perf_counter() - start)
        if time.perf_counter() > end and number:
            break
    return best


def main() -> None:
    """Measures every network of the recipe, and adds up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all measurements together")
    parser.add_argument("--small", action="store_true", help="a tiny network and 64 members: a try on a CPU")
    given = parser.parse_args()
    study = with_baselines(load_recipe(RECIPE))
    num_members = SMALL["members"] if given.small else study.data.num_samples // 2
    epochs, total = epochs_by_network(study), 0.0
    for label, number in epochs.items():
        network = Plugin.model_validate(SMALL["model"] if given.small else label)
        limit = 60 * given.minutes / len(epochs) / 2
        seconds = seconds_per_epoch(network, study.training, int(num_members), given.device, limit)
        total += seconds * number
        row = {"network": label, "seconds_per_epoch": round(seconds, 4), "epochs_per_model": number}
        print(
            json.dumps(row | {"dense_models_per_hour": round(3600 / (seconds * study.training.epochs), 1)}), flush=True
        )
    hours = total * study.membership.num_models / 3600
    print(json.dumps({"recipe": RECIPE, "models": study.membership.num_models, "hours": round(hours, 4)}))


if __name__ == "__main__":
    main()
