"""Settings shared by compressors: the layers to compress, the ranking of weights, and presets of published systems."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pruneaudit.core import options

Densities = Literal["uniform", "erk"]
"""The same sparsity in each layer, or ERK; see `densities.num_removed_in`."""
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
    """Public samples (samples of the holdout in a study without them), or the network's own members. The owner of a
    network would use members; the audit then includes what this reveals about them."""
    num_samples: int = Field(default=256, ge=1)
    """Number of samples, at most half of those available."""


class SparsityOptions(LayerOptions):
    """How many weights are removed."""

    sparsity: float = Field(gt=0, lt=1)
    """Fraction of the prunable weights that become zero."""


class MaskOptions(SparsityOptions):
    """Which weights are ranked together, and how many are removed.

    A method with presets lists them in `PRESETS` and has a field `preset`. A preset fills in settings that
    are not given, and refuses contradicting ones: the result would no longer be that system.
    """

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {}
    """The values of the settings that each preset fixes."""

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


class DensityOptions(MaskOptions):
    """Which weights are ranked together, how many are removed, and how these are spread over the layers."""

    densities: Densities = "uniform"
    """How `scope = layerwise` spreads the removed weights: the same fraction of each layer, or by ERK (arXiv
    1911.11134), which leaves small layers denser."""

    @model_validator(mode="before")
    @classmethod
    def _erk_is_by_layer(cls, values: Any) -> Any:
        return {"scope": "layerwise", **values} if isinstance(values, dict) and "densities" in values else values

    @model_validator(mode="after")
    def _densities_are_of_layers(self) -> DensityOptions:
        if self.densities != "uniform" and self.scope == "global":
            raise ValueError(
                f"densities = '{self.densities}' sets the number of weights in each layer, but scope = 'global' ranks "
                f"all layers together; leave one of them out"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_the_usual(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out the default, which keeps the identities of banks that are older than this setting."""
        values: dict[str, Any] = serialise(self)
        return values if self.densities != "uniform" else {k: v for k, v in values.items() if k != "densities"}
