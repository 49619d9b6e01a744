"""Published chains of compressors under one name.

| name | steps | source |
|---|---|---|
| `deep-compression` | `l1unstructured`, `finetune`, `kmeans` | Han et al. 2016, arXiv 1510.00149 |

Such a name can be used like the name of a compressor; it stands for its steps. An option goes to the steps that have
it; a degree can also be given next to the name. Defaults of `deep-compression` are those of the paper: it removes 90%
of the weights, and keeps 32 shared values in linear layers and 256 in convolutions (`clusters` sets both). The
release's own fine-tuning comes last. Sizes count the entropy of the cluster numbers, which is close to the size of the
paper's Huffman codes. Deviation: one threshold for all layers, as in `l1unstructured`, instead of one for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pruneaudit.core.registry import nearest
from pruneaudit.study.plugins import Plugin


@dataclass(frozen=True)
class Chain:
    """A chain with a name."""

    summary: str
    steps: tuple[tuple[str, tuple[str, ...]], ...]
    """For each step: the compressor, and the names of the chain's options that it gets."""
    defaults: tuple[Mapping[str, Any], ...]
    """Groups of options that are filled in together, unless the first of the group is given."""

    @property
    def degrees(self) -> tuple[str, ...]:
        """The options that say how much, which name its releases: the first of each group."""
        return tuple(next(iter(group)) for group in self.defaults)


CHAINS = {
    "deep-compression": Chain(
        "Prunes, fine-tunes, and clusters what is left; the release's fine-tuning follows.",
        (
            ("l1unstructured", ("sparsity", "scope", "exclude", "layers")),
            ("finetune", ("epochs",)),
            ("kmeans", ("clusters", "convolution_clusters", "init", "reduce", "exclude", "layers")),
        ),
        ({"sparsity": 0.9}, {"clusters": 32, "convolution_clusters": 256}),
    )
}


def steps_of_chain(plugin: Plugin, beside: Mapping[str, Any]) -> list[Plugin]:
    """Returns the steps that a plug-in stands for: those of a chain, or the plug-in itself.

    Args:
        plugin: a compressor, or a chain with its options.
        beside: the settings beside it, among which degrees can stand.

    Raises:
        ValueError: the chain has no such option.

    Example:
        >>> [step.label for step in steps_of_chain(Plugin(name="deep-compression"), {"sparsity": 0.7})]
        ['l1unstructured', 'finetune', 'kmeans:clusters=32:convolution_clusters=256']
    """
    chain = CHAINS.get(plugin.name)
    if chain is None:
        return [plugin]
    known = sorted({key for _, keys in chain.steps for key in keys})
    for key in plugin.options:
        if key not in known:
            raise ValueError(
                f"'{plugin.name}': unknown option '{key}'{nearest(key, known)}; known options: {', '.join(known)}"
            )
    given = {*plugin.options, *beside}
    defaults = {
        key: value for group in chain.defaults if next(iter(group)) not in given for key, value in group.items()
    }
    options = defaults | plugin.options
    return [
        Plugin(name=name, options={key: options[key] for key in keys if key in options}) for name, keys in chain.steps
    ]


def with_chains(steps: Sequence[Plugin], release_name: str) -> list[Plugin]:
    """Returns compressors with each chain after which a release is named in the place of its steps.

    The reverse of `steps_of_chain`, apart from options that equal the chain's defaults.

    Args:
        steps: the compressors, in order.
        release_name: the name of the release.
    """
    left, found = list(steps), []
    while left:
        chains = (_chain_at(name, left) for name in CHAINS if name in release_name)
        chain = next((chain for chain in chains if chain), None)
        found.append(chain or left[0])
        left = left[len(CHAINS[chain.name].steps) if chain else 1 :]
    return found


def _chain_at(name: str, steps: Sequence[Plugin]) -> Plugin | None:
    """Returns the chain of that name, with options, whose steps come first; None if they do not."""
    first = list(steps[: len(CHAINS[name].steps)])
    options = {key: value for step in first for key, value in step.options.items()}
    for group in CHAINS[name].defaults:
        if group.items() <= options.items():
            options = {key: value for key, value in options.items() if key not in group}
    keys = {key for _, keys in CHAINS[name].steps for key in keys}
    chain = Plugin(name=name, options=options)
    return chain if options.keys() <= keys and steps_of_chain(chain, {}) == first else None
