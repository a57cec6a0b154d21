"""Errors that tell all in their message: whoever runs a command needs no traceback to mend them."""


class RunError(RuntimeError, ValueError):
    """A run that cannot go on, for a reason outside the program: a full disk, no readable video."""
