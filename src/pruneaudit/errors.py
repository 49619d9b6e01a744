"""The one exception that means "the user's input is wrong, not the program"."""


class UserError(ValueError):
    """A mistake in what the program was given: a study, a file, an argument.

    The message is one line that says what was got, what was expected and how to mend it.
    The command line prints it and ends with exit code 2, without a traceback. What a terminal would
    obey rather than show is escaped, since messages quote files that others wrote.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.split())
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))
