"""How much faster do small networks train side by side than one after another?

A few epochs of G models with unequal training sets, by `train` in a loop, by stacked layers and (--vmap) by torch's
vmap, in turn within one run, one thread; medians of the ratios over rounds, and their range. A rate counts the samples
of all models per second of the processor, which other programs disturb less than the clock on the wall. --equality says
instead how far weights and logits are from those of `train` after --epochs epochs.

    python benchmarks/stacked.py --models mlp tinycnn convnet --numbers 1 4 8 16 --batch-sizes 32 64
    python benchmarks/stacked.py --equality --models mlp tinycnn --epochs 30
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from pruneaudit.models import build_model
from pruneaudit.study import Training
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples
from pruneaudit.training.stacked import train_stacked

NUM_CLASSES = 10
Trainer = Callable[[list[nn.Module], list[Samples], Training], None]


def generators(number: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(1000 + g) for g in range(number)]


def plain(models: list[nn.Module], samples: list[Samples], settings: Training) -> None:
    for model, own, generator in zip(models, samples, generators(len(models)), strict=True):
        train(model, own, settings, generator)


def layers(models: list[nn.Module], samples: list[Samples], settings: Training) -> None:
    train_stacked(models, samples, settings, generators(len(models)))


def mapped(models: list[nn.Module], samples: list[Samples], settings: Training) -> None:
    train_stacked(models, samples, settings, generators(len(models)), by="vmap")


def problem(name: str, number: int, num_samples: int, size: int) -> tuple[list[nn.Module], list[Samples]]:
    """Models, and noisy images of ten patterns; the numbers of samples differ as under coins for each sample."""
    shape = (3, size, size) if name == "convnet" else (1, size, size)
    draws = torch.Generator().manual_seed(0)
    patterns = torch.randn(NUM_CLASSES, *shape, generator=draws)
    numbers = torch.binomial(torch.full((number,), 2.0 * num_samples), torch.tensor(0.5), generator=draws)
    samples = []
    for own in numbers.int().tolist():
        y = torch.randint(NUM_CLASSES, (own,), generator=draws)
        x = 0.5 * patterns[y] + torch.randn(own, *shape, generator=draws)
        samples.append(Samples(x.permute(0, 2, 3, 1).contiguous(), y))
    models = [build_model(name, {}, shape, NUM_CLASSES, torch.Generator().manual_seed(g)) for g in range(number)]
    return models, samples


def seconds(trainer: Trainer, settings: Training, name: str, number: int, num_samples: int, size: int) -> float:
    models, samples = problem(name, number, num_samples, size)
    start = time.process_time()
    trainer(models, samples, settings)
    return time.process_time() - start


def speed(arguments: argparse.Namespace) -> None:
    trainers = {"layers": layers, **({"vmap": mapped} if arguments.vmap else {})}
    print(f"{'model':<8} {'G':>3} {'batch':>5} {'plain /s':>9}  by       {'/s':>9} {'ratio':>6}  [min, max]")
    for name in arguments.models:
        for batch_size in arguments.batch_sizes:
            settings = Training(epochs=arguments.epochs, batch_size=batch_size, learning_rate=0.01)
            for number in arguments.numbers:
                case = (name, number, arguments.samples, arguments.size)
                both = (plain, *trainers.values())
                for trainer in both:
                    seconds(trainer, settings.model_copy(update={"epochs": 1}), *case)
                rounds = [[seconds(trainer, settings, *case) for trainer in both] for _ in range(arguments.rounds)]
                total = sum(len(own) for own in problem(*case)[1]) * arguments.epochs
                rates = [total / statistics.median(column) for column in zip(*rounds, strict=True)]
                for index, by in enumerate(trainers, start=1):
                    ratios = [row[0] / row[index] for row in rounds]
                    print(
                        f"{name:<8} {number:>3} {batch_size:>5} {rates[0]:>9,.0f}  {by:<8} {rates[index]:>9,.0f}"
                        f" {statistics.median(ratios):>6.2f}  [{min(ratios):.2f}, {max(ratios):.2f}]",
                        flush=True,
                    )


def shifted(models: list[nn.Module]) -> None:
    """Moves every weight by about one rounding."""
    draws = torch.Generator().manual_seed(0)
    for model in models:
        for parameter in model.parameters():
            parameter.data *= 1 + 1e-7 * torch.randn(parameter.shape, generator=draws)


@torch.no_grad()
def distance(one: list[nn.Module], other: list[nn.Module], x: torch.Tensor) -> list[tuple[float, float]]:
    """Largest difference of weights, and of logits, for each model."""
    found = []
    for a, b in zip(one, other, strict=True):
        weights = zip(a.parameters(), b.parameters(), strict=True)
        largest = max(float((p - q).abs().max()) for p, q in weights)
        found.append((largest, float((a.eval()(x) - b.eval()(x)).abs().max())))
    return found


def equality(arguments: argparse.Namespace) -> None:
    """Beside it: how far a plain training goes astray when its first weights are moved by one rounding."""
    for name in arguments.models:
        for batch_size in arguments.batch_sizes:
            settings = Training(epochs=arguments.epochs, batch_size=batch_size, learning_rate=arguments.learning_rate)
            number = arguments.numbers[0]
            reference, samples = problem(name, number, arguments.samples, arguments.size)
            plain(reference, samples, settings)
            for title, trainer, prepare in (("stacked", layers, None), ("plain, moved", plain, shifted)):
                models, _ = problem(name, number, arguments.samples, arguments.size)
                if prepare:
                    prepare(models)
                trainer(models, samples, settings)
                found = distance(reference, models, samples[0].inputs(slice(0, 200)))
                weights, logits = zip(*found, strict=True)
                print(
                    f"{name:<8} G {number} batch {batch_size:>3}, {arguments.epochs} epochs, {title:<13}"
                    f" weights: median {statistics.median(weights):.1e}, max {max(weights):.1e};"
                    f" logits: median {statistics.median(logits):.1e}, max {max(logits):.1e}",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["mlp", "tinycnn"])
    parser.add_argument("--numbers", nargs="+", type=int, default=[8])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[32])
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--size", type=int, default=28, help="pixels of a side of the images")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--vmap", action="store_true")
    parser.add_argument("--equality", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    (equality if arguments.equality else speed)(arguments)


if __name__ == "__main__":
    main()
