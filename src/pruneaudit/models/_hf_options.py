"""The options of the model `hf`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pruneaudit.core.options import Options


class HfOptions(Options):
    """The configuration, or the folder."""

    config: dict[str, Any] = Field(default={})
    """The configuration as in config.json: `model_type`, and settings that differ from its defaults. The data determine
    `num_labels`; for texts also `vocab_size`, `pad_token_id` and `max_position_embeddings`; for images also
    `num_channels` and `image_size`."""
    folder: str = ""
    """A folder with config.json and model.safetensors, instead of a configuration; never the name of a network on a
    hub."""
    new_head: bool = False
    """With a folder: each model draws new weights for the layers after the encoder (such as `classifier`). The folder's
    own head (for other classes, or for words) is not used."""
    from_scratch: bool = False
    """With a folder: take only its architecture; each model draws all of its weights."""
    attention: Literal["sdpa", "eager"] = "sdpa"
    """How to compute attention: `sdpa`, by torch's fused function if the architecture supports it; `eager`, step by
    step."""
    strict: bool = True
    """Refuse keys of `config` that its architecture does not know. Keys in a folder's config.json are not refused."""

    @field_validator("folder")
    @classmethod
    def _at_home(cls, folder: str) -> str:
        """Replaces ~ by the home folder."""
        return str(Path(folder).expanduser()) if folder else folder

    @model_validator(mode="after")
    def _one_of_both(self) -> HfOptions:
        if bool(self.config) == bool(self.folder):
            got = "both" if self.folder else "neither"
            raise ValueError(f"got {got} of config and folder, expected one, such as folder = 'base'")
        if self.config and not isinstance(self.config.get("model_type"), str):
            raise ValueError("config: has no 'model_type', such as 'bert'")
        if self.new_head and (not self.folder or self.from_scratch):
            raise ValueError("new_head: without a folder all weights are new; leave it out, or give a folder")
        if self.from_scratch and not self.folder:
            raise ValueError("from_scratch: all weights of a config are new; leave it out")
        return self
