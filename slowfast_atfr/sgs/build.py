"""The SGS layers that a config asks for."""

from collections.abc import Callable, Mapping

from fvcore.common.config import CfgNode
from torch import nn

from slowfast_atfr.config import STAGES, num_pathways, per_pathway
from slowfast_atfr.sgs.sampler import SGS, PathwaySGS


def sgs_after(
    cfg: CfgNode, channels: Mapping[str, tuple[int, ...]], norm: Callable[[int], nn.Module]
) -> dict[str, PathwaySGS]:
    """Build the layers of SGS.STAGES.

    Args:
        cfg: a validated config.
        channels: channels of each pathway behind each stage that may be named.
        norm: norm over (frames, L) embeddings, of the same kind as the network's.
    Returns:
        a layer for each stage of SGS.STAGES, empty when SGS is not enabled.
    """
    if not cfg.SGS.ENABLE:
        return {}
    layers = {}
    for stage in cfg.SGS.STAGES:
        samplers = {
            pathway: _sampler(cfg, pathway, channels[stage][pathway], norm)
            for pathway in sorted(set(cfg.SGS.PATHWAYS))
            if pathway < num_pathways(cfg)
        }
        layers[stage] = PathwaySGS(samplers, label=f"s{STAGES.index(stage) + 1}_sgs")
    return layers


def _sampler(cfg: CfgNode, pathway: int, channels: int, norm: Callable[[int], nn.Module]) -> SGS:
    test_num_bins = per_pathway(cfg, "SGS.TEST_NUM_BINS")
    return SGS(
        channels,
        num_bins=per_pathway(cfg, "SGS.NUM_BINS")[pathway],
        block_size=per_pathway(cfg, "SGS.BLOCK_SIZE")[pathway],
        similarity=cfg.SGS.SIMILARITY,
        coordinates=cfg.SGS.COORDINATES,
        kernel=cfg.SGS.KERNEL,
        embed_dim=cfg.SGS.EMBED_DIM,
        order=cfg.SGS.ORDER,
        test_num_bins=test_num_bins[pathway] if test_num_bins else None,
        grad_scale=cfg.SGS.GRAD_SCALE,
        norm=norm,
        batching=cfg.SGS.BATCHING,
        pack_multiple=cfg.SGS.PACK_MULTIPLE,
    )
