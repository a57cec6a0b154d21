"""SlowFast, the 3D ResNets and X3D: one loop over stem, stages, SGS and lateral connections."""

import math
from functools import partial
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from fvcore.nn.weight_init import c2_msra_fill
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast_atfr.config import ALL_STAGES, ARCHS, RESIDUAL_STAGES, STAGES, ConfigError, num_pathways
from slowfast_atfr.models.activation_checkpoint import run_checkpointed
from slowfast_atfr.models.attention import attention_after
from slowfast_atfr.models.borders import replicate_in_time
from slowfast_atfr.models.build import MODEL_REGISTRY
from slowfast_atfr.models.compiled import CompiledFrames, CompiledStages
from slowfast_atfr.models.fusion import FuseFastToSlow
from slowfast_atfr.models.head import Head, ResNetBasicHead
from slowfast_atfr.models.norm import Norm, norm_from
from slowfast_atfr.models.resnet import ResBlock, ResStage
from slowfast_atfr.models.stages import StageSpec, StemSpec, stage_specs, stem_spec
from slowfast_atfr.models.stem import ResNetBasicStem, VideoModelStem
from slowfast_atfr.packed import Clips, PackedClips, pack_dense, sizes_of, to_dense, with_sizes
from slowfast_atfr.sgs import sgs_after
from slowfast_atfr.utils.exporting import is_exporting

SPATIAL_STRIDE = 32  # from input to last maps: stem 4, res3 to res5 2 each; X3D 2 five times


