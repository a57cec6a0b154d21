"""Warnings about valid configs that probably do not do what their author expects."""

import logging

import torch
from fvcore.common.config import CfgNode
from torch import nn

from slowfast_atfr.config import per_pathway
from slowfast_atfr.models.borders import zero_padded_before_sgs
from slowfast_atfr.utils.precision import lacks_convolutions

logger = logging.getLogger(__name__)


def warn_of_config(cfg: CfgNode, device: torch.device) -> None:
    """Warn about precision, order of channels and blocks of SGS."""
    _warn_of_slow_precision(cfg, device)
    _warn_of_channel_order(cfg)
    _warn_of_blocks_of_2(cfg)


def _warn_of_slow_precision(cfg: CfgNode, device: torch.device) -> None:
    """Warn if the device has no fast convolutions in the chosen half precision."""
    chosen = cfg.TRAIN.AMP_DTYPE
    if not cfg.TRAIN.MIXED_PRECISION or not lacks_convolutions(getattr(torch, chosen), device):
        return
    (other,) = {"float16", "bfloat16"} - {chosen}
    remedy = "TRAIN.MIXED_PRECISION False"
    if not lacks_convolutions(getattr(torch, other), device):
        remedy = f"TRAIN.AMP_DTYPE {other}, or {remedy}"
    logger.warning(
        "TRAIN.MIXED_PRECISION is True with TRAIN.AMP_DTYPE %s, in which this %s has no fast convolutions: it will be "
        "slow. Choose %s",
        chosen,
        {"cpu": "CPU", "cuda": "GPU"}[device.type],
        remedy,
    )


def _warn_of_channel_order(cfg: CfgNode) -> None:
    if cfg.DATA.REVERSE_INPUT_CHANNEL and not cfg.DATA.BGR_INPUT:
        logger.warning(
            "DATA.REVERSE_INPUT_CHANNEL is True, which in PySlowFast turns SSv2's BGR frames into RGB. Here frames are "
            "read as RGB, so the key has no effect: remove it. For a network trained on BGR set DATA.BGR_INPUT True"
        )


def _warn_of_blocks_of_2(cfg: CfgNode) -> None:
    """With `linear` the frame of largest similarity lies on the border of its bin and weighs 0; not with `path`."""
    sgs, sizes = cfg.SGS, per_pathway(cfg, "SGS.BLOCK_SIZE")
    sampled = any(size == 2 and pathway in sgs.PATHWAYS for pathway, size in enumerate(sizes))
    if sgs.ENABLE and sampled and sgs.KERNEL in ("linear", "linear_normalized") and sgs.SIMILARITY != "path":
        logger.warning(
            "SGS.BLOCK_SIZE is %s and SGS.KERNEL %r: in blocks of 2 the frame of larger similarity weighs 0, so at "
            "most one of two frames counts, and maps of zeros are computed. It is the paper's setting for SSv2; "
            "SGS.KERNEL linear_mean loses no frame, and SGS.BLOCK_SIZE [0] takes whole clips",
            sgs.BLOCK_SIZE,
            sgs.KERNEL,
        )


def warn_of_ends(cfg: CfgNode, network: nn.Module) -> None:
    """Segments are cut where frames differ, and zero padding makes frames near the ends differ."""
    stages = zero_padded_before_sgs(network) if cfg.SGS.GROUPING == "segments" else []
    if stages:
        logger.warning(
            "SGS.GROUPING is segments, and %s pad clips with zeros in time, so frames near the ends of a clip always "
            "differ and even a static clip is cut there. MODEL.REPLICATE_PAD_STAGES [%s] repeats the outer frames "
            "instead; weights fit both",
            " and ".join(stages),
            ", ".join(stages),
        )
