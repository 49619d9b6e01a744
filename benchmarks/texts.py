"""How fast does a text model train, beside a plain loop with dynamic padding and a DataLoader worker?

Both train the same network with the same first weights on the same texts, as many batches of the same size, with Adam;
both end by measuring the accuracy on their texts.

plain   a DataLoader with one worker, which pads each batch to its longest text; torch's default number of threads, Adam
        without `fused`, and the loss read after each step, as tutorials do. Beside it the same with one thread, and
        without a worker
ours    the loop of `pruneaudit run` on one thread: ids of a fixed length in memory, fused Adam

The ratio is that of CPU seconds of all processes and threads, round by round: it holds on a busy machine too. Peak
memory is that of a fresh interpreter that only trains ours.

    python benchmarks/texts.py
    python benchmarks/texts.py --rounds 5 --lengths 24
"""

# N samples, T tokens, B batch

from __future__ import annotations

import resource
import sys
import time
from functools import partial

import numpy as np
import torch
from interleaved import (
    Spread,
    in_fresh_interpreter,
    load_average,
    machine,
    parser,
    peak_memory,
    ratios,
    table,
    take_turns,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pruneaudit.data.inputs import token_inputs
from pruneaudit.data.kinds import TokenShape, Vocabulary
from pruneaudit.models import build_model
from pruneaudit.study import Training
from pruneaudit.training.loop import train
from pruneaudit.training.predict import accuracy
from pruneaudit.training.samples import Samples

WORDS = Vocabulary(size=2000, padding=0, unknown=1)
NUM_TEXTS, NUM_CLASSES, EPOCHS, BATCH_SIZE, RATE = 1500, 10, 10, 32, 2e-3
ALL_THREADS = torch.get_num_threads()
PLAIN = {f"threads={n},workers={w}": (n, w) for n, w in ((ALL_THREADS, 1), (1, 1), (1, 0))}
"""Threads of the training process, and loader workers; the first is what tutorials run."""


def texts(length: int) -> Samples:
    """Random texts whose lengths are spread like those of clinc150, whose mean is 9 of 24 tokens."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.poisson(0.4 * length, NUM_TEXTS), 3, length).astype(np.int32)
    ids = rng.integers(2, WORDS.size, (NUM_TEXTS, length)).astype(np.int32)
    ids[np.arange(length) >= lengths[:, None]] = WORDS.padding
    labels = torch.from_numpy(rng.integers(0, NUM_CLASSES, NUM_TEXTS))
    return Samples(torch.from_numpy(ids), labels, torch.from_numpy(lengths), WORDS)


def network(length: int, width: int, layers: int) -> nn.Module:
    """The network with its first weights."""
    options = {"width": width, "layers": layers}
    draws = torch.Generator().manual_seed(0)
    return build_model("tiny_transformer", options, TokenShape(length, WORDS), NUM_CLASSES, draws)


def padded(texts: list[tuple[list[int], int]]) -> tuple[dict[str, Tensor], Tensor]:
    """A batch padded to its longest text, as collators of tutorials make it."""
    longest = max(len(ids) for ids, _ in texts)
    ids = torch.tensor([ids + [WORDS.padding] * (longest - len(ids)) for ids, _ in texts])
    lengths = torch.tensor([len(ids) for ids, _ in texts])
    return token_inputs(ids, lengths), torch.tensor([label for _, label in texts])


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def plain(samples: Samples, size: tuple[int, int, int], threads: int, workers: int) -> tuple[float, float]:
    """CPU and wall seconds of the plain loop."""
    assert samples.lengths is not None
    rows = zip(samples.stored.tolist(), samples.lengths.tolist(), samples.y.tolist(), strict=True)
    data = [(ids[:length], label) for ids, length, label in rows]
    torch.set_num_threads(threads)
    started, clock = cpu_seconds(), time.perf_counter()
    model = network(*size)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    loader = DataLoader(data, BATCH_SIZE, shuffle=True, num_workers=workers, collate_fn=padded)  # type: ignore[arg-type]
    for _ in range(EPOCHS):
        model.train()
        total = 0.0
        for x, y in loader:
            loss = nn.functional.cross_entropy(model(**x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
    model.eval()
    with torch.no_grad():
        sum(int((model(**x).argmax(1) == y).sum()) for x, y in loader)
    del loader
    torch.set_num_threads(1)
    return cpu_seconds() - started, time.perf_counter() - clock


def ours(samples: Samples, size: tuple[int, int, int]) -> tuple[float, float]:
    """CPU and wall seconds of the package's loop."""
    settings = Training(epochs=EPOCHS, batch_size=BATCH_SIZE, optimizer="adam", learning_rate=RATE, weight_decay=0)
    started, clock = cpu_seconds(), time.perf_counter()
    model = network(*size)
    train(model, samples, settings, torch.Generator().manual_seed(0))
    accuracy(model, samples)
    return cpu_seconds() - started, time.perf_counter() - clock


def main() -> None:
    arguments = parser(__doc__, 3)
    arguments.add_argument("--lengths", nargs="+", type=int, default=[16, 24, 32, 64], metavar="T")
    arguments.add_argument("--width", type=int, default=64)
    arguments.add_argument("--layers", type=int, default=1)
    arguments.add_argument("--alone", action="store_true", help="train ours once, print the peak of memory in MB")
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    if chosen.alone:
        length = chosen.lengths[0]
        ours(texts(length), (length, chosen.width, chosen.layers))
        print(peak_memory())
        return
    print(machine())
    ours(texts(8), (8, 8, 1))  # what torch imports at the first step
    rows = []
    for length in chosen.lengths:
        samples, size = texts(length), (length, chosen.width, chosen.layers)
        variants = {"ours": partial(ours, samples, size)}
        variants |= {name: partial(plain, samples, size, *how) for name, how in PLAIN.items()}
        found = take_turns(variants, chosen.rounds)
        cpu = {name: [used for used, _ in times] for name, times in found.items()}
        rate = Spread.of([1000 * used / (NUM_TEXTS * EPOCHS) for used in cpu["ours"]])
        wall = ratios([clock for _, clock in found[next(iter(PLAIN))]], [clock for _, clock in found["ours"]])
        options = ("--alone", "--lengths", length, "--width", chosen.width, "--layers", chosen.layers)
        peak = float(in_fresh_interpreter(sys.argv[0], *options))
        rows.append([length, rate, *(ratios(cpu[name], cpu["ours"]) for name in PLAIN), wall, f"{peak:.0f}"])
        rows[-1].append(load_average())
        print("  ".join(map(str, rows[-1])), flush=True)
    header = ["T", "CPU s per 1,000 texts", *(f"{name} / ours" for name in PLAIN), "wall of the first / ours"]
    print(f"\nmedian [min, max] of {chosen.rounds} rounds\n\n{table([*header, 'peak MB', 'load'], rows)}")


if __name__ == "__main__":
    main()
