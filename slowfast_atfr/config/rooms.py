"""Rules that other packages check, such as whether a registry has a name."""

from importlib import import_module

from fvcore.common.config import CfgNode

# Modules with check_config(cfg), which raises ConfigError. Imported when a config is loaded, since they import config.
ROOMS = (
    "slowfast_atfr.sgs.registry",
    "slowfast_atfr.models.build",
    "slowfast_atfr.datasets.build",
    "slowfast_atfr.engine.config_rules",
)


def check_rooms(cfg: CfgNode) -> None:
    """Run all of these checks.

    Raises:
        ConfigError: naming the key, the value and the choices.
    """
    for room in ROOMS:
        import_module(room).check_config(cfg)
