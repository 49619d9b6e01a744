"""Settings shared by compressors: the layers to compress, the ranking of weights, and presets of published systems."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from pruneaudit.core import options

Symmetry = Literal["narrow", "full", "asymmetric"]
"""The codes of a grid: as many below 0 as above, one more below, or from the least to the greatest weight."""


class LayerOptions(options.Options):
    """Which weight matrices are compressed."""

    exclude: tuple[str, ...] = ()
    """Layers to leave unchanged: module names, `first_conv`, `classifier`."""
    layers: Literal["all", "convolutions", "with_embeddings"] = "all"
    """Layers to compress: every weight matrix, only convolutions, or every weight matrix and tables of embeddings."""


class CalibrationOptions(LayerOptions):
    """Which samples a method looks at when it compresses."""

    data: Literal["public", "members"] = "public"
    """Public samples (samples of the holdout in a study without them), or the network's own members. An owner of a
    network would use members; what that reveals about them is part of the audit."""
    num_samples: int = Field(default=256, ge=1)
    """How many samples, at most half of those there."""


class MaskOptions(LayerOptions):
    """Which weights are ranked together, and how many are removed.

    A method with presets lists them in `PRESETS` and has a field `preset`. A preset fills in settings that
    are not given, and refuses contradicting ones: the result would no longer be that system.
    """

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {}
    """The values of the settings that each preset fixes."""

    sparsity: float = Field(gt=0, lt=1)
    """Fraction of the prunable weights that become zero."""
    scope: Literal["global", "layerwise"] = "global"
    """Rank all weights together, or remove the same fraction of each layer."""

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, values: Any) -> Any:
        preset = values.get("preset") if isinstance(values, dict) else None
        return {**cls.PRESETS.get(preset, {}), **values} if isinstance(preset, str) else values

    @model_validator(mode="after")
    def _as_the_preset_says(self) -> MaskOptions:
        preset = getattr(self, "preset", "none")
        for key, fixed in self.PRESETS.get(preset, {}).items():
            if (got := getattr(self, key)) != fixed:
                raise ValueError(
                    f"preset '{preset}' means {key} = {fixed!r}, got {got!r}; leave {key} out, or leave the preset out"
                )
        return self
