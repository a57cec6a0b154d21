"""Learning rate as a function of the epoch, which may be a fraction: PySlowFast's policies, with its warm-up."""

import bisect
import math

from fvcore.common.config import CfgNode

from slowfast_atfr.config import ConfigError


def lr_at_epoch(cfg: CfgNode, epoch: float) -> float:
    """Return the learning rate at `epoch`, counted from 0.

    During the first WARMUP_EPOCHS it is linear from WARMUP_START_LR to the policy's value at WARMUP_EPOCHS. With
    BASE_LR_SCALE_NUM_SHARDS all is multiplied by NUM_SHARDS.
    Raises:
        ConfigError: for an unknown SOLVER.LR_POLICY.
    """
    solver = cfg.SOLVER
    if solver.LR_POLICY not in POLICIES:
        raise ConfigError(f"SOLVER.LR_POLICY is {solver.LR_POLICY!r}; choose one of {', '.join(sorted(POLICIES))}")
    policy = POLICIES[solver.LR_POLICY]
    if epoch < solver.WARMUP_EPOCHS:
        done = epoch / solver.WARMUP_EPOCHS
        lr = solver.WARMUP_START_LR + done * (policy(solver, solver.WARMUP_EPOCHS) - solver.WARMUP_START_LR)
    else:
        lr = policy(solver, epoch)
    return lr * cfg.NUM_SHARDS if solver.BASE_LR_SCALE_NUM_SHARDS else lr


def cosine(solver: CfgNode, epoch: float) -> float:
    """Half a cosine wave from BASE_LR to COSINE_END_LR; with COSINE_AFTER_WARMUP it begins after the warm-up."""
    start = solver.WARMUP_EPOCHS if solver.COSINE_AFTER_WARMUP else 0.0
    if start >= solver.MAX_EPOCH:
        raise ConfigError(
            f"SOLVER.WARMUP_EPOCHS is {start} and SOLVER.MAX_EPOCH {solver.MAX_EPOCH}; "
            "SOLVER.COSINE_AFTER_WARMUP needs epochs after the warm-up"
        )
    wave = (math.cos(math.pi * (epoch - start) / (solver.MAX_EPOCH - start)) + 1.0) / 2
    return solver.COSINE_END_LR + (solver.BASE_LR - solver.COSINE_END_LR) * wave


def steps_with_relative_lrs(solver: CfgNode, epoch: float) -> float:
    """BASE_LR times the entry of LRS for the last of STEPS reached."""
    return solver.BASE_LR * solver.LRS[bisect.bisect_right(solver.STEPS, epoch) - 1]


POLICIES = {"cosine": cosine, "steps_with_relative_lrs": steps_with_relative_lrs}
