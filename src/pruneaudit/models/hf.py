"""Networks of Hugging Face Transformers: a classifier from a configuration, or from a folder on this machine.

Texts: `AutoModelForSequenceClassification`; images: `AutoModelForImageClassification`. From a configuration the weights
are drawn from the model's own generator. A folder (config.json, model.safetensors) gives the architecture and the
weights that all models start from. Weights are float32. Nothing is downloaded, unpickled or run from the folder.

Needs the extra `hf`.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pruneaudit.core.errors import UserError
from pruneaudit.models._hf_folder import check_weights, network_in
from pruneaudit.models._hf_options import HfOptions
from pruneaudit.models.model import Model

if TYPE_CHECKING:
    import torch


class Hf(Model[HfOptions]):
    """A classifier of Transformers that returns logits alone; its weights keep their names."""

    takes_tokens = True
    draws_own_weights = True

    def folder(self, options: HfOptions) -> str:
        """The folder, if it was given."""
        return options.folder

    def starts_from_folder(self, options: HfOptions) -> bool:
        """Whether the weights come from there too."""
        return bool(options.folder) and not options.from_scratch

    def has_new_head(self, options: HfOptions) -> bool:
        """Whether each model draws its own head."""
        return options.new_head

    def without_folder(self, options: HfOptions, network: str) -> HfOptions:
        """The same network with the configuration that the folder has."""
        config = json.loads(network)
        if options.new_head or options.from_scratch:
            config.pop("num_labels", None)  # the data say it
        return HfOptions(config=config, attention=options.attention, strict=False)

    def build(self, options: HfOptions, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """The network, in training mode; with a folder it has the folder's weights.

        Raises:
            UserError: transformers is not installed, or the configuration or the folder does not fit the data.
        """
        if self.starts_from_folder(options):
            return self.from_folder(options, input_shape, num_classes)[0]
        require_transformers()
        from pruneaudit.models._hf import from_config

        if options.folder:
            options = self.without_folder(options, network_in(options.folder))
        return from_config(options, input_shape, num_classes)

    def from_folder(
        self, options: HfOptions, input_shape: tuple[int, ...], num_classes: int
    ) -> tuple[torch.nn.Module, frozenset[str]]:
        """The network with the folder's weights, in training mode, and the names of the tensors of a new head."""
        require_transformers()
        from pruneaudit.models._hf import from_folder

        settled = self.without_folder(options, network_in(options.folder))
        check_weights(options.folder)
        return from_folder(options, settled, input_shape, num_classes)


def require_transformers() -> None:
    """Checks that Transformers is installed.

    Raises:
        UserError: it is not.
    """
    if find_spec("transformers") is None:
        raise UserError("model 'hf' needs transformers, which is not installed; pip install 'pruneaudit[hf]'")


MODEL = Hf()
