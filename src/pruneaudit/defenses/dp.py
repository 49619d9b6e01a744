"""DP-SGD: clips each sample's gradient and adds noise, so that no single sample has much influence.

Source: Abadi et al. 2016 (arXiv 1607.00133), computed by Opacus (arXiv 2109.12298). A step draws each of the n
members with probability q = batch_size / n, independently (Poisson sampling). Each one's gradient g is scaled by
min(1, C / |g|), C = `max_grad_norm`; Gaussian noise of standard deviation `noise_multiplier` x C is added to the sum,
which is divided by q n. An empty batch gives a step of pure noise. The accountant turns q, noise and number of steps
into epsilon at `delta`, for the presence or absence of one member.

- BatchNorm mixes the samples of a batch, so GroupNorm replaces it, with at least 16 channels per group
  and at most 32 groups (Wu and He 2018, arXiv 1803.08494, try both numbers). Opacus's own replacement gives 16
  channels 16 groups, which reduces a 1x1 map to the bias.
- Gradients of removed weights are set to zero before clipping: they would use up the norm of the others. A weight
  counts as removed if the mask removes it and it is zero at the step. DPF keeps training its dense weights under the
  mask, even a frozen one; and a moving mask is read once an epoch. Both cost norm, not privacy.
- Batches and noise come from generators seeded by everything that determines the release, so that a training can be
  repeated, and two different trainings draw independently. Anyone with the seed can subtract the noise.
- mia_prune's `dp` (`prune_dp.py`, pyvacy) is another training, and the accountant's epsilon does not hold for it. It
  clips the mean gradient of a microbatch of 64 samples (half a batch) instead of each sample's, and leaves out a
  microbatch that is not full. It updates all parameters by plain SGD, whatever `optimizer` says, and every epoch of
  its fine-tuning has as many steps as the whole training before. It keeps BatchNorm, and from the second epoch on
  trains in evaluation mode. Here an epoch has n / batch_size steps, and the optimizer is the study's.
- The accountant ignores that n, and settings that were tuned on the members, also reveal something.
- Opacus reports no error if a parameter lacks the gradient of some sample: positions that are looked up once for the
  whole batch, a table that is read without a call of its layer. The first batch is checked, and such a network is
  refused (`_dp_check.py`).
- The gradients of all samples of a batch are held at once: memory grows as batch size x parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.defenses.defense import Defense, DefenseContext

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pruneaudit.data.inputs import Inputs
    from pruneaudit.study import Training
    from pruneaudit.training.hooks import Hook


class DpOptions(Options):
    """The amount of noise, the clipping norm, and how epsilon is computed."""

    noise_multiplier: float | None = Field(default=None, ge=0, le=1e6)
    """Standard deviation of the noise, in units of `max_grad_norm`; 0 only clips, and guarantees nothing."""
    target_epsilon: float | None = Field(default=None, gt=0, le=1e6)
    """Instead of `noise_multiplier`: use the least noise that keeps the epsilon of this training below this value.
    Trainings of ancestors are not included."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """C, the largest norm of one sample's gradient, over all weights together."""
    delta: float = Field(default=1e-5, gt=0, lt=1)
    """Probability with which the bound epsilon may fail; only values well below 1 / n are meaningful."""
    accountant: Literal["rdp", "prv"] = "rdp"
    """How to compute epsilon: `rdp`, Renyi differential privacy (arXiv 1702.07476), or `prv`, privacy random variables
    (arXiv 2106.02848), which is tighter and slower. Above an epsilon of 100 it is always `rdp`."""

    @model_validator(mode="after")
    def _one_of_two(self) -> DpOptions:
        if (self.noise_multiplier is None) == (self.target_epsilon is None):
            got = "neither" if self.noise_multiplier is None else "both"
            raise ValueError(f"got {got} of noise_multiplier and target_epsilon, expected exactly one of them")
        return self


