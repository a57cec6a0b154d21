"""Residual blocks and stages, for dense tensors and packed clips alike. Parameter names are PySlowFast's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from slowfast_atfr.models.convolution import FramesConv3d, conv3d
from slowfast_atfr.models.nonlocal_block import Nonlocal
from slowfast_atfr.models.norm import CountedBatchNorm, FramesBatchNorm3d, Norm
from slowfast_atfr.models.stages import BlockSpec, StageSpec
from slowfast_atfr.models.transforms import TRANSFORMS, SqueezeExcitation
from slowfast_atfr.packed import Clips, PackedClips, over_clips_frames, over_frames

# layers that treat each frame by itself, and take frames as well as clips
FRAMEWISE = (FramesConv3d, FramesBatchNorm3d, CountedBatchNorm, nn.ReLU, nn.SiLU, nn.Identity)
IN_ORDER = (*TRANSFORMS.values(), nn.Sequential)  # branches that run their layers one after the other


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


def functions_are_seen() -> bool:
    """Whether a torch function mode is active, other than torch's for `torch.device` and default devices."""
    return not all(isinstance(mode, DeviceContext) for mode in _get_current_function_mode_stack())


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
        if isinstance(x, PackedClips) and (stretches := self._stretches()):
            return self._by_stretches(x, stretches)
        branch = self.branch2(x)  # first, as in the stretches: sync norms need one order
        return self._join(branch, self.branch1_bn(self.branch1(x)) if "branch1" in self._modules else x)

    def _join(self, branch: Clips, shortcut: Clips) -> Clips:
        relu = self.relu
        inplace = relu.inplace and not torch.is_grad_enabled()
        return relu(branch.add_(shortcut) if inplace else shortcut + branch)

    def _stretches(self) -> tuple[Stretch, ...]:
        """Stretches of the branch; none if hooks of its layers, or a torch function mode, see what the layers get."""
        layers = *self._modules.values(), *self.branch2._modules.values()
        if self._cut[0] != layers:  # the first time, and after layers were replaced
            own = [layer for layer in self._modules.values() if layer is not self.branch2]
            known = type(self.branch2) in IN_ORDER and all(isinstance(layer, FRAMEWISE) for layer in own)
            self._cut = layers, stretches_of(layers[len(self._modules) :]) if known else ()
        return () if any(map(has_hooks, layers)) or functions_are_seen() else self._cut[1]

    def _by_stretches(self, x: PackedClips, stretches: Sequence[Stretch]) -> PackedClips:
        """Run the layers between two that look at whole clips in one call, on all frames as a plain tensor."""
        branch, *_, last = x, *stretches
        run = run_frames if self.compiled is None or not can_compile(self) else self.compiled
        for stretch in stretches:
            factors = None
            if stretch.first is not None and not isinstance(stretch.first, SqueezeExcitation):
                branch = stretch.first(branch)
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
    """Whether a block's stretches depend on frames alone."""
    norms = (layer for part in (block, block.branch2) for layer in part._modules.values())
    return not any(isinstance(norm, CountedBatchNorm) and norm.needs_others for norm in norms)


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
