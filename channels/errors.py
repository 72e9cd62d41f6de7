"""The errors that the packages raise on bad input, and the warnings that they give."""

__all__ = ["InvalidArgumentError", "MemoryLimitError", "NearFieldWarning"]


class InvalidArgumentError(ValueError):
    """An argument breaks its contract.

    Parameters
    ----------
    argument : str
        Name of the argument as the caller wrote it.
    expected : str
        What it should have been.
    got : str
        What it was.
    """

    def __init__(self, argument: str, expected: str, got: str) -> None:
        super().__init__(f"{argument}: expected {expected}, got {got}")
        self.argument = argument
        self.expected = expected
        self.got = got

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        # ValueError would rebuild from the one joined message; workers hand errors back to their parent.
        return type(self), (self.argument, self.expected, self.got)


class MemoryLimitError(MemoryError):
    """A request would need more memory than its limit allows.

    Parameters
    ----------
    what : str
        What was asked for.
    needed, limit : int
        Bytes needed and bytes allowed.
    mend : str
        What to change so that the request fits.
    """

    def __init__(self, what: str, needed: int, limit: int, mend: str) -> None:
        super().__init__(f"{what} needs {needed / 1e9:.3g} GB, the limit is {limit / 1e9:.3g} GB: {mend}")
        self.what = what
        self.needed = needed
        self.limit = limit
        self.mend = mend

    def __reduce__(self) -> tuple[type, tuple[str, int, int, str]]:
        return type(self), (self.what, self.needed, self.limit, self.mend)


class NearFieldWarning(UserWarning):
    """A hop is so short that waves are not plane over its arrays, and a model takes them to be."""
