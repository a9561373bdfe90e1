"""The exceptions that a user, or a backend's caller, can act on. Each message is one line that says
what to do: ``argument: got X; do Y``."""

__all__ = ["DivergedError", "InputError", "InputTypeError", "Refusal"]


class InputError(ValueError):
    """A foreseeable mistake in what the user gave."""


class InputTypeError(InputError, TypeError):
    """The same where the type is the mistake, for callers that expect Python's TypeError."""


class DivergedError(RuntimeError):
    """Training left the finite numbers."""


class Refusal(Exception):
    """A backend cannot serve this very call; nothing has been done. The message is the reason."""


class NoState(Refusal):
    """A step needs state that is not there yet: torch too makes it at the first step."""

    def __init__(self) -> None:
        super().__init__("a parameter has no state yet")


def one_line(error: BaseException) -> str:
    """What ``error`` says, on one line and without Python's decoration."""
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename!r}" if error.filename else ""
        return f"{error.strerror}{where}"
    return " ".join(str(error).split()) or type(error).__name__
