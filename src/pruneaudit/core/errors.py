"""Exceptions that are not bugs of the program: wrong input, and runs that cannot continue."""


def printable(text: str, keep: str = "") -> str:
    """Escapes characters that a terminal would execute instead of show; names and messages can come from strangers.

    Args:
        text: any text.
        keep: characters to keep, such as the line ends of a traceback.
    """
    return "".join(letter if letter.isprintable() or letter in keep else ascii(letter)[1:-1] for letter in text)


def in_one_line(error: BaseException, limit: int = 300) -> str:
    """Returns an exception of foreign code as part of a line: type and message, cut at `limit` characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:limit]


class UserError(ValueError):
    """A mistake in the user's input: a study, a file, an argument.

    The message is one line that says what was got, what was expected and how to fix it.
    The command line prints it and exits with code 2, without a traceback. Characters that a terminal
    would execute are escaped, because messages quote files that others wrote.

    Example:
        >>> pruneaudit.Release(compress="rtn:bits=40")
        Traceback (most recent call last):
        pruneaudit.core.errors.UserError: ...
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(" ".join(message.split())))


class RunError(RuntimeError):
    """A run could not be finished; finished parts are kept, and the same command continues from there.

    The command line prints the one-line message and exits with code 1.
    """

    details = ""
    """A traceback, if there is one."""


class StorageError(RunError):
    """The disk is full, or a size limit was exceeded."""

    def __init__(self, place: object, reason: str) -> None:
        super().__init__(f"{place}: cannot write ({reason}); free some space there")
