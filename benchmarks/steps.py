"""What does each choice of the training loop bring on this machine? One is taken away at a time.

One training of one network on one thread, in turn within one run; the ratio is that of CPU seconds, without the choice
to with all of them, so above 1 the choice pays. Not taken away: the data, which are one tensor in memory.

    python benchmarks/steps.py
    python benchmarks/steps.py --models mlp resnet20 --rounds 5
"""

# B batch

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from bank import PADDING
from interleaved import Spread, load_average, machine, parser, ratios, table, take_turns
from torch import Tensor, nn

from pruneaudit.data.augment import crop_flip
from pruneaudit.models import build_model
from pruneaudit.training.samples import Shuffled

BATCH_SIZE, NUM_CLASSES = 64, 10
SIZES = {"mlp": (1, 28, 4000), "tinycnn": (1, 28, 1500), "convnet": (1, 28, 200), "resnet20": (1, 28, 200)}
SIZES["resnet18"] = (3, 32, 64)
"""Channels, height and width, and samples of an epoch; two epochs are timed."""


@dataclass(frozen=True)
class Choices:
    """How a training loop works; the defaults are what `pruneaudit` does."""

    batched_augmentation: bool = True
    """Or crop and flip image by image."""
    channels_last: bool = True
    fused_optimizer: bool = True
    float32: bool = True
    """Or bfloat16 by autocast."""
    losses_read_once: bool = True
    """A loss is read once an epoch, or after each step."""


WITHOUT = {
    "batched augmentation": replace(Choices(), batched_augmentation=False),
    "channels-last": replace(Choices(), channels_last=False),
    "fused SGD": replace(Choices(), fused_optimizer=False),
    "one reading of losses an epoch": replace(Choices(), losses_read_once=False),
    "float32 (bfloat16 instead)": replace(Choices(), float32=False),
}


def one_by_one(x: Tensor, generator: torch.Generator) -> Tensor:
    """Crop and flip as pipelines of transforms do."""
    return torch.stack(list(_changed(x, generator)))


def _changed(x: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    height, width = x.shape[2:]
    for image in x:
        padded = nn.functional.pad(image, (PADDING,) * 4)
        top, left = torch.randint(0, 2 * PADDING + 1, (2,), generator=generator).tolist()
        cropped = padded[:, top : top + height, left : left + width]
        yield cropped.flip(2) if torch.rand((), generator=generator) < 0.5 else cropped


def seconds(name: str, choices: Choices) -> float:
    """CPU seconds of a training."""
    channels, size, num_samples = SIZES[name]
    generator = torch.Generator().manual_seed(0)
    layout = torch.channels_last if choices.channels_last else torch.contiguous_format
    data = torch.randn(num_samples, channels, size, size, generator=generator).contiguous(memory_format=layout)
    labels = torch.randint(NUM_CLASSES, (num_samples,), generator=generator)
    model = build_model(name, {}, (channels, size, size), NUM_CLASSES, generator).to(memory_format=layout)
    optimizer = torch.optim.SGD(
        model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4, fused=choices.fused_optimizer
    )
    augment = crop_flip if choices.batched_augmentation else one_by_one
    start = time.process_time()
    for _ in range(2):
        losses = []
        for positions in Shuffled(num_samples, BATCH_SIZE).batches(generator):
            x = augment(data[positions], generator).contiguous(memory_format=layout)  # (B, C, H, W)
            with torch.autocast("cpu", torch.bfloat16, enabled=not choices.float32):
                logits = model(x)
            loss = nn.functional.cross_entropy(logits.float(), labels[positions])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach() if choices.losses_read_once else loss.item())
    return time.process_time() - start


def main() -> None:
    arguments = parser(__doc__, 5)
    arguments.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES), metavar="MODEL")
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    print(machine())
    rows = []
    for name in chosen.models:
        variants = {"all": partial(seconds, name, Choices())}
        variants |= {what: partial(seconds, name, choices) for what, choices in WITHOUT.items()}
        take_turns(variants, 1)
        found = take_turns(variants, chosen.rounds)
        rates = Spread.of([2 * SIZES[name][2] / value for value in found["all"]])
        rows.append([f"`{name}`", rates, *(ratios(found[what], found["all"]) for what in WITHOUT), load_average()])
        print("  ".join(map(str, rows[-1])), flush=True)
    header = ["model", "samples /s", *(f"without {what}" for what in WITHOUT), "load"]
    print(f"\nmedian [min, max] of {chosen.rounds} rounds\n\n{table(header, rows)}")


if __name__ == "__main__":
    main()
