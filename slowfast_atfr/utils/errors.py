"""Errors that a user can fix by their message, without a traceback."""


class RunError(RuntimeError, ValueError):
    """A run that cannot continue for a reason outside the program: a full disk, no readable video."""
