"""Blocks and attention of ours cost what reaches torch's kernels, as they were built and after changes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.flop_counter import FlopCounterMode

from slowfast_atfr.analysis import clip_macs
from slowfast_atfr.analysis.mac_shapes import rule_of
from slowfast_atfr.models.attention import TemporalAttention, TemporalGate
from slowfast_atfr.models.nonlocal_block import Nonlocal
from slowfast_atfr.models.norm import FramesBatchNorm3d
from slowfast_atfr.models.resnet import ResBlock
from slowfast_atfr.models.stages import BlockSpec, NonlocalSpec
from slowfast_atfr.packed import pack

NORM = {"norm": FramesBatchNorm3d}


def res_block(cls=ResBlock, kind="bottleneck", stride=1):
    block = BlockSpec(0, 8, 4, 16, temporal_kernel=3, stride=stride, dilation=1, num_groups=1, stride_1x1=False)
    return cls(block, trans_func=f"{kind}_transform", inplace_relu=True, **NORM)


def nonlocal_block(cls=Nonlocal, kind="dot_product"):
    return cls(NonlocalSpec(2, 0, 0, 8, kind, (1, 2, 2), 1), **NORM)


def attention(cls=TemporalAttention):
    return cls(8, 4, **NORM)


class Adapted(nn.Module):
    """A layer with an adaptor of low rank next to it."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.down, self.up = nn.Conv3d(base.in_channels, 2, 1), nn.Conv3d(2, base.out_channels, 1)

    def forward(self, x):
        return self.base(x) + self.up(self.down(x))


class WithExtra(ResBlock):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.extra = nn.Conv3d(16, 16, 1)

    def forward(self, x):
        return self.extra(super().forward(x))


class WithoutShortcut(ResBlock):
    def forward(self, x):
        return self.branch2(x)


class OtherNonlocal(Nonlocal):
    pass


class OtherAttention(TemporalAttention):
    pass


class OtherGate(TemporalGate):
    pass


def changed(module, name, change):
    """With the layer `name` replaced by `change(layer)`."""
    *parents, last = name.split(".")
    parent = module.get_submodule(".".join(parents))
    parent.add_module(last, change(getattr(parent, last, None)))
    return module


def hooked(module, name, hook, when=""):
    getattr(module.get_submodule(name), f"register_forward_{when}hook")(hook)
    return module


def with_forward(module, name, forward):
    layer = module.get_submodule(name)
    before = layer.forward
    layer.forward = lambda x: forward(before, x)
    return module


def with_matrix(module):
    module.matrix = nn.Parameter(torch.ones(2, 2))
    return module


def halved(_, args):
    return F.avg_pool3d(args[0], (1, 2, 2))


def multiplied(_, args, out):
    return out + F.conv3d(args[0], torch.ones(out.shape[1], args[0].shape[1], 1, 1, 1, dtype=out.dtype))