class Dp(Defense[DpOptions]):
    """Clips each sample's gradient, and adds noise."""

    main = "noise_multiplier"
    single_training = True
    independent_draws = True
    semantics_version = 2  # in 1, releases of a model shared batches, and some of them noise

    def settings(self, options: DpOptions, training: Training) -> Training:
        """Unchanged; checks that Opacus is installed.

        Raises:
            UserError: Opacus is not installed, or the training is not in float32.
        """
        _require_opacus()
        if training.precision != "float32":
            raise UserError(
                f"defense 'dp' needs training.precision = 'float32', got '{training.precision}': its guarantee depends"
                " on the exact norm of each sample's gradient"
            )
        return training

    def prepare(self, model: nn.Module, options: DpOptions) -> nn.Module:
        """The network with GroupNorm in place of BatchNorm, under the same names.

        Raises:
            UserError: a layer of the network cannot give gradients of single samples.
        """
        _require_opacus()
        from pruneaudit.defenses._dp_network import prepare

        return prepare(model)

    def try_batch(self, model: nn.Module, x: Inputs, y: torch.Tensor) -> None:
        """Computes the gradient of each sample.

        Raises:
            UserError: a parameter lacks them; see `_dp_check`.
        """
        from pruneaudit.defenses._dp_sgd import try_batch

        try_batch(model, x, y)

    def hooks(self, model: nn.Module, options: DpOptions, context: DefenseContext) -> tuple[Hook, ...]:
        """The hook that makes every step private, and keeps account.

        Raises:
            UserError: no noise reaches `target_epsilon`.
        """
        _require_opacus()
        from pruneaudit.defenses._dp_accounting import Account, noise_for
        from pruneaudit.defenses._dp_sgd import PoissonSampling, PrivateSteps

        sampling = PoissonSampling(len(context.members), context.settings.batch_size)
        account = Account(options.delta, options.accountant)
        noise_multiplier = options.noise_multiplier
        if noise_multiplier is None:
            assert options.target_epsilon is not None  # one of the two is given, as the settings check
            steps = context.settings.epochs * sampling.num_batches
            noise_multiplier = noise_for(options.target_epsilon, account, sampling.sample_rate, steps)
        noise = (noise_multiplier, options.max_grad_norm)
        return (PrivateSteps(model, sampling, noise, account, context.masks, context.generator),)

    def report(self, hooks: tuple[Hook, ...]) -> dict[str, Any]:
        """The epsilon spent in the training.

        Args:
            hooks: all hooks of the training, this defence's among them.

        Returns:
            `epsilon` (None: infinite) at `delta`, `noise_multiplier`, `max_grad_norm`, `sample_rate`, `steps`,
            `accountant` (the one that was used) and a `statement`.
        """
        from pruneaudit.defenses._dp_sgd import PrivateSteps

        found = [hook for hook in hooks if isinstance(hook, PrivateSteps)]
        if not found:
            return {}
        spent = found[0].spent()
        return spent | {"statement": OF_THE_TRAINING if spent["epsilon"] is not None else WITHOUT_NOISE}


WITHOUT_NOISE = "The training added no noise, so it is not differentially private: epsilon is infinite."
OF_THE_TRAINING = (
    "The epsilon is that of this training alone. release.json has the epsilon of the released network, which includes "
    "the steps before this training."
)
DOES_NOT_HOLD = "The epsilon does not hold for the released model"
_SCOPE = (
    "The epsilon bounds what this release reveals about the presence of one training sample. It covers this "
    "release only (releases that share samples add up), and attackers who do not know the seed of the noise."
)


def statement(release: str, trainings: Sequence[str]) -> str:
    """What an epsilon says about a release, in plain words.

    Args:
        release: its name.
        trainings: the releases whose trainings count in it.
    """
    return _SCOPE if set(trainings) <= {release} else f"{_SCOPE} It includes the trainings of {', '.join(trainings)}."


def void_statement(reason: str) -> str:
    """Says that a training's epsilon does not hold for the released model, and why."""
    return f"{DOES_NOT_HOLD}: {reason}. It covers only the last training."


def _require_opacus() -> None:
    if find_spec("opacus") is None:
        raise UserError("defense 'dp' needs Opacus, which is not installed; pip install 'pruneaudit[dp]'")


DEFENSE = Dp()
