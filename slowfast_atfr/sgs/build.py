"""The SGS layers that a config asks for."""

from collections.abc import Callable, Mapping

from fvcore.common.config import CfgNode
from torch import nn

from slowfast_atfr.config import STAGES, num_pathways, per_pathway
from slowfast_atfr.sgs.pathways import PathwaySGS
from slowfast_atfr.sgs.sampler import SGS
from slowfast_atfr.sgs.segment_sampler import SegmentSGS
from slowfast_atfr.sgs.temporal_sampler import TemporalSampler


def sgs_after(
    cfg: CfgNode, channels: Mapping[str, tuple[int, ...]], norm: Callable[[int], nn.Module]
) -> dict[str, PathwaySGS]:
    """Build the layers of SGS.STAGES.

    Args:
        cfg: a validated config.
        channels: channels of each pathway after each stage.
        norm: norm over (frames, L) embeddings, of the same kind as the network's.
    Returns:
        a layer for each stage of SGS.STAGES; empty if SGS is not enabled.
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
        layers[stage] = PathwaySGS(samplers, f"s{STAGES.index(stage) + 1}_sgs", aligned=cfg.SGS.ALIGN_PATHWAYS)
    return layers


def _sampler(cfg: CfgNode, pathway: int, channels: int, norm: Callable[[int], nn.Module]) -> TemporalSampler:
    def own(leaf: str) -> int | float | None:
        entries = per_pathway(cfg, f"SGS.{leaf}")
        return entries[pathway] if entries else None

    shared = {
        "num_bins": own("NUM_BINS"),
        "test_num_bins": own("TEST_NUM_BINS"),
        "block_size": own("BLOCK_SIZE"),
        "batching": cfg.SGS.BATCHING,
        "pack_multiple": cfg.SGS.PACK_MULTIPLE,
    }
    if cfg.SGS.GROUPING == "segments":
        return SegmentSGS(
            channels,
            target_maps=own("TARGET_MAPS"),
            test_target_maps=own("TEST_TARGET_MAPS"),
            size_penalty=cfg.SGS.SIZE_PENALTY,
            features=cfg.SGS.FEATURES,
            loss=cfg.SGS.SEGMENT_LOSS,
            segment_map=cfg.SGS.SEGMENT_MAP,
            **shared,
        )
    return SGS(
        channels,
        similarity=cfg.SGS.SIMILARITY,
        coordinates=cfg.SGS.COORDINATES,
        kernel=cfg.SGS.KERNEL,
        embed_dim=cfg.SGS.EMBED_DIM,
        order=cfg.SGS.ORDER,
        grad_scale=cfg.SGS.GRAD_SCALE,
        norm=norm,
        **shared,
    )
