"""Residual blocks and stages, for dense tensors and packed clips alike. Parameter names are PySlowFast's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import _get_current_function_mode_stack

from slowfast_atfr.models.convolution import FramesConv3d, conv3d
from slowfast_atfr.models.nonlocal_block import Nonlocal
from slowfast_atfr.models.norm import CountedBatchNorm, FramesBatchNorm3d, Norm
from slowfast_atfr.models.stages import BlockSpec, StageSpec, round_width
from slowfast_atfr.packed import (
    Clips,
    PackedClips,
    over_clips_frames,
    over_frames,
    with_equal_gaps,
    with_gaps_if_faster,
)
from slowfast_atfr.packed.gapped import without_gaps


class BottleneckTransform(nn.Sequential):
    """conv Tx1x1 -> 1x3x3 -> 1x1x1, each with norm, and ReLU between: (N, C, T, H, W) -> (N, C', T, H/s, W/s).

    Args:
        block: channels, kernels and strides.
        norm, inplace_relu: as everywhere in the network.
        temporal_kernels: of the first and the second convolution; by default the first one has the block's.
        before_c: layers between the second norm and the last convolution, by name; by default a ReLU.
    """

    def __init__(
        self,
        block: BlockSpec,
        *,
        norm: Norm,
        inplace_relu: bool,
        temporal_kernels: tuple[int, int] | None = None,
        before_c: dict[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        kernel_a, kernel_b = temporal_kernels or (block.temporal_kernel, 1)
        stride_a, stride_b = (block.stride, 1) if block.stride_1x1 else (1, block.stride)
        self.a = conv3d(
            block.dim_in,
            block.dim_inner,
            (kernel_a, 1, 1),
            stride=(1, stride_a, stride_a),
            padding=(kernel_a // 2, 0, 0),
        )
        self.a_bn = norm(block.dim_inner)
        self.a_relu = nn.ReLU(inplace=inplace_relu)
        self.b = conv3d(
            block.dim_inner,
            block.dim_inner,
            (kernel_b, 3, 3),
            stride=(1, stride_b, stride_b),
            padding=(kernel_b // 2, block.dilation, block.dilation),
            dilation=(1, block.dilation, block.dilation),
            groups=block.num_groups,
        )
        self.gap = (
            kernel_b // 2 if block.num_groups == block.dim_inner else 0
        )  # frames between clips that a channelwise b keeps, see GappedClips
        self.b_bn = norm(block.dim_inner)
        for name, layer in (before_c or {"b_relu": nn.ReLU(inplace=inplace_relu)}).items():
            self.add_module(name, layer)
        self.c = conv3d(block.dim_inner, block.dim_out, (1, 1, 1))
        self.c_bn = norm(block.dim_out)

    @property
    def final_bn(self) -> nn.Module:
        """The norm whose weight RESNET.ZERO_INIT_FINAL_BN starts at zero."""
        return self.c_bn


class X3DTransform(BottleneckTransform):
    """conv 1x1x1 -> Tx3x3 -> 1x1x1, each with norm: (N, C, T, H, W) -> (N, C', T, H/s, W/s).

    ReLU follows the first; squeeze-and-excitation, in every other block, and swish the second.
    Source: Feichtenhofer, X3D, CVPR 2020.
    """

    def __init__(self, block: BlockSpec, *, norm: Norm, inplace_relu: bool) -> None:
        squeeze = {"se": SqueezeExcitation(block.dim_inner, inplace=inplace_relu)} if block.index % 2 == 0 else {}
        super().__init__(
            block,
            norm=norm,
            inplace_relu=inplace_relu,
            temporal_kernels=(1, block.temporal_kernel),
            before_c={**squeeze, "b_relu": Swish(inplace=inplace_relu)},
        )


class SqueezeExcitation(nn.Module):
    """Scale every channel of a clip by a factor in (0, 1), computed from the clip's means.

    Source: Hu et al., CVPR 2018; the hidden layer has a sixteenth of the channels, rounded to a multiple of 8.

    Args:
        dim: channels.
        inplace: whether the input may be overwritten where no backward pass needs it.
    """

    def __init__(self, dim: int, *, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace
        hidden = round_width(dim / 16, divisor=8)
        self.fc1 = nn.Conv3d(dim, hidden, 1)
        self.fc2 = nn.Conv3d(hidden, dim, 1)

    def forward(self, x: Clips) -> Clips:
        return self.scale(x, self.factors(x))

    def factors(self, x: Clips) -> Tensor:
        """(N, C, 1, 1, 1), from the means over each clip's own frames."""
        return torch.sigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool3d(x, 1)))))

    def scale(self, x: Clips, factors: Tensor) -> Clips:
        """x, or frames of it, by factors that broadcast."""
        return x.mul_(factors) if self.inplace and not torch.is_grad_enabled() else x * factors


