"""The settings that methods which remove channels share; torch-free."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pruneaudit.core import options


class ChannelOptions(options.Options):
    """What sparsity means, what stays, and whether a published system is reproduced."""

    sparsity: float = Field(gt=0, lt=1)
    """Fraction of `target` that goes."""
    target: Literal["params", "channels", "macs"] = "params"
    """What sparsity is the removed fraction of: all weight matrices, so that releases of all
    methods compare; channels of the layers that can shrink; or multiply-accumulates."""
    exclude: tuple[str, ...] = ()
    """Layers that keep their outputs: module names, `first_conv`, `classifier` (which always keeps them)."""
    max_channel_sparsity: float = Field(default=0.95, gt=0, lt=1)
    """No layer loses a larger fraction of its channels than this; one channel always stays."""
    preset: Literal["none", "mia_prune"] = "none"
    """`mia_prune` masks channels as that system does, instead of removing them; it takes no other setting."""

    @model_validator(mode="after")
    def _a_preset_stands_alone(self) -> ChannelOptions:
        if self.preset != "none":
            fields = {
                key: field.default
                for key, field in type(self).model_fields.items()
                if key not in ("preset", "sparsity")
            }
            set_too = [key for key, default in fields.items() if getattr(self, key) != default]
            if set_too:
                raise ValueError(
                    f"preset '{self.preset}' has no use for {', '.join(set_too)}; leave it out, or leave the preset out"
                )
        return self
