"""The registry of networks and the function that builds one from a config."""

from collections.abc import Callable

import torch
from fvcore.common.config import CfgNode
from fvcore.common.registry import Registry
from torch import nn

from slowfast_atfr.config import ConfigError

MODEL_REGISTRY = Registry("MODEL")


def build_model(cfg: CfgNode) -> nn.Module:
    """The network that MODEL.MODEL_NAME names, on the CPU, its convolutions in channels_last_3d.

    Call it on every process of a run at the same point: sync_batchnorm forms its process groups here.

    Raises:
        ConfigError: for a name that is not registered, or with MODEL.COMPILE for a network that compiles no stages.
    """
    name = cfg.MODEL.MODEL_NAME
    model = _model_class(name)(cfg)
    if cfg.MODEL.COMPILE and getattr(model, "compiled", None) is None:
        raise ConfigError(f"MODEL.COMPILE is True, but {name} has no stages to compile; set it to False")
    return model.to(memory_format=torch.channels_last_3d)


def check_config(cfg: CfgNode) -> None:
    """Raise ConfigError for a name that is not registered, or a config that its class, if it looks, refuses."""
    check = getattr(_model_class(cfg.MODEL.MODEL_NAME), "check_config", None)
    if check is not None:
        check(cfg)


def _model_class(name: str) -> Callable[[CfgNode], nn.Module]:
    if name not in MODEL_REGISTRY:
        known = ", ".join(sorted(key for key, _ in MODEL_REGISTRY))
        raise ConfigError(f"MODEL.MODEL_NAME is {name!r}; choose one of {known}")
    return MODEL_REGISTRY.get(name)
