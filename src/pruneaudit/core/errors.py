"""The exceptions that are no defect of the program: wrong input, and runs that could not go on."""


def printable(text: str, keep: str = "") -> str:
    """A text with what a terminal would obey rather than show escaped: names and messages may be somebody else's.

    Args:
        text: any.
        keep: letters to leave as they are, such as the ends of lines in a traceback.
    """
    return "".join(letter if letter.isprintable() or letter in keep else ascii(letter)[1:-1] for letter in text)


def in_one_line(error: BaseException, limit: int = 300) -> str:
    """What another's code raised, as a part of a line: kind and message, cut after so many letters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:limit]


class UserError(ValueError):
    """A mistake in what the program was given: a study, a file, an argument.

    The message is one line that says what was got, what was expected and how to mend it.
    The command line prints it and ends with exit code 2, without a traceback. What a terminal would
    obey rather than show is escaped, since messages quote files that others wrote.

    Example:
        >>> pruneaudit.Release(compress="rtn:bits=40")
        Traceback (most recent call last):
        pruneaudit.core.errors.UserError: ...
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(" ".join(message.split())))


class RunError(RuntimeError):
    """A run could not be finished; what was finished before is kept, and the same command goes on from there.

    The command line prints the one-line message and ends with exit code 1.
    """

    details = ""
    """A traceback, where there is one."""


class StorageError(RunError):
    """The disk is full, or a size limit was exceeded."""

    def __init__(self, place: object, reason: str) -> None:
        super().__init__(f"{place}: cannot write ({reason}); make room there")