class VideoResNet(nn.Module):
    """stem `s1`, stages `s2` .. `s5`, `head`; `s{i}_attention`, `s{i}_sgs` and `s{i}_fuse` where cfg asks for them.

    C2D and I3D halve the frames after res2 (`pathway0_pool`); SGS after res2 follows that pool.

    forward takes one (N, 3, T_p, H, W) for each pathway and returns (N, num_classes): logits in training, probabilities
    in evaluation. A subclass defines `archs`, and the parts that are not a ResNet's.
    """

    archs: tuple[str, ...] = ()
    stem_kind: type[nn.Module] = ResNetBasicStem

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self._check_arch(cfg)
        stem, stages = self.specs(cfg)
        norm, inplace = norm_from(cfg), cfg.RESNET.INPLACE_RELU
        dims = [stem.dim_out, *(spec.dim_out for spec in stages)]
        channels = dict(zip(STAGES, dims[:4], strict=True))
        attention, samplers = attention_after(cfg, channels, norm), sgs_after(cfg, channels, norm_from(cfg, dims=1))
        fusion = {
            "channel_ratio": cfg.SLOWFAST.FUSION_CONV_CHANNEL_RATIO,
            "kernel": cfg.SLOWFAST.FUSION_KERNEL_SZ,
            "alpha": cfg.SLOWFAST.ALPHA,
            "norm": norm,
            "inplace_relu": inplace,
            "pad": cfg.SGS.FUSION_PAD,
        }
        stage_options = {"trans_func": cfg.RESNET.TRANS_FUNC, "norm": norm, "inplace_relu": inplace}
        for index in range(1, 6):
            if index == 1:
                self.s1 = VideoModelStem(stem, kind=self.stem_kind, norm=norm, inplace_relu=inplace)
            else:
                self.add_module(f"s{index}", ResStage(stages[index - 2], **stage_options))
                if stages[index - 2].temporal_pool > 1:
                    self.pathway0_pool = nn.MaxPool3d((stages[index - 2].temporal_pool, 1, 1))
            for suffix, layers in (("attention", attention), ("sgs", samplers)):
                if index <= len(STAGES) and STAGES[index - 1] in layers:
                    self.add_module(f"s{index}_{suffix}", layers[STAGES[index - 1]])
            if index < 5 and num_pathways(cfg) == 2:
                self.add_module(f"s{index}_fuse", FuseFastToSlow(dims[index - 1][1], **fusion))
        self.last_sgs = max((1 + STAGES.index(stage) for stage in samplers), default=0)
        for stage in cfg.MODEL.REPLICATE_PAD_STAGES:
            self._replicate_pad(stage)
        stages_again = cfg.MODEL.ACT_CHECKPOINT_STAGES if cfg.MODEL.ACT_CHECKPOINT else []
        self.checkpointed = frozenset(f"s{RESIDUAL_STAGES.index(stage) + 2}" for stage in stages_again)
        dense = 1 + min((STAGES.index(stage) for stage in samplers), default=4)  # stages without a sampler before them
        self.compiled = CompiledStages(f"s{index}" for index in range(1, dense + 1)) if cfg.MODEL.COMPILE else None
        if cfg.MODEL.COMPILE:
            for index in range(max(2, dense + 1), 6):
                frames = CompiledFrames(f"s{index}")
                for block in self._modules[f"s{index}"].modules():
                    if isinstance(block, ResBlock):
                        block.compiled = frames
        side = math.ceil(cfg.DATA.TRAIN_CROP_SIZE / SPATIAL_STRIDE)
        head_options = {
            "pool_size": (side, side),
            "dropout_rate": cfg.MODEL.DROPOUT_RATE,
            "act": cfg.MODEL.HEAD_ACT,
            "weighted": cfg.SGS.WEIGHTED_HEAD,
        }
        self.head = self.make_head(cfg, stages[-1], norm, **head_options)
        self._init_weights(cfg.MODEL.FC_INIT_STD, cfg.RESNET.ZERO_INIT_FINAL_BN)

    @classmethod
    def check_config(cls, cfg: CfgNode) -> None:
        """Raise ConfigError if no network can be built from this config; it allocates no memory for one."""
        cls._check_arch(cfg)
        cls.specs(cfg)
        if cfg.MODEL.REPLICATE_PAD_STAGES:  # only a network shows whether a stage has such convolutions
            with torch.device("meta"):
                cls(cfg)

    @classmethod
    def _check_arch(cls, cfg: CfgNode) -> None:
        if cfg.MODEL.ARCH not in cls.archs:
            raise ConfigError(
                f"MODEL.MODEL_NAME is {cls.__name__!r}, which goes with MODEL.ARCH {', '.join(cls.archs)}; "
                f"MODEL.ARCH is {cfg.MODEL.ARCH!r}"
            )

    @classmethod
    def specs(cls, cfg: CfgNode) -> tuple[StemSpec, list[StageSpec]]:
        """The structure of the stem and of res2 .. res5."""
        return stem_spec(cfg), stage_specs(cfg)

    def make_head(self, cfg: CfgNode, last: StageSpec, norm: Norm, **options: Any) -> Head:
        """The classifier after the last stage; the options are those of Head."""
        return ResNetBasicHead(last.dim_out, cfg.MODEL.NUM_CLASSES, **options)

    def _replicate_pad(self, stage: str) -> None:
        index = 1 + ALL_STAGES.index(stage)
        parts = [f"s{index - 1}_fuse", f"s{index}"]  # a stage includes the lateral connection before it
        padded = replicate_in_time(nn.ModuleList(self._modules[part] for part in parts if part in self._modules))
        if not any(getattr(module, "repeats_ends", False) for module in padded.modules()):
            raise ConfigError(
                f"MODEL.REPLICATE_PAD_STAGES has {stage!r}, which has no convolution that pads time in this network; "
                "leave it out"
            )

    def forward(self, pathways: list[Tensor]) -> Tensor:
        x, sizes = pathways, [None] * len(pathways)
        if not is_exporting():  # the runtime of an exported file chooses its own layout
            x = [clips.contiguous(memory_format=torch.channels_last_3d) for clips in x]
        for index in range(1, 6):
            x = self._run_stage(f"s{index}", x)
            if index == 2 and hasattr(self, "pathway0_pool"):
                x = [self.pathway0_pool(x[0])]  # networks with it have one pathway
            if f"s{index}_attention" in self._modules:
                x = self._modules[f"s{index}_attention"](x)
            if f"s{index}_sgs" in self._modules:
                x = self._modules[f"s{index}_sgs"](x)
                if index == self.last_sgs:
                    sizes = [sizes_of(clips) if self.head.weighted else None for clips in x]
                    x = self._dense_where_even(x)
            if f"s{index}_fuse" in self._modules:
                x = self._modules[f"s{index}_fuse"](x)
        return self.head([_with_sizes(clips, own) for clips, own in zip(x, sizes, strict=True)])

    def _dense_where_even(self, x: list[Clips]) -> list[Clips]:
        """In inference, return pathways with clips of one length as dense tensors: views, which need fewer calls.

        A single clip always has one length. With gradients or compiled code clips stay packed.
        """
        if torch.is_grad_enabled() or self.compiled is not None:
            return x
        return [to_dense(clips) if isinstance(clips, PackedClips) and clips.layout.is_even else clips for clips in x]

    def _run_stage(self, name: str, x: list[Clips]) -> list[Clips]:
        stage = run = self._modules[name]
        if self.compiled is not None and name in self.compiled and all(isinstance(clips, Tensor) for clips in x):
            run = partial(self.compiled.run, name, stage)
        again = name in self.checkpointed and torch.is_grad_enabled()
        return run_checkpointed(stage, x, run) if again else run(x)

    def _init_weights(self, fc_std: float, zero_final_bn: bool) -> None:
        """MSRA for convolutions (He et al., 2015), ones for norms, a narrow Gaussian for the classifier.

        Not on the meta device, where `normal_` imports torch's compiler, which takes seconds.
        """
        if self.head.projection.weight.is_meta:
            return
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                c2_msra_fill(module)
            elif isinstance(module, _BatchNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if zero_final_bn and hasattr(module, "final_bn"):  # a residual branch
                nn.init.zeros_(module.final_bn.weight)
            if hasattr(module, "start_at_one"):  # a gate
                module.start_at_one()
        nn.init.normal_(self.head.projection.weight, std=fc_std)
        nn.init.zeros_(self.head.projection.bias)


def _with_sizes(clips: Clips, sizes: np.ndarray | None) -> Clips:
    """Dense clips packed again, with the sizes of their maps."""
    return clips if sizes is None or isinstance(clips, PackedClips) else with_sizes(pack_dense(clips), tuple(sizes))


@MODEL_REGISTRY.register()
class SlowFast(VideoResNet):
    """Two pathways at different frame rates (Feichtenhofer et al., ICCV 2019)."""

    archs = ("slowfast",)


@MODEL_REGISTRY.register()
class ResNet(VideoResNet):
    """One pathway: SlowFast's slow one alone, C2D, I3D, and the 3D ResNets of the SGS supplement's Table A.1."""

    archs = tuple(arch for arch in ARCHS if arch not in ("slowfast", "x3d"))
