"""The error for a wrong key or value."""

from typing import Any


class ConfigError(ValueError):
    """A configuration that cannot be used. The message names the key, the value seen and the choices."""


def fail_unless(holds: bool, key: str, value: Any, rule: str) -> None:
    """Raise ConfigError unless a rule about a key's value holds."""
    if not holds:
        raise ConfigError(f"{key} is {value!r}; {rule}")
