"""From cfg to plain data: the structure of every stage of a network, per pathway (slow, fast)."""

from dataclasses import dataclass
from typing import Any

from fvcore.common.config import CfgNode

from slowfast_atfr.config import BLOCKS, num_pathways

EXPANSION = 4  # output channels of a residual block / its inner channels

Kernels = tuple[int | tuple[int, ...], ...]  # per pathway: one for all blocks, or a cycle


@dataclass(frozen=True)
class ArchSpec:
    """What MODEL.ARCH fixes.

    Args:
        temporal_kernels: of conv1, res2 .. res5.
        widths: inner channels of (stem, res2 .. res5) as eighths of RESNET.WIDTH_PER_GROUP.
        temporal_pool: kernel and stride in time of the max pool after res2.
    """

    temporal_kernels: tuple[Kernels, ...]
    widths: tuple[int, int, int, int, int] = (8, 8, 16, 32, 64)
    temporal_pool: int = 1


_FLAT = ((1,), (1,), (1,), (1,), (1,))
_INFLATED = ((5,), (3,), ((3, 1),), ((3, 1),), ((1, 3),))

# Sources: slowfast, and slow alone, from Feichtenhofer et al., ICCV 2019; c2d and i3d from Wang et al., CVPR 2018, as
# PySlowFast has them; 3dresnet from the SGS supplement's Table A.1.
ARCHS = {
    "slowfast": ArchSpec(((1, 5), (1, 3), (1, 3), (3, 3), (3, 3))),
    "slow": ArchSpec(((1,), (1,), (1,), (3,), (3,))),
    "c2d": ArchSpec(_FLAT, temporal_pool=2),
    "slow_c2d": ArchSpec(_FLAT),
    "2d": ArchSpec(_FLAT),
    "i3d": ArchSpec(_INFLATED, temporal_pool=2),
    "slow_i3d": ArchSpec(_INFLATED),
    "3dresnet": ArchSpec(((5,), (3,), (1,), (1,), (3,)), widths=(1, 1, 8, 16, 32)),
}


@dataclass(frozen=True)
class StemSpec:
    """The first convolution and its pool. All tuples have an entry per pathway."""

    dim_in: tuple[int, ...]
    dim_out: tuple[int, ...]
    temporal_kernel: tuple[int, ...]


@dataclass(frozen=True)
class BlockSpec:
    """One residual block of one pathway; index counts the blocks of its stage from 0."""

    index: int
    dim_in: int
    dim_inner: int
    dim_out: int
    temporal_kernel: int
    stride: int
    dilation: int
    num_groups: int
    stride_1x1: bool


@dataclass(frozen=True)
class NonlocalSpec:
    """One non-local block: stage (2 for `s2`), pathway and index of the residual block before it, and its config."""

    stage: int
    pathway: int
    index: int
    dim: int
    instantiation: str
    pool: tuple[int, int, int]
    group: int

    @property
    def name(self) -> str:
        """Name of the block in its stage."""
        return f"pathway{self.pathway}_nonlocal{self.index}"


