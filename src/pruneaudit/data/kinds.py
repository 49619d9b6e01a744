"""The kinds of inputs: images, tables, and texts as token ids.

Two dimensions can be a table or token ids, so code asks for the kind, not for the number of dimensions.
"""

# N samples, C channels, H height, W width, F features, T tokens

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pruneaudit.core.errors import UserError

Kind = Literal["image", "table", "tokens"]
"""images (N, C, H, W), tables (N, F), or texts as token ids (N, T) with lengths (N,)."""
IDS, MASK = "input_ids", "attention_mask"
"""The names under which a network gets texts."""
OF_TOKENS = "token_dropout"
"""The augmentation of texts, in training and in queries."""
_IMAGE_DIMENSIONS = 3


@dataclass(frozen=True)
class Vocabulary:
    """The ids that tokens can have, and those with a meaning of their own."""

    size: int
    """The number of ids: they are 0..size-1."""
    padding: int
    """The id after the end of a text; networks never attend to it, whatever the id."""
    unknown: int
    """The id of an unknown token; `token_dropout` replaces dropped tokens by it."""

    @property
    def numbers(self) -> tuple[int, int, int]:
        """The three numbers, in the order of the fields."""
        return self.size, self.padding, self.unknown


class TokenShape(tuple[int, ...]):
    """The shape of one text, (T,), and its vocabulary.

    Example:
        >>> shape = TokenShape(24, Vocabulary(size=2000, padding=0, unknown=1))
        >>> shape, shape.vocabulary.size
        ((24,), 2000)
    """

    vocabulary: Vocabulary

    def __new__(cls, length: int, vocabulary: Vocabulary) -> TokenShape:
        """Makes the shape of texts of `length` tokens."""
        made = super().__new__(cls, (length,))
        made.vocabulary = vocabulary
        return made

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self[0], self.vocabulary


def kind_of(shape: tuple[int, ...]) -> Kind:
    """Returns the kind of samples of this shape: (C, H, W), (F,) or a `TokenShape`."""
    if isinstance(shape, TokenShape):
        return "tokens"
    return "image" if len(shape) == _IMAGE_DIMENSIONS else "table"


def not_tokens(shape: tuple[int, ...], what: str, mend: str) -> None:
    """Refuses texts.

    Args:
        shape: the shape of one sample.
        what: what does not work with texts, for the message.
        mend: what to do instead.

    Raises:
        UserError: the samples are texts.
    """
    if kind_of(shape) == "tokens":
        raise UserError(f"{what}: got texts (token ids), expected images or tables; {mend}")
