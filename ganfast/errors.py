"""The one exception for mistakes that a user can make and can mend."""


class InputError(ValueError):
    """A foreseeable mistake in what the user gave; the message is one line that says what to do."""