@dataclass(frozen=True)
class StageSpec:
    """One residual stage. Tuples have an entry per pathway; temporal_kernels has one per pathway and block.

    If temporal_pool > 1, a max pool over that many frames follows the stage.
    """

    dim_in: tuple[int, ...]
    dim_inner: tuple[int, ...]
    dim_out: tuple[int, ...]
    temporal_kernels: tuple[tuple[int, ...], ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    num_groups: int
    stride_1x1: bool
    temporal_pool: int = 1
    nonlocal_blocks: tuple[NonlocalSpec, ...] = ()

    def blocks(self, pathway: int) -> list[BlockSpec]:
        """The blocks of a pathway: the first one changes channels and stride."""
        return [
            BlockSpec(
                index=index,
                dim_in=self.dim_in[pathway] if index == 0 else self.dim_out[pathway],
                dim_inner=self.dim_inner[pathway],
                dim_out=self.dim_out[pathway],
                temporal_kernel=kernel,
                stride=self.stride[pathway] if index == 0 else 1,
                dilation=self.dilation[pathway],
                num_groups=self.num_groups,
                stride_1x1=self.stride_1x1,
            )
            for index, kernel in enumerate(self.temporal_kernels[pathway])
        ]


def stem_spec(cfg: CfgNode) -> StemSpec:
    """The stem: its channels and temporal kernels."""
    arch = ARCHS[cfg.MODEL.ARCH]
    dims = _pathway_dims(cfg, cfg.RESNET.WIDTH_PER_GROUP * arch.widths[0] // 8)
    return StemSpec(tuple(cfg.DATA.INPUT_CHANNEL_NUM), dims, arch.temporal_kernels[0])


def stage_specs(cfg: CfgNode) -> list[StageSpec]:
    """The four residual stages res2 .. res5; lateral connections widen the slow pathway's inputs."""
    arch, depths, specs = ARCHS[cfg.MODEL.ARCH], BLOCKS[cfg.RESNET.DEPTH], []
    dim_out = stem_spec(cfg).dim_out
    for index, blocks in enumerate(depths):
        width = cfg.RESNET.WIDTH_PER_GROUP * arch.widths[index + 1] // 8
        dim_in = _after_fusion(cfg, dim_out)
        dim_out = _pathway_dims(cfg, width * EXPANSION)
        limits = _entry_per_pathway(cfg, cfg.RESNET.NUM_BLOCK_TEMP_KERNEL[index])
        kernels = zip(arch.temporal_kernels[index + 1], limits, strict=True)
        specs.append(
            StageSpec(
                dim_in=dim_in,
                dim_inner=_pathway_dims(cfg, width * cfg.RESNET.NUM_GROUPS),
                dim_out=dim_out,
                temporal_kernels=tuple(_block_kernels(kernel, limit, blocks) for kernel, limit in kernels),
                stride=_entry_per_pathway(cfg, cfg.RESNET.SPATIAL_STRIDES[index]),
                dilation=_entry_per_pathway(cfg, cfg.RESNET.SPATIAL_DILATIONS[index]),
                num_groups=cfg.RESNET.NUM_GROUPS,
                stride_1x1=cfg.RESNET.STRIDE_1X1,
                temporal_pool=arch.temporal_pool if index == 0 else 1,
                nonlocal_blocks=_nonlocal_specs(cfg, index, dim_out),
            )
        )
    return specs


def round_width(width: float, *, divisor: int = 1) -> int:
    """The multiple of divisor nearest to width, at least divisor; the next one up if it is below 0.9 of width."""
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * width else rounded + divisor


def _block_kernels(kernel: int | tuple[int, ...], limit: int, blocks: int) -> tuple[int, ...]:
    """Temporal kernel of each block of a stage: the first `limit` follow the cycle, the rest have 1."""
    cycle = kernel if isinstance(kernel, tuple) else (kernel,)
    return tuple(cycle[index % len(cycle)] if index < limit else 1 for index in range(blocks))


def _nonlocal_specs(cfg: CfgNode, stage: int, dims: tuple[int, ...]) -> tuple[NonlocalSpec, ...]:
    """The non-local blocks of a stage, counted from 0; dims: channels of its pathways."""
    location, group, pool = (
        _entry_per_pathway(cfg, cfg.NONLOCAL[leaf][stage]) for leaf in ("LOCATION", "GROUP", "POOL")
    )
    return tuple(
        NonlocalSpec(
            stage=stage + 2,
            pathway=pathway,
            index=index,
            dim=dim,
            instantiation=cfg.NONLOCAL.INSTANTIATION,
            pool=tuple(pool[pathway]),
            group=group[pathway],
        )
        for pathway, dim in enumerate(dims)
        for index in sorted(set(location[pathway]))
    )


def _entry_per_pathway(cfg: CfgNode, entries: list[Any]) -> tuple[Any, ...]:
    return tuple(entries) * num_pathways(cfg) if len(entries) == 1 else tuple(entries)


def _pathway_dims(cfg: CfgNode, dim: int) -> tuple[int, ...]:
    """Channels of each pathway if the slow (or only) one has dim."""
    return (dim, dim // cfg.SLOWFAST.BETA_INV)[: num_pathways(cfg)]


def _after_fusion(cfg: CfgNode, dims: tuple[int, ...]) -> tuple[int, ...]:
    """Channels of each pathway after the fast one is concatenated to the slow one."""
    if len(dims) == 1:
        return dims
    return (dims[0] + dims[1] * cfg.SLOWFAST.FUSION_CONV_CHANNEL_RATIO, *dims[1:])
