"""Config rules of training: names of policies, losses and optimizers, and a valid schedule."""

from fvcore.common.config import CfgNode

from slowfast_atfr.engine.losses import loss_from
from slowfast_atfr.engine.lr_policy import lr_at_epoch
from slowfast_atfr.engine.multigrid import MultigridSchedule
from slowfast_atfr.engine.optimizer import check_optimizer


def check_config(cfg: CfgNode) -> None:
    """Raise ConfigError for any reason to refuse training that the config alone shows."""
    if not cfg.TRAIN.ENABLE:
        return
    lr_at_epoch(cfg, 0)
    loss_from(cfg)
    check_optimizer(cfg)
    MultigridSchedule(cfg)
