"""The exceptions that a user can mend. Each message is one line that says what to do."""


class InputError(ValueError):
    """A foreseeable mistake in what the user gave."""


class DivergedError(RuntimeError):
    """Training left the finite numbers."""
