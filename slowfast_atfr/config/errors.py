"""The error of this package: a wrong key or value, told so that it can be mended."""


class ConfigError(ValueError):
    """A configuration that cannot be used. The message names the key, the value seen and what may stand there."""
