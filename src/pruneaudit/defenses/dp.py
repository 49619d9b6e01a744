"""DP-SGD: no sample can change the training by more than a limit, and noise hides what it can change.

Source: Abadi et al. 2016 (arXiv 1607.00133), computed by Opacus (arXiv 2109.12298). A step draws each of the n
members with probability q = batch_size / n, independently (Poisson sampling). Each one's gradient g is scaled by
min(1, C / |g|), C = `max_grad_norm`; Gaussian noise of standard deviation `noise_multiplier` x C is added to the sum,
which is divided by q n. An empty batch is a step of noise alone. The accountant turns q, noise and number of steps
into epsilon at `delta`, for the presence or absence of one member.

- BatchNorm mixes the samples of a batch, so GroupNorm stands in its place, with at least 16 channels to a group
  and at most 32 groups (Wu and He 2018, arXiv 1803.08494, try both numbers). Opacus's own replacement gives 16
  channels 16 groups, which leaves of a 1x1 map nothing but the bias.
- Gradients of removed weights are set to zero before clipping: they would use up the norm of the others. Removed
  is what the mask removes and what is zero at the step. DPF has its dense weights there, which go on learning, also
  under a frozen mask; and a mask that moves is read once an epoch. Both cost norm, not privacy.
- Noise comes from a seeded generator, so that a training can be repeated. Who knows the seed can take it away.
- mia_prune's `dp` (`prune_dp.py`, pyvacy) is another training, and the accountant's epsilon does not hold for it. It
  clips the mean gradient of a microbatch of 64 samples (half a batch) instead of each sample's, and leaves out a
  microbatch that is not full. It updates all parameters by plain SGD, whatever `optimizer` says, and every epoch of
  its fine-tuning has as many steps as the whole training before. It keeps BatchNorm, and from the second epoch on
  trains in evaluation mode. Here an epoch has n / batch_size steps, and the optimizer is the study's.
- n counts as known, and so do settings that were tried on the members: no accountant sees them.
- The gradients of all samples of a batch are held at once: memory grows as batch size x parameters.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.defenses.defense import Defense, DefenseContext

if TYPE_CHECKING:
    from torch import nn

    from pruneaudit.study import Training
    from pruneaudit.training.hooks import Hook


class DpOptions(Options):
    """How much noise, against how large a gradient."""

    noise_multiplier: float | None = Field(default=None, ge=0, le=1e6)
    """Standard deviation of the noise, in units of `max_grad_norm`; 0 clips only and protects nothing provable."""
    target_epsilon: float | None = Field(default=None, gt=0, le=1e6)
    """Instead of `noise_multiplier`: the least noise that keeps epsilon below this after all epochs."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """C, the largest norm of one sample's gradient, over all weights together."""
    delta: float = Field(default=1e-5, gt=0, lt=1)
    """Probability at which epsilon may fail; to mean anything it has to be well below 1 / n."""
    accountant: Literal["rdp", "prv"] = "rdp"
    """How epsilon is computed: Renyi differential privacy (arXiv 1702.07476), or privacy random variables (arXiv
    2106.02848), which are tighter and slower. Beyond an epsilon of 100 it is always the first."""

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

    def settings(self, options: DpOptions, training: Training) -> Training:
        """Unchanged; Opacus must be there.

        Raises:
            UserError: Opacus is not installed, or the training is not in float32.
        """
        _require_opacus()
        if training.precision != "float32":
            raise UserError(
                f"defence 'dp' needs training.precision = 'float32', got '{training.precision}': the norm of each"
                " sample's gradient is what its guarantee rests on"
            )
        return training

    def prepare(self, model: nn.Module, options: DpOptions) -> nn.Module:
        """GroupNorm in the place of BatchNorm, under the same names.

        Raises:
            UserError: the network has layers that have no gradient of a single sample.
        """
        _require_opacus()
        from pruneaudit.defenses._dp_network import prepare

        return prepare(model)

    def hooks(self, model: nn.Module, options: DpOptions, context: DefenseContext) -> tuple[Hook, ...]:
        """The one hook that makes every step private, and keeps account.

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

    def report(
        self, hooks: tuple[Hook, ...], pretrained: bool | None = None, masked: bool | None = None
    ) -> dict[str, Any]:
        """What was spent, and what that means.

        Args:
            hooks: those of the training, this defence's among them.
            pretrained: as for `statement`; None: it is not known here.
            masked: as for `statement`; None: it is known here only where nothing was removed before training.

        Returns:
            `epsilon` (None: infinite) at `delta`, `noise_multiplier`, `max_grad_norm`, `sample_rate`, `steps`,
            `accountant` (the one that was used) and the `statement`.
        """
        from pruneaudit.defenses._dp_sgd import PrivateSteps

        found = [hook for hook in hooks if isinstance(hook, PrivateSteps)]
        if not found:
            return {}
        spent = found[0].spent()
        if masked is None and not found[0].began_masked:
            masked = False
        text = statement(pretrained, masked) if spent["epsilon"] is not None else WITHOUT_NOISE
        return spent | {"statement": text}


WITHOUT_NOISE = "There was no noise, so the training has no differential privacy: epsilon is infinite."


def statement(pretrained: bool | None, masked: bool | None) -> str:
    """What the epsilon of a training says of the released model, in plain words.

    Args:
        pretrained: whether the training began from weights that had been trained on members without this
            protection; None: not recorded.
        masked: whether the mask was chosen from such weights, before the training. A mask of initial weights or by
            chance was not, nor was one that moves in the training itself; one of an earlier round that was
            trained without protection was, even where the weights were then reset. None: not recorded.
    """
    reasons = []
    if pretrained:
        reasons.append("the training began from weights that were not trained privately")
    if masked:
        reasons.append("the mask was chosen from weights that were not trained privately")
    if reasons:
        return (
            f"The epsilon does not hold for the released model: {' and '.join(reasons)}. It covers the last "
            "training alone."
        )
    scope = (
        "The epsilon holds for the presence or absence of one training sample, for this release alone (releases that "
        "share samples add up), and against those who do not know the seed of the noise."
    )
    unknown = [thing for thing, fact in (("the first weights", pretrained), ("the mask", masked)) if fact is None]
    if unknown:
        return f"{scope} It fails if members shaped {' or '.join(unknown)} before, which was not recorded."
    return scope


def _require_opacus() -> None:
    if find_spec("opacus") is None:
        raise UserError("defense 'dp' needs Opacus, which is not installed; pip install 'pruneaudit[dp]'")


DEFENSE = Dp()
