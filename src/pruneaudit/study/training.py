"""Settings of training and fine-tuning."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pruneaudit.core.options import Options, validated
from pruneaudit.study.lora import Lora
from pruneaudit.study.user_function import UserFunction

FUNCTION_PARAMETERS = ("model", "x", "y", "generator", "device")
"""The arguments of a user's training function, by name."""
OWN, SHARED = "own", "shared"
"""The initial weights of dense networks: each has its own, or all have the same. Any other value is the path of a
file."""
Milestones = tuple[Annotated[int, Field(ge=1)], ...]

Augment = Literal["none", "flip", "crop_flip", "token_dropout"]
"""The random augmentations: of images, or of texts."""


class Training(Options):
    """How one network is trained."""

    epochs: int = Field(default=30, ge=1, le=100_000)
    batch_size: int = Field(default=128, ge=1)
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of SGD; Adam does not use it."""
    weight_decay: float = Field(default=5e-4, ge=0)
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """Learning rate over the steps: a cosine down to zero, multiplied by `decay` at each milestone, or constant."""
    milestones: Milestones = ()
    """Epochs after which the step schedule multiplies the learning rate by `decay`."""
    decay: float = Field(default=0.1, gt=0, le=1)
    augment: Augment = "none"
    """Random augmentation of each training sample. Images: flip (horizontal), or crop_flip (crop after padding by 4
    pixels, and flip). Texts: token_dropout, which replaces 15% of the tokens by the unknown token."""
    select: Literal["last", "best_dev"] = "last"
    """The epoch whose weights to keep: the last, or the most accurate on the dev set (public samples)."""
    patience: int | None = Field(default=None, ge=0, le=100_000)
    """With best_dev: stop after more than this many epochs in a row without a new best dev accuracy; none: train all
    epochs."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the forward and backward passes; `bfloat16` uses torch's autocast, for GPUs and for processors with
    AMX (1.8 to 2.8 times as fast for convolutional networks; slower on other processors). Weights, optimizer and
    signals are always float32. Changing the precision makes a different bank."""
    init: str = Field(default=OWN, min_length=1)
    """Initial weights of the dense networks, and of releases from new weights: `own` (each model draws its own),
    `shared` (one draw for all models), or a file of weights that all start from, such as a public parent. Membership
    and the order of samples always differ between models. A release with another `model` than that of the file draws
    its own weights. (The option `init` of a model is the distribution of these draws.)"""
    init_key: str = ""
    """Key of the weights in that file, such as "state_dict"; default: the key that fits."""
    keep_early: int | float | None = None
    """Keep the weights of each dense network after this epoch, or after this fraction of all steps (such as 0.02).
    `iterative:rewind=early` uses them (arXiv 1903.01611); without them it repeats the early training."""
    lora: Lora | None = None
    """Train only the head, and low-rank matrices added to some layers; none: train all weights. Releases that start
    from a parent, or have another model, do not inherit this setting."""
    function: UserFunction | None = None
    """Your own training function, `package.module:train`, called with model, x, y, generator and device. It replaces
    the training loop for networks that are trained from new weights without compression or defence."""

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that determine the weights, as JSON data.

        With a user's function no other setting matters; the hash of its source is recorded separately. So are initial
        weights other than a model's own, which releases share with their dense networks.
        """
        if self.function is not None:
            return {"function": self.function}
        # Defaults of later settings are left out, which keeps the identities of older banks.
        usual = {"init", "init_key"} | ({"precision"} if self.precision == "float32" else set())
        usual |= {name for name in ("keep_early", "lora") if getattr(self, name) is None}
        return self.model_dump(mode="json", exclude={"function", *usual})

    @property
    def init_file(self) -> str:
        """The file of weights that all networks start from; empty without one."""
        return "" if self.init in (OWN, SHARED) else self.init

    @property
    def of_release(self) -> Training:
        """The same training for a release from new weights: only the dense networks keep early weights."""
        return self.model_copy(update={"keep_early": None})

    @field_validator("keep_early")
    @classmethod
    def _epoch_or_fraction(cls, given: float | None) -> float | None:
        if given is None or 0 < given < 1:
            return given
        if given < 1 or given != int(given):
            raise ValueError(f"got {given:g}, expected an epoch (1, 2, ...), or a fraction of all steps such as 0.02")
        return int(given)

    @model_validator(mode="after")
    def _settings_go_together(self) -> Training:
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError("schedule 'step' needs milestones = [epoch, ...]; other schedules take none")
        if self.patience is not None and self.select != "best_dev":
            raise ValueError(f"patience = {self.patience} needs select = 'best_dev', because it uses the dev set")
        if self.init_key and not self.init_file:
            raise ValueError(
                f"init_key = '{self.init_key}' needs a file of weights, got init = '{self.init}'; set init to the file,"
                " or leave the key out"
            )
        if isinstance(self.keep_early, int) and self.keep_early >= self.epochs:
            raise ValueError(
                f"keep_early = {self.keep_early} is no early epoch of {self.epochs}; expected an epoch below"
                f" {self.epochs}, or a fraction of all steps such as 0.02"
            )
        if self.function is not None and self.keep_early is not None:
            raise ValueError(
                f"keep_early applies to the training loop, but {self.function} replaces the loop: leave it out"
            )
        if self.lora is not None and (self.function is not None or self.keep_early is not None):
            other = f"function = '{self.function}'" if self.function else f"keep_early = {self.keep_early:g}"
            raise ValueError(
                f"lora cannot be combined with {other}: it needs the training loop, and does not change early "
                f"weights; leave one out"
            )
        if self.function is not None and self.precision != "float32":
            raise ValueError(
                f"precision = '{self.precision}' applies to the training loop, but {self.function} replaces the loop: "
                f"leave it out"
            )
        if self.function is not None and self.select == "best_dev":
            raise ValueError(
                f"select = 'best_dev' chooses among epochs of the training loop, but {self.function} replaces the "
                f"loop: choose the epoch in your function, or set select for finetune only"
            )
        return self