class Swish(nn.SiLU):
    """x * sigmoid(x); in place only without gradients: autograd would keep a copy of the input."""

    def forward(self, x: Clips) -> Clips:
        return F.silu(x, inplace=self.inplace and not torch.is_grad_enabled())


class BasicTransform(nn.Module):
    """conv Tx3x3 -> 1x3x3, each with norm, and ReLU between: (N, C, T, H, W) -> (N, C', T, H/s, W/s).

    The second convolution has the block's dilation; only a bottleneck has groups and inner channels.
    """

    gap = 0

    def __init__(self, block: BlockSpec, *, norm: Norm, inplace_relu: bool) -> None:
        super().__init__()
        kernel, stride, padding = block.temporal_kernel, block.stride, (block.temporal_kernel // 2, 1, 1)
        self.a = conv3d(block.dim_in, block.dim_out, (kernel, 3, 3), stride=(1, stride, stride), padding=padding)
        self.a_bn = norm(block.dim_out)
        self.a_relu = nn.ReLU(inplace=inplace_relu)
        dilated = (block.dilation, block.dilation)
        self.b = conv3d(block.dim_out, block.dim_out, (1, 3, 3), padding=(0, *dilated), dilation=(1, *dilated))
        self.b_bn = norm(block.dim_out)

    @property
    def final_bn(self) -> nn.Module:
        """The norm whose weight RESNET.ZERO_INIT_FINAL_BN starts at zero."""
        return self.b_bn

    def forward(self, x: Clips) -> Clips:
        return self.b_bn(self.b(self.a_relu(self.a_bn(self.a(x)))))


# layers that treat each frame by itself, and take frames as well as clips
FRAMEWISE = (FramesConv3d, FramesBatchNorm3d, CountedBatchNorm, nn.ReLU, nn.SiLU, nn.Identity)


@dataclass(frozen=True)
class Stretch:
    """A layer that looks at whole clips, or None, and the frame-wise layers after it."""

    first: nn.Module | None
    layers: tuple[nn.Module, ...]

    def run(self, lengths: Sequence[int], factors: Tensor | None, frames: Tensor) -> Tensor:
        """Run the layers on (S, C, H, W) frames of clips; factors: those of a squeeze-and-excitation `first`."""
        if factors is not None:
            frames = self.first.scale(frames, factors)
        for layer in self.layers:
            frames = layer(frames, lengths) if isinstance(layer, CountedBatchNorm) else layer(frames)
        return frames


def stretches_of(layers: Sequence[nn.Module]) -> tuple[Stretch, ...]:
    """Cut before each layer that looks at whole clips; no stretches if a layer is of an unknown type."""
    cuts, known = [0], True
    for index, layer in enumerate(layers):
        if isinstance(layer, SqueezeExcitation | nn.Conv3d) and not isinstance(layer, FramesConv3d):
            cuts.append(index)
        elif not isinstance(layer, FRAMEWISE):
            known = False
    parts = [tuple(layers[begin:end]) for begin, end in zip(cuts, [*cuts[1:], len(layers)], strict=True)]
    stretches = Stretch(None, parts[0]), *(Stretch(part[0], part[1:]) for part in parts[1:])
    return stretches if known else ()


def has_hooks(layer: nn.Module) -> bool:
    """Whether hooks are registered on a module itself."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks)


def is_watched(layer: nn.Module) -> bool:
    """Whether a layer has hooks that do not take frames as well as clips."""
    if not has_hooks(layer):
        return False
    hooks = layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks
    return not all(hasattr(hook, "takes_frames") for of_kind in hooks for hook in of_kind.values())


TRANSFORMS = {  # by RESNET.TRANS_FUNC
    "bottleneck_transform": BottleneckTransform,
    "basic_transform": BasicTransform,
    "x3d_transform": X3DTransform,
}


class ResBlock(nn.Module):
    """ReLU(shortcut(x) + transform(x)); the shortcut is a 1x1x1 convolution where channels or stride change."""

    def __init__(self, block: BlockSpec, *, trans_func: str, norm: Norm, inplace_relu: bool) -> None:
        super().__init__()
        if block.dim_in != block.dim_out or block.stride != 1:
            stride = (1, block.stride, block.stride)
            self.branch1 = conv3d(block.dim_in, block.dim_out, (1, 1, 1), stride=stride)
            self.branch1_bn = norm(block.dim_out)
        self.branch2 = TRANSFORMS[trans_func](block, norm=norm, inplace_relu=inplace_relu)
        self.relu = nn.ReLU(inplace=inplace_relu)
        self.compiled: Callable[..., Tensor] | None = None  # compiled `run_frames`
        self._cut: tuple[tuple[nn.Module, ...], tuple[Stretch, ...]] = ((), ())  # all layers, the stretches

    def forward(self, x: Clips) -> Clips:
        learns = self._learns_statistics()  # over clips, without gaps
        x = without_gaps(x) if learns else with_gaps_if_faster(x, self.branch2.gap)
        if isinstance(x, PackedClips):
            stretches = self._stretches()
            if stretches:
                return self._by_stretches(x, stretches, learns)
        branch = self.branch2(x)  # first, as in the stretches: sync norms need one order
        return self._join(branch, self.branch1_bn(self.branch1(x)) if "branch1" in self._modules else x)

    def _learns_statistics(self) -> bool:
        layers = (*self._modules.values(), *self.branch2._modules.values())
        return any(layer.training and isinstance(layer, _BatchNorm) for layer in layers)

    def _join(self, branch: Clips, shortcut: Clips) -> Clips:
        relu = self.relu
        inplace = relu.inplace and not torch.is_grad_enabled()
        return relu(branch.add_(shortcut) if inplace else shortcut + branch)

    def _stretches(self) -> tuple[Stretch, ...]:
        """Stretches of the branch; none if layers of this block have hooks."""
        layers = *self._modules.values(), *self.branch2._modules.values()
        if self._cut[0] != layers:  # the first time, and after layers were replaced
            known = all(isinstance(own, FRAMEWISE) for own in self._modules.values() if own is not self.branch2)
            self._cut = layers, stretches_of(layers[len(self._modules) :]) if known else ()
        return () if any(map(is_watched, layers)) else self._cut[1]

    def _by_stretches(self, x: PackedClips, stretches: Sequence[Stretch], learns: bool) -> PackedClips:
        """Run the layers between two that look at whole clips in one call, on all frames as a plain tensor."""
        branch, *_, last = x, *stretches
        run = run_frames if self.compiled is None or not can_compile(self) else self.compiled
        for stretch in stretches:
            factors = None
            if stretch.first is not None and not isinstance(stretch.first, SqueezeExcitation):
                branch = without_gaps(stretch.first(branch)) if learns else stretch.first(branch)
            if stretch is last:
                branch, x = with_equal_gaps(branch, x)
            if isinstance(stretch.first, SqueezeExcitation):
                factors = over_clips_frames(branch, stretch.first.factors(branch))
            if stretch is last:
                return over_frames(partial(run, self, stretch, x.lengths, factors), branch, x)
            if stretch.layers or factors is not None:
                branch = over_frames(partial(run, self, stretch, x.lengths, factors), branch)

    def run_frames(
        self, stretch: Stretch, lengths: Sequence[int], factors: Tensor | None, frames: Tensor, x: Tensor | None = None
    ) -> Tensor:
        """Run a stretch on (S, C, H, W) frames; with the input's frames x, also the shortcut and the sum."""
        frames = stretch.run(lengths, factors, frames)
        if x is None:
            return frames
        if "branch1" in self._modules:
            x = Stretch(None, (self.branch1, self.branch1_bn)).run(lengths, None, x)
        return self._join(frames, x)


run_frames = ResBlock.run_frames


def can_compile(block: ResBlock) -> bool:
    """Whether a block's stretches depend on frames alone, and no torch function mode is active."""
    norms = (layer for part in (block, block.branch2) for layer in part._modules.values())
    counted = any(isinstance(norm, CountedBatchNorm) and norm.needs_others for norm in norms)
    return not counted and not _get_current_function_mode_stack()


class ResStage(nn.Module):
    """The blocks of one stage for every pathway, `pathway{p}_res{i}`, and non-local ones, `pathway{p}_nonlocal{i}`."""

    def __init__(self, spec: StageSpec, *, trans_func: str, norm: Norm, inplace_relu: bool) -> None:
        super().__init__()
        self.num_blocks = len(spec.temporal_kernels[0])
        nonlocal_specs = {(block.pathway, block.index): block for block in spec.nonlocal_blocks}
        for pathway in range(len(spec.dim_out)):
            for block in spec.blocks(pathway):
                layer = ResBlock(block, trans_func=trans_func, norm=norm, inplace_relu=inplace_relu)
                self.add_module(f"pathway{pathway}_res{block.index}", layer)
                nonlocal_spec = nonlocal_specs.get((pathway, block.index))
                if nonlocal_spec is not None:
                    self.add_module(nonlocal_spec.name, Nonlocal(nonlocal_spec, norm=norm))

    def forward(self, pathways: list[Clips]) -> list[Clips]:
        out = []
        for pathway, x in enumerate(pathways):
            for index in range(self.num_blocks):
                for name in (f"pathway{pathway}_res{index}", f"pathway{pathway}_nonlocal{index}"):
                    if name in self._modules:
                        x = self._modules[name](x)
            out.append(x)
        return out
