"""How fast is one training here, beside the plain loop that published code uses?

Plain: a DataLoader over per-sample transforms, contiguous tensors, an unfused optimizer. Ours: data in
memory as one tensor, batched augmentation, channels-last, fused SGD. Same data, batches, network and
number of steps, one thread each, in turn within one run; medians over rounds.

    make bench            (or: python benchmarks/training.py --rounds 5 --models tinycnn mlp)
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from pruneaudit.data.population import Population, load_population
from pruneaudit.models import build_model
from pruneaudit.study import Data, Training
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples

NUM_SAMPLES = 1000
BATCH_SIZE = 64
SETTINGS = Training(epochs=1, batch_size=BATCH_SIZE, learning_rate=0.05, schedule="constant", augment="crop_flip")


class PerSample(Dataset):
    """Crops and flips one image at a time, as transform pipelines do."""

    def __init__(self, population: Population) -> None:
        self.population = population

    def __len__(self) -> int:
        return len(self.population.y)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        population = self.population
        x = torch.from_numpy(population.x[index].astype(np.float32) / 255)
        x = (x - torch.tensor(population.mean)[:, None, None]) / torch.tensor(population.std)[:, None, None]
        height, width = x.shape[1:]
        x = torch.nn.functional.pad(x, (4, 4, 4, 4))
        top, left = torch.randint(0, 9, (2,)).tolist()
        x = x[:, top : top + height, left : left + width]
        if torch.rand(()) < 0.5:
            x = x.flip(2)
        return x, int(population.y[index])


def plain(name: str, population: Population) -> float:
    """Seconds of one epoch of the plain loop."""
    model = build_model(name, {}, population.x.shape[1:], population.num_classes, torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    loader = DataLoader(PerSample(population), batch_size=BATCH_SIZE, shuffle=True)
    start = time.perf_counter()
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return time.perf_counter() - start


def ours(name: str, population: Population) -> float:
    """Seconds of one epoch of our loop, data preparation included."""
    model = build_model(name, {}, population.x.shape[1:], population.num_classes, torch.Generator().manual_seed(0))
    start = time.perf_counter()
    train(model, Samples.of(population, np.ones(len(population.y), bool)), SETTINGS, torch.Generator().manual_seed(1))
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=["mlp", "tinycnn", "convnet", "resnet20"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    population = load_population(Data(num_samples=NUM_SAMPLES), 0)
    print(f"{'model':<10} {'plain /s':>10} {'ours /s':>10} {'ratio':>7}  [min, max]   {arguments.rounds} rounds")
    for name in arguments.models:
        plain(name, population), ours(name, population)  # warm-up
        times = [(plain(name, population), ours(name, population)) for _ in range(arguments.rounds)]
        ratios = [slow / fast for slow, fast in times]
        rates = [NUM_SAMPLES / statistics.median(column) for column in zip(*times, strict=True)]
        print(
            f"{name:<10} {rates[0]:>10,.0f} {rates[1]:>10,.0f} {statistics.median(ratios):>7.2f}"
            f"  [{min(ratios):.2f}, {max(ratios):.2f}]"
        )


if __name__ == "__main__":
    main()
