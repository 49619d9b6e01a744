"""The attacker inside adversarial regularisation. Imports torch, so import this module only where it is used."""

# B batch, C classes

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid, one_hot

from pruneaudit.compression.macs import evaluating
from pruneaudit.data.inputs import Inputs, answered, joined
from pruneaudit.defenses.defense import DefenseContext
from pruneaudit.models.init import initialise
from pruneaudit.training.hooks import Hook, TrainingState
from pruneaudit.training.samples import Samples

if TYPE_CHECKING:
    from pruneaudit.defenses.adv import AdvOptions


def attacker_input(logits: Tensor, y: Tensor) -> Tensor:
    """[softmax | one-hot label] (B, 2C) of logits (B, C) and labels (B,)."""
    return torch.cat([logits.softmax(1), one_hot(y, logits.shape[1]).to(logits)], dim=1)


def attacker_network(num_classes: int, hidden: Sequence[int], generator: torch.Generator) -> nn.Sequential:
    """An MLP from (B, 2C) to the log-odds (B, 1) of membership, on the CPU; `generator` draws its weights."""
    widths = (2 * num_classes, *hidden)
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):  # torch's constructors draw weights too; they are thrown away
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        network = nn.Sequential(*layers, nn.Linear(widths[-1], 1))
    initialise(network, generator)
    return network


class Adversary(Hook):
    """Trains the attacker before each step of the network, and adds its gain to the network's loss."""

    def __init__(self, options: AdvOptions, context: DefenseContext) -> None:
        """Draws the attacker's weights. The samples that it learns from are drawn step by step."""
        self._options = options
        self._members, self._public = context.members, context.public
        self._batch_size, self._generator = context.settings.batch_size, context.generator
        network = attacker_network(context.num_classes, options.attacker_hidden, context.generator)
        self.attacker = network.to(context.members.stored.device)
        self._optimizer = torch.optim.Adam(self.attacker.parameters(), lr=options.attacker_learning_rate)
        self._right: list[Tensor] = []  # the attacker's accuracy in each of its steps of this epoch

    def before_forward(self, state: TrainingState) -> None:
        """Trains the attacker against the current network."""
        for _ in range(self._options.attacker_steps):
            self._learn(state.model)

    def loss(self, state: TrainingState, logits: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        """Adds strength x mean log h of the batch's members."""
        if not len(y):
            return loss
        gain = logsigmoid(self.attacker(attacker_input(logits, y))).mean()
        return loss + self._options.strength * gain

    def epoch_end(self, state: TrainingState) -> None:
        """Records how often the attacker was right."""
        state.history[-1]["attacker_accuracy"] = float(torch.stack(self._right).mean()) if self._right else float("nan")
        self._right = []

    def kept(self) -> dict[str, Tensor]:
        """The attacker, its optimizer, and the generator of its samples."""
        found = {f"attacker/{name}": value for name, value in self.attacker.state_dict().items()}
        for number, parameter in enumerate(self.attacker.parameters()):
            for key, value in self._optimizer.state.get(parameter, {}).items():
                found[f"optimizer/{number}/{key}"] = value
        return found | {"generator": self._generator.get_state()}

    def put_back(self, tensors: dict[str, Tensor]) -> None:
        """Restores the state that `kept` returned."""
        prefix = "attacker/"
        self.attacker.load_state_dict({n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)})
        parameters = list(self.attacker.parameters())
        for name, value in tensors.items():
            if name.startswith("optimizer/"):
                _, number, key = name.split("/")
                parameter = parameters[int(number)]
                # Adam counts its steps on the CPU; its moments are on the weights' device.
                self._optimizer.state[parameter][key] = value.to(parameter.device) if value.ndim else value
        self._generator.set_state(tensors["generator"])

    def _learn(self, model: nn.Module) -> None:
        """Trains the attacker for one step, on a batch of members and as many public samples."""
        with evaluating(model), torch.no_grad():
            (x, y), (other_x, other_y) = self._drawn(self._members), self._drawn(self._public)
            seen = attacker_input(answered(model, joined(x, other_x)), torch.cat([y, other_y]))  # (2B, 2C)
        is_member = (torch.arange(len(seen), device=seen.device) < len(y)).to(seen)
        log_odds = self.attacker(seen)[:, 0]
        self._optimizer.zero_grad()  # the network's step left gradients here
        binary_cross_entropy_with_logits(log_odds, is_member).backward()
        self._optimizer.step()
        self._right.append(((log_odds.detach() > 0) == is_member.bool()).float().mean())

    def _drawn(self, samples: Samples) -> tuple[Inputs, Tensor]:
        """Draws a batch with replacement; returns inputs and labels."""
        positions = torch.randint(len(samples), (self._batch_size,), generator=self._generator)
        return samples.batch(positions)
