"""Copies of a clip's outer frames beyond its ends: as if they had been put there, and a still clip stays still."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slowfast_atfr.analysis import count_macs
from slowfast_atfr.config import ConfigError
from slowfast_atfr.models import build_model, fold_norms
from slowfast_atfr.models.borders import replicate_in_time
from slowfast_atfr.models.convolution import TemporalConv3d
from slowfast_atfr.models.fusion import FuseFastToSlow
from slowfast_atfr.models.stem import StemConv3d
from slowfast_atfr.sgs import record
from tests.alone import assert_each_as_alone
from tests.covering import pairs_first

CONVOLUTIONS = [  # kernel, stride, padding, dilation, groups
    ((3, 3, 3), (1, 2, 2), (1, 1, 1), (1, 1, 1), 1),
    ((5, 1, 1), (1, 1, 1), (2, 0, 0), (1, 1, 1), 4),
    ((7, 1, 1), (4, 1, 1), (3, 0, 0), (1, 1, 1), 1),
    ((4, 3, 3), (3, 1, 1), (2, 1, 1), (1, 1, 1), 2),
    ((3, 3, 3), (1, 1, 1), (2, 2, 2), (2, 2, 2), 1),
]


def padded_before(conv, x):
    """What a convolution does to clips that torch has padded before."""
    x = F.pad(x, (0, 0, 0, 0, conv.padding[0], conv.padding[0]), mode="replicate")
    return F.conv3d(x, conv.weight, conv.bias, conv.stride, (0, *conv.padding[1:]), conv.dilation, conv.groups)


@pytest.mark.parametrize("frames", [9, 5, 2, 1])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "groups"), CONVOLUTIONS)
def test_as_if_the_copies_were_there(kernel, stride, padding, dilation, groups, frames):
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    conv = replicate_in_time(nn.Conv3d(4, 8, kernel, **options).double())
    x = torch.randn(2, 4, frames, 6, 6, dtype=torch.float64).requires_grad_()
    found = []
    for forward in (conv, lambda x: padded_before(conv, x)):
        out = forward(x)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        found.append((out, x.grad, *(parameter.grad for parameter in conv.parameters())))
        x.grad = None
        conv.zero_grad()
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(conv(x[0]), conv(x)[0])


def test_every_gradient_is_right():
    conv = replicate_in_time(nn.Conv3d(2, 2, 3, padding=1, groups=2).double())
    assert torch.autograd.gradcheck(conv, torch.randn(1, 2, 3, 2, 2, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize("stride", [1, 2])
def test_packed_clips_are_as_each_alone(stride):
    conv = replicate_in_time(nn.Conv3d(3, 4, 3, (stride, 1, 1), 1).double())
    assert_each_as_alone(conv, [torch.randn(3, n, 4, 4, dtype=torch.float64, requires_grad=True) for n in (5, 1, 4)])


def test_short_clips_on_the_way_to_the_slow_pathway():
    options = {"channel_ratio": 2, "kernel": 7, "alpha": 2, "norm": nn.BatchNorm3d, "inplace_relu": False, "pad": "end"}
    fuse = replicate_in_time(FuseFastToSlow(4, **options)).eval()
    fast = torch.randn(1, 4, 6, 5, 5)
    expected = torch.relu(fuse.bn(padded_before(fuse.conv_f2s, fast)))
    torch.testing.assert_close(fuse([torch.zeros(1, 3, 3, 5, 5), fast])[0][:, 3:], expected)


def test_names_copies_and_half_precision_stay():
    net = nn.Sequential(StemConv3d(3, 8, (3, 3, 3), padding=1), nn.Conv3d(8, 8, (1, 3, 3), padding=(0, 1, 1)))
    keys = list(net.state_dict())
    assert replicate_in_time(replicate_in_time(net)) is net and list(net.state_dict()) == keys
    assert type(net[0]) is StemConv3d and net[0].repeats_ends and type(net[1]) is nn.Conv3d
    x = torch.randn(1, 3, 8, 6, 6)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(other(x), net(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert net(x).dtype == torch.bfloat16
        torch.testing.assert_close(net[0](x), padded_before(net[0], x), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("options", [{"padding": 1, "padding_mode": "circular"}, {"padding": "same"}])
def test_other_paddings_are_refused_by_name(options):
    with pytest.raises(TypeError, match=r"^1: Conv3d\(.*is not an nn.Conv3d padded with a number of zeros"):
        replicate_in_time(nn.Sequential(nn.ReLU(), nn.Conv3d(1, 1, 3, **options)))
    replicate_in_time(nn.Conv3d(1, 1, 3, padding="valid"))


NETWORKS = ["Mini_Kinetics/3DRESNET18_ATFR", "Kinetics/X3D_S_ATFR", "SSv2/SLOWFAST_8x8_R50_ATFR"]
SIMILARITIES = ["magnitude", "path", "cartesian", "spherical"]
SIMILARITIES += [f"mean_{distance}" for distance in ("l1", "l2", "cosine", "mahalanobis")]
COPIES = ("MODEL.REPLICATE_PAD_STAGES", "[conv1, res2]")


@pytest.fixture
def still(thin_cfg, golden_fill, to_pathways):
    """Maps that leave each SGS layer, and its blocks, of a static clip."""

    def maps(config, *changes):
        cfg = thin_cfg(f"{config}.yaml", *changes)
        torch.manual_seed(0)
        model = golden_fill(build_model(cfg)).eval()
        clip = torch.rand(1, 3, 1, 32, 32).expand(1, 3, cfg.DATA.NUM_FRAMES, 32, 32)
        with record(model) as log, torch.no_grad():
            model(to_pathways(cfg, clip))
        return [(clip.num_active, 1 + max(clip.block)) for name in log.layers for clip in log[name]]

    return maps


@pytest.mark.parametrize(("config", "similarity", "half"), pairs_first(NETWORKS, SIMILARITIES, [False, True]))
def test_a_static_clip_leaves_with_one_map_of_each_block(still, config, similarity, half):
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        layers = still(config, *COPIES, "SGS.SIMILARITY", similarity)
    assert layers and all(maps == blocks for maps, blocks in layers)


@pytest.mark.parametrize("config", NETWORKS)
def test_after_zeros_it_leaves_with_more_maps(still, config):
    assert all(maps > blocks for maps, blocks in still(config, "SGS.SIMILARITY", "path"))


@pytest.mark.parametrize(
    ("config", "stage"), [("SLOW_8x8_R50", "conv1"), ("SLOW_8x8_R50", "res2"), ("C2D_8x8_R50", "res5")]
)
def test_a_stage_on_which_it_has_no_effect_is_refused(thin_cfg, config, stage):
    with pytest.raises(
        ConfigError, match=f"MODEL.REPLICATE_PAD_STAGES has '{stage}', which has no convolution that pads"
    ):
        build_model(thin_cfg(f"Kinetics/{config}.yaml", "MODEL.REPLICATE_PAD_STAGES", f"[{stage}]"))


@torch.no_grad()
def test_norms_fold_and_every_multiply_add_is_counted(thin_cfg, golden_fill, to_pathways, moving_clips):
    cfg = thin_cfg(f"{NETWORKS[0]}.yaml", *COPIES)
    torch.manual_seed(0)
    model = golden_fill(build_model(cfg)).eval()
    clips = to_pathways(cfg, moving_clips(2, cfg.DATA.NUM_FRAMES))
    folded = fold_norms(copy.deepcopy(model))
    torch.testing.assert_close(folded(clips), model(clips), rtol=1e-4, atol=1e-6)
    plain = build_model(thin_cfg(f"{NETWORKS[0]}.yaml"))
    counted = []
    for network in (model.s1, plain.s1):  # as many, for the copies are only what its kernels meet
        with count_macs(network) as counter:
            network(clips)
        counted.append(counter.read_and_reset().tolist())
    assert counted[0] == counted[1]


def test_a_plain_convolution_is_replaced_wherever_it_is_used():
    conv = nn.Conv3d(2, 2, 3, padding=1)
    seen = []
    conv.register_forward_hook(lambda *_: seen.append(1))
    net = nn.ModuleDict({"a": conv, "b": nn.Sequential(conv)})
    replicate_in_time(net)
    assert type(net["a"]) is TemporalConv3d and net["a"] is net["b"][0] and net["a"].weight is conv.weight
    net["a"](torch.randn(1, 2, 3, 4, 4))
    assert seen and "repeats_ends=True" in repr(net["a"]) and not hasattr(conv, "repeats_ends")
