"""What the command line turns into one sentence and exit code 2."""


class UsageError(Exception):
    """A setting or an argument that cannot be used; the message is for the user."""
