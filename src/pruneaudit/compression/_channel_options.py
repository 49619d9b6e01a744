"""Settings shared by all methods that remove channels; imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pruneaudit.core import options


class ChannelOptions(options.Options):
    """The meaning of sparsity, the layers to keep, and the published system to reproduce."""

    sparsity: float = Field(gt=0, lt=1)
    """Fraction of `target` to remove."""
    target: Literal["params", "channels", "macs"] = "params"
    """Sparsity is the removed fraction of this: of all weight matrices, so that releases of all methods are
    comparable; of the channels of layers that can shrink; or of multiply-accumulates."""
    exclude: tuple[str, ...] = ()
    """Layers that keep their outputs: module names, `first_conv`, `classifier` (which always keeps them)."""
    max_channel_sparsity: float = Field(default=0.95, gt=0, lt=1)
    """Largest fraction of its channels that a layer can lose; one channel always stays."""
    preset: Literal["none", "mia_prune"] = "none"
    """`mia_prune` masks channels as that system does, instead of removing them; it allows no other setting."""

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
                    f"preset '{self.preset}' does not use {', '.join(set_too)}; leave it out, or leave the preset out"
                )
        return self
