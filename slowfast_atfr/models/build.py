"""The registry of networks and the function that builds one from a config."""

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
    if name not in MODEL_REGISTRY:
        known = ", ".join(sorted(key for key, _ in MODEL_REGISTRY))
        raise ConfigError(f"MODEL.MODEL_NAME is {name!r}; choose one of {known}")
    model = MODEL_REGISTRY.get(name)(cfg)
    if cfg.MODEL.COMPILE and getattr(model, "compiled", None) is None:
        raise ConfigError(f"MODEL.COMPILE is True, but {name} compiles no stages of its own; set it to False")
    return model.to(memory_format=torch.channels_last_3d)