class FineTuning(Options):
    """Training after compression; omitted settings are as in `training`."""

    epochs: int = Field(ge=1, le=100_000)
    batch_size: int | None = Field(default=None, ge=1)
    optimizer: Literal["sgd", "adam"] | None = None
    learning_rate: float | None = Field(default=None, gt=0)
    momentum: float | None = Field(default=None, ge=0, lt=1)
    weight_decay: float | None = Field(default=None, ge=0)
    schedule: Literal["cosine", "step", "constant"] | None = None
    milestones: Milestones | None = None
    decay: float | None = Field(default=None, gt=0, le=1)
    augment: Augment | None = None
    select: Literal["last", "best_dev"] | None = None
    patience: int | None = Field(default=None, ge=0, le=100_000)
    lora: Lora | Literal[False] | None = None
    """Train only low-rank matrices and the head; false: all weights. Default: as in `training` for networks that start
    like the dense ones (parent = "init", the same model), otherwise all weights."""

    def over(self, training: Training, where: str = "finetune", starts_alike: bool = False) -> Training:
        """Returns `training`, overridden by the settings given here.

        Args:
            training: the training of the dense networks.
            where: names it in messages.
            starts_alike: whether it starts where the dense networks do, and so trains the same weights.
        """
        # Fine-tuning always uses the loop, which reapplies the mask after each step.
        values = training.model_dump() | self.model_dump(exclude_none=True) | {"function": None, "keep_early": None}
        values["lora"] = self.lora or (training.lora if starts_alike and self.lora is None else None)
        if values["schedule"] != "step" and self.milestones is None:
            values["milestones"] = ()
        if values["select"] != "best_dev" and self.patience is None:
            values["patience"] = None
        return validated(Training, values, where)
