"""Banks for the simulations of verdicts on records: normal, heavy-tailed, and really trained ones.

Trained: networks with one hidden layer on Fashion-MNIST, averaged to 7x7 pixels, each on the half of the audited
samples that its coins chose. All are trained together as one batch of matrices, in seconds rather than minutes.
"""

# M models, N samples, D inputs, H hidden units, C classes, B samples of a batch

from dataclasses import dataclass

import numpy as np
import torch

from pruneaudit.data.fashion_mnist_5k import FILE
from pruneaudit.signals.signals import Signals

NUM_HOLDOUT = 1400
"""Half of these are nulls."""


@dataclass(frozen=True, eq=False)
class Bank:
    """phi of every model on every sample; the last `NUM_HOLDOUT` samples are the holdout."""

    phi: np.ndarray
    """(M, N) float64."""
    member: np.ndarray
    """(M, N) bool."""

    @property
    def signals(self) -> Signals:
        """With one logit for two classes, of which all samples have the second: phi is that logit."""
        num_audited = self.phi.shape[1] - NUM_HOLDOUT
        return Signals(
            logits=self.phi,
            labels=np.ones(self.phi.shape[1], dtype=int),
            member=self.member,
            eligible=np.broadcast_to(np.arange(self.phi.shape[1]) < num_audited, self.phi.shape),
        )

    def redrawn(self, rng: np.random.Generator) -> "Bank":
        """The same models with fresh coins: nothing that the coins say is in phi."""
        return Bank(self.phi, coins(*self.phi.shape, rng))


def coins(num_models: int, num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Membership (M, N) by fair coins, without the holdout."""
    member = rng.random((num_models, num_samples)) < 0.5
    member[:, -NUM_HOLDOUT:] = False
    return member


def made_up(num_models: int, num_audited: int, rng: np.random.Generator, freedom: float = np.inf) -> Bank:
    """phi = how easy + memorisation where trained on + noise; samples differ in all three.

    Args:
        num_models: M.
        num_audited: samples beside the holdout.
        rng: source of everything.
        freedom: of the t distribution of the noise; infinite: normal.
    """
    num_samples = num_audited + NUM_HOLDOUT
    member = coins(num_models, num_samples, rng)
    ease, memorised = rng.normal(2.0, 2.0, num_samples), rng.exponential(1.5, num_samples)
    spread = np.exp(rng.normal(0.0, 0.4, num_samples))
    shape = num_models, num_samples
    noise = rng.normal(size=shape) if np.isinf(freedom) else rng.standard_t(freedom, size=shape)
    return Bank(ease + memorised * member + spread * noise, member)


def trained(num_models: int, num_audited: int, seed: int) -> tuple[Bank, Bank]:
    """Really trained networks: dense ones, and the same with 85% of their weights pruned and trained further."""
    rng = np.random.default_rng(seed)
    with np.load(FILE) as arrays:
        images, labels = arrays["x"], arrays["y"].astype(np.int64)
    chosen = rng.permutation(len(images))[: num_audited + NUM_HOLDOUT]
    x = images[chosen].reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(-1, 49)
    x = torch.from_numpy(((x - x.mean(axis=0)) / (x.std(axis=0) + 1)).astype(np.float32))  # (N, D)
    y = torch.from_numpy(labels[chosen])
    member = coins(num_models, len(x), rng)
    torch.manual_seed(seed)
    networks = Networks(num_models, x.shape[1])
    networks.train(x, y, member, EPOCHS, rng)
    dense = Bank(networks.phi(x, y), member)
    networks.prune(0.85)
    networks.train(x, y, member, EPOCHS // 4, rng)
    return dense, Bank(networks.phi(x, y), member)


EPOCHS, HIDDEN, BATCH = 80, 128, 50


class Networks:
    """M networks with one hidden layer, as matrices with a leading M."""

    def __init__(self, num_models: int, num_inputs: int) -> None:
        sizes = (num_inputs, HIDDEN), (HIDDEN, 10)
        self.weights = [torch.randn(num_models, *size) * (2 / size[0]) ** 0.5 for size in sizes]
        self.biases = [torch.zeros(num_models, 1, size[1]) for size in sizes]
        self.kept = [torch.ones_like(weight) for weight in self.weights]

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """(M, B, C) from (M, B, D)."""
        hidden = torch.relu(torch.baddbmm(self.biases[0], x, self.weights[0]))
        return torch.baddbmm(self.biases[1], hidden, self.weights[1])

    def train(
        self, x: torch.Tensor, y: torch.Tensor, member: np.ndarray, epochs: int, rng: np.random.Generator
    ) -> None:
        """Adam on batches of each model's own members."""
        parameters = [*self.weights, *self.biases]
        for parameter in parameters:
            parameter.requires_grad_()
        optimizer = torch.optim.Adam(parameters, lr=0.003)
        num_batches = int(member.sum(axis=1).min()) // BATCH
        for _ in range(epochs):
            # Members first, each model in an order of its own.
            order = np.argsort(rng.random(member.shape) + 2 * ~member, axis=1)[:, : num_batches * BATCH]
            for batch in np.split(order, num_batches, axis=1):
                rows = torch.from_numpy(np.ascontiguousarray(batch))  # (M, B)
                logits = self.logits(x[rows])
                loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y[rows].flatten(), reduction="sum")
                optimizer.zero_grad()
                (loss / BATCH).backward()
                optimizer.step()
                with torch.no_grad():
                    for weight, kept in zip(self.weights, self.kept, strict=True):
                        weight *= kept
        for parameter in parameters:
            parameter.requires_grad_(False)

    def prune(self, sparsity: float) -> None:
        """Removes the smallest weights of every layer and network."""
        for weight, kept in zip(self.weights, self.kept, strict=True):
            size = weight.abs().flatten(1)  # (M, weights)
            limit = size.kthvalue(int(sparsity * size.shape[1]), dim=1).values
            kept.copy_((weight.abs() > limit[:, None, None]).float())
            weight *= kept

    def phi(self, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
        """(M, N): the logit of the label minus the logsumexp of the others."""
        found = []
        for start in range(0, len(x), 500):
            part = slice(start, start + 500)
            logits = self.logits(x[part].expand(len(self.weights[0]), -1, -1)).double()  # (M, n, C)
            own = torch.nn.functional.one_hot(y[part], 10).bool()
            others = logits.masked_fill(own, -torch.inf).logsumexp(dim=2)
            found.append(logits[:, own] - others)
        return torch.cat(found, dim=1).numpy()