WITH_RULE = {
    "bottleneck": res_block,
    "bottleneck, stride": lambda: res_block(stride=2),
    "basic": lambda: res_block(kind="basic"),
    "basic, another layer": lambda: changed(res_block(kind="basic"), "branch2.c", lambda _: nn.Conv3d(16, 16, 1)),
    "x3d": lambda: res_block(kind="x3d"),
    "dot product": nonlocal_block,
    "softmax": lambda: nonlocal_block(kind="softmax"),
    "attention": attention,
    "gate": lambda: attention(TemporalGate),
    "no norm": lambda: changed(res_block(), "branch2.c_bn", lambda _: nn.Identity()),
    "layer after the last": lambda: changed(res_block(), "branch2.d", lambda _: nn.Conv3d(16, 16, 1)),
    "nonlocal, wide g": lambda: changed(
        changed(nonlocal_block(), "conv_g", lambda _: nn.Conv3d(8, 6, 1)), "conv_out", lambda _: nn.Conv3d(6, 8, 1)
    ),
}
CHANGED = {
    "block with an extra convolution": lambda: res_block(WithExtra),
    "block without its shortcut": lambda: res_block(WithoutShortcut),
    "adaptor": lambda: changed(res_block(), "branch2.c", Adapted),
    "dropout after a convolution": lambda: changed(
        res_block(), "branch2.c", lambda c: nn.Sequential(c, nn.Dropout3d())
    ),
    "nonlocal of others": lambda: nonlocal_block(OtherNonlocal),
    "attention of others": lambda: attention(OtherAttention),
    "gate of others": lambda: attention(OtherGate),
    "nonlocal, theta": lambda: changed(nonlocal_block(), "conv_theta", lambda c: nn.Sequential(c, nn.Identity())),
    "nonlocal, adaptor": lambda: changed(nonlocal_block(), "conv_g", Adapted),
    "nonlocal, pool": lambda: changed(nonlocal_block(), "pool", lambda _: nn.AvgPool3d((2, 2, 2))),
    "attention, gather": lambda: changed(attention(), "conv_gather", lambda c: nn.Sequential(c, nn.Identity())),
    "attention, value": lambda: changed(attention(), "conv_value", Adapted),
    "gate, value": lambda: changed(attention(TemporalGate), "conv_value", Adapted),
    "pool in place of an activation": lambda: changed(
        changed(res_block(), "branch1", lambda _: nn.Conv3d(8, 16, 1, (1, 2, 2))),
        "branch2.a_relu",
        lambda _: nn.MaxPool3d((1, 2, 2)),
    ),
    "convolution in place of a norm": lambda: changed(res_block(), "branch1_bn", lambda _: nn.Conv3d(16, 16, 1)),
    "pooled shortcut": lambda: changed(res_block(), "branch1", lambda c: nn.Sequential(nn.AvgPool3d(1), c)),
    "gate of a block": lambda: changed(res_block(kind="x3d"), "branch2.se.fc1", lambda c: nn.Sequential(c)),
    "frames between": lambda: changed(
        changed(res_block(), "branch2.a", lambda _: nn.Conv3d(8, 4, (2, 1, 1), padding=(1, 0, 0))),
        "branch2.b",
        lambda _: nn.Conv3d(4, 4, (2, 3, 3), padding=(0, 1, 1)),
    ),
    "same padding": lambda: changed(res_block(), "branch2.b", lambda _: nn.Conv3d(4, 4, 3, padding="same")),
    "computed weight": lambda: changed(res_block(), "branch2.b", parametrizations.weight_norm),
    "hook before a branch": lambda: hooked(
        changed(res_block(), "branch1", lambda _: nn.Conv3d(8, 16, 1, (1, 2, 2))), "branch2", halved, "pre_"
    ),
    "hook after a layer": lambda: hooked(res_block(), "branch2.c", multiplied),
    "hook in nonlocal": lambda: hooked(nonlocal_block(), "conv_out", multiplied),
    "hook in attention": lambda: hooked(attention(), "conv_value", multiplied),
    "hook after a lone layer": lambda: hooked(nn.Sequential(nn.Conv3d(8, 6, 1)), "0", multiplied),
    "forward of a layer": lambda: with_forward(res_block(), "branch2.c", lambda run, x: run(x) + run(x)),
    "forward of a branch": lambda: with_forward(res_block(), "branch2", lambda run, x: run(x) + run(x)),
    "forward of attention": lambda: with_forward(attention(), "", lambda run, x: run(run(x))),
    "attention with a matrix": lambda: with_matrix(attention()),
}


def total_macs(model, clips):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(clips)
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("name", [*WITH_RULE, *CHANGED])
def test_each_clip_costs_what_reaches_torchs_kernels_for_it_alone(name):
    torch.manual_seed(0)
    model = (WITH_RULE | CHANGED)[name]().eval().double()  # oneDNN's kernels, of float32, are not torch's
    dense = torch.randn(2, 8, 6, 6, 8).double()
    expected = total_macs(model, dense) / 2
    assert expected > 0 and clip_macs(model, dense).tolist() == [expected] * 2
    assert clip_macs(nn.Sequential(model), dense).tolist() == [expected] * 2
    clips = [torch.randn(8, length, 6, 8).double() for length in (4, 6, 4)]
    alone = [total_macs(model, clip[None]) for clip in clips]
    if "frames between" not in name:  # an even kernel does not keep the lengths of packed clips
        assert clip_macs(model, pack(clips)).tolist() == alone


@pytest.mark.parametrize("name", [*WITH_RULE, *CHANGED])
def test_what_was_changed_has_no_rule(name):
    assert (rule_of((WITH_RULE | CHANGED)[name]()) is not None) == (name in WITH_RULE)
