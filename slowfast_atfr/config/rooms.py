"""Rules on a config that only another room of the package can check, such as whether a registry has a name."""

from importlib import import_module

from fvcore.common.config import CfgNode

# Each has check_config(cfg), which raises ConfigError. They are imported when a config is loaded and not before: these
# rooms import this one.
ROOMS = (
    "slowfast_atfr.sgs.registry",
    "slowfast_atfr.models.build",
    "slowfast_atfr.datasets.build",
    "slowfast_atfr.engine.config_rules",
)


def check_rooms(cfg: CfgNode) -> None:
    """Check the rules of all rooms.

    Raises:
        ConfigError: naming the key, the value and the choices.
    """
    for room in ROOMS:
        import_module(room).check_config(cfg)
