"""Your network and how you train it; `own_training.py` audits what comes of it.

Worker processes import this module, so that it must not be the program that is run.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

# n samples, B batch


def net(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """A small convolutional network; its weights are drawn from torch's global generator, which is seeded for it."""
    channels, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(channels, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),  # not view: images may come in channels-last order
        nn.Linear(16 * (height // 2) * (width // 2), num_classes),
    )


def train(
    model: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator, device: str
) -> Iterator[dict[str, float]]:
    """Trains in place on x (n, C, H, W) float32 and y (n,) int64, which lie on the device already.

    What it yields becomes the model's history; a function that returns nothing does as well.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for epoch in range(1, 13):
        losses = []
        for batch in torch.randperm(len(y), generator=generator).split(32):  # positions (B,)
            loss = cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        yield {"epoch": epoch, "loss": float(torch.stack(losses).mean())}
