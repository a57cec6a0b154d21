"""X3D: widths and depths, squeeze-and-excitation clip by clip, and a head that widens before and after its pool."""

import pytest
import torch
from torch import nn

from slowfast_atfr.analysis import clip_macs
from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.models import build_model
from slowfast_atfr.models.stages import round_width
from slowfast_atfr.models.transforms import SqueezeExcitation
from slowfast_atfr.models.x3d import X3DHead, x3d_stage_specs, x3d_stem_spec
from slowfast_atfr.packed import pack
from tests.alone import assert_each_as_alone

CONFIG = "Kinetics/X3D_S.yaml"


@pytest.fixture
def x3d_cfg(repo):
    return lambda *pairs: load_cfg(str(repo / "configs" / CONFIG), list(pairs))


def test_stages_are_the_papers(x3d_cfg):
    stages = x3d_stage_specs(x3d_cfg())
    assert x3d_stem_spec(x3d_cfg()).dim_out == (24,)
    assert [spec.dim_in for spec in stages] == [(24,), (24,), (48,), (96,)]
    assert [spec.dim_out for spec in stages] == [(24,), (48,), (96,), (192,)]
    assert [spec.dim_inner for spec in stages] == [(54,), (108,), (216,), (432,)]
    assert [spec.num_groups for spec in stages] == [54, 108, 216, 432]
    assert [len(spec.temporal_kernels[0]) for spec in stages] == [3, 5, 11, 7]
    wider = x3d_stage_specs(x3d_cfg("X3D.SCALE_RES2", "True"))
    assert [spec.dim_out for spec in wider] == [(48,), (96,), (192,), (384,)]


# Published are 0.604, 1.962, 4.732 and 18.37 GFLOPs, and 3.76 and 6.08 million parameters. Those are the multiply-adds
# of convolutions at the training crop, without the classifier's 0.0008, and the weights of convolutions and the
# classifier, without biases and norms. We count both in full.
@pytest.mark.parametrize(
    ("size", "macs", "published", "params", "published_params"),
    [
        ("XS", 605_256_512, 0.604, 3_794_322, 3.76),
        ("S", 1_962_892_112, 1.962, 3_794_322, 3.76),
        ("M", 4_732_468_736, 4.732, 3_794_322, 3.76),
        ("L", 18_367_710_176, 18.37, 6_153_432, 6.08),
    ],
)
def test_the_family_costs_what_is_published(repo, size, macs, published, params, published_params):
    cfg = load_cfg(str(repo / f"configs/Kinetics/X3D_{size}.yaml"))
    with torch.device("meta"):
        model = build_model(cfg)
        crop = cfg.DATA.TRAIN_CROP_SIZE
        assert clip_macs(model, [torch.empty(1, 3, cfg.DATA.NUM_FRAMES, crop, crop)]) == macs
    digits = 2 if published > 10 else 3
    assert round((macs - model.head.projection.weight.numel()) * 1e-9, digits) == published
    assert sum(p.numel() for p in model.parameters()) == params
    assert round(sum(p.numel() for p in model.parameters() if p.ndim > 1) * 1e-6, 2) == published_params


@pytest.mark.parametrize(("frames", "crop"), [(13, 32), (16, 45), (4, 64), (1, 33)])
def test_any_number_of_frames_and_any_crop(thin_cfg, moving_clips, frames, crop):
    model = build_model(thin_cfg("Kinetics/X3D_S_ATFR.yaml"))
    clips = moving_clips(3, frames, crop)
    with torch.no_grad():
        model.train()([clips])  # gives the norms statistics of their own
        together = model.eval()([clips])
        alone = torch.cat([model([clip[None]]) for clip in clips])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert together.shape == (3, 7)


@pytest.mark.parametrize(("width", "rounded"), [(3.375, 8), (12, 16), (27, 32), (28, 32), (35, 32), (36, 40)])
def test_widths_lose_at_most_a_tenth(width, rounded):
    assert round_width(width, divisor=8) == rounded


def test_squeeze_and_excitation_sees_a_clips_own_frames():
    layer = SqueezeExcitation(6).double()
    clips = [torch.randn(6, frames, 3, 3, dtype=torch.float64, requires_grad=True) for frames in (5, 1, 5, 8)]
    assert_each_as_alone(layer, clips)


def test_every_other_block_squeezes(x3d_cfg):
    blocks = [name for name, module in build_model(x3d_cfg()).named_modules() if isinstance(module, SqueezeExcitation)]
    squeezing = {2: 2, 3: 3, 4: 6, 5: 4}  # of 3, 5, 11 and 7
    assert blocks == [f"s{s}.pathway0_res{2 * i}.branch2.se" for s, count in squeezing.items() for i in range(count)]


def test_weights_start_as_pyslowfasts_do(x3d_cfg):
    cfg = x3d_cfg("MODEL.FC_INIT_STD", "0.5")
    for name, value in build_model(cfg).named_parameters():
        if name.endswith(("c_bn.weight", "bias")):
            assert value.eq(0).all(), name
        elif name.endswith("bn.weight"):
            assert value.eq(1).all(), name
        elif name == "head.projection.weight":
            assert value.std().item() == pytest.approx(0.5, rel=0.01)


def make_head(**changes):
    options = {"norm": nn.BatchNorm3d, "inplace_relu": True, "bn_lin5": False}
    return X3DHead(3, 5, 7, 4, **(options | {"pool_size": (2, 2), "dropout_rate": 0.0, "act": "softmax"} | changes))


def test_the_head_averages_the_activations_of_windows():
    head = make_head().eval()
    x = torch.randn(2, 3, 6, 3, 2)
    windows = [head([x[..., top : top + 2, :]]) for top in (0, 1)]
    torch.testing.assert_close(head([x]), torch.stack(windows).mean(0))
    torch.testing.assert_close(head([x]).sum(1), torch.ones(2))


def test_the_head_pools_each_packed_clip_over_its_own_frames():
    head = make_head(bn_lin5=True).eval()
    clips = [torch.randn(3, frames, 3, 3) for frames in (4, 1, 7)]
    torch.testing.assert_close(head([pack(clips)]), torch.cat([head([clip[None]]) for clip in clips]))


def test_in_training_the_head_gives_logits_of_whole_maps():
    head = make_head(norm=nn.Identity).train()
    x = torch.randn(2, 3, 6, 3, 2)
    means = head.conv_5(x).relu().mean((2, 3, 4))
    hidden = (means @ head.lin_5.weight.flatten(1).T).relu()
    torch.testing.assert_close(head([x]), head.projection(hidden))


def test_a_norm_after_lin_5(x3d_cfg):
    keys = set(build_model(x3d_cfg("X3D.BN_LIN5", "True")).state_dict())
    assert "head.lin_5_bn.running_var" in keys and len(keys - set(build_model(x3d_cfg()).state_dict())) == 5


def test_groups_divide_the_channels_inside_blocks(x3d_cfg):
    pairs = ("X3D.CHANNELWISE_3x3x3", "False", "RESNET.NUM_GROUPS")
    assert {spec.num_groups for spec in x3d_stage_specs(x3d_cfg(*pairs, "6"))} == {6}
    with pytest.raises(ConfigError, match="RESNET.NUM_GROUPS is 4, which does not divide the 54 channels .* res2"):
        build_model(x3d_cfg(*pairs, "4"))


def test_its_transform_is_its_own(x3d_cfg):
    with pytest.raises(ConfigError, match="RESNET.TRANS_FUNC is 'bottleneck_transform'; x3d_transform goes with"):
        x3d_cfg("RESNET.TRANS_FUNC", "bottleneck_transform")
