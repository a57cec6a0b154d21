"""The optimizer of a config, with PySlowFast's groups of parameters."""

from fvcore.common.config import CfgNode
from torch import nn, optim
from torch.nn.modules.batchnorm import _NormBase  # base of batch and instance norms

from slowfast_atfr.config import ConfigError
from slowfast_atfr.sgs import TemporalSampler

LR_FACTOR = "lr_factor"  # key of a group: factor on the config's learning rate, 1 if absent


def build_optimizer(model: nn.Module, cfg: CfgNode) -> optim.Optimizer:
    """Build the optimizer SOLVER.OPTIMIZING_METHOD with SOLVER.BASE_LR.

    Raises:
        ValueError: if no parameter requires a gradient.
    """
    solver, groups = cfg.SOLVER, parameter_groups(model, cfg)
    if solver.OPTIMIZING_METHOD == "sgd":
        momentum = {"momentum": solver.MOMENTUM, "dampening": solver.DAMPENING, "nesterov": solver.NESTEROV}
        return optim.SGD(groups, lr=solver.BASE_LR, **momentum)
    return {"adam": optim.Adam, "adamw": optim.AdamW}[solver.OPTIMIZING_METHOD](groups, lr=solver.BASE_LR)


def check_optimizer(cfg: CfgNode) -> None:
    """Raise ConfigError for Nesterov momentum without momentum."""
    solver = cfg.SOLVER
    if solver.OPTIMIZING_METHOD == "sgd" and solver.NESTEROV and (solver.MOMENTUM <= 0 or solver.DAMPENING != 0):
        raise ConfigError(
            f"SOLVER.NESTEROV is True with SOLVER.MOMENTUM {solver.MOMENTUM} and SOLVER.DAMPENING {solver.DAMPENING}; "
            "it needs a momentum above 0 and a dampening of 0, or set it to False"
        )


def set_lr(optimizer: optim.Optimizer, lr: float) -> None:
    """Set the learning rate of all groups; those of SGS get SGS.LR_FACTOR times as much."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get(LR_FACTOR, 1.0)


def parameter_groups(model: nn.Module, cfg: CfgNode) -> list[dict]:
    """Group the trainable parameters by weight decay.

    - batch and instance norms: BN.WEIGHT_DECAY.
    - other vectors and biases, with SOLVER.ZERO_WD_1D_PARAM: 0.
    - all others: SOLVER.WEIGHT_DECAY.
    Returns:
        non-empty groups in PySlowFast's order: norms, others, zero. With an SGS.LR_FACTOR other than 1 the same three
        follow for SGS, with that factor.
    Raises:
        ValueError: if no parameter requires a gradient.
    """
    of_norms = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, _NormBase)
        for parameter in module.parameters(recurse=False)
    }
    of_sgs = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, TemporalSampler) and cfg.SGS.LR_FACTOR != 1
        for parameter in module.parameters()
    }
    kinds: list[list[nn.Parameter]] = [[] for _ in range(6)]  # norms, others, zero; the same of SGS
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if id(parameter) in of_norms:
            kind = 0
        elif cfg.SOLVER.ZERO_WD_1D_PARAM and (parameter.ndim == 1 or name.endswith(".bias")):
            kind = 2
        else:
            kind = 1
        kinds[kind + 3 * (id(parameter) in of_sgs)].append(parameter)
    decays = (cfg.BN.WEIGHT_DECAY, cfg.SOLVER.WEIGHT_DECAY, 0.0)
    groups = [{"params": params, "weight_decay": decay} for params, decay in zip(kinds[:3], decays, strict=True)]
    sampler = {LR_FACTOR: cfg.SGS.LR_FACTOR}
    groups += [{"params": p, "weight_decay": decay, **sampler} for p, decay in zip(kinds[3:], decays, strict=True)]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ValueError("no parameter of the model needs a gradient, so there is nothing to train")
    return groups
