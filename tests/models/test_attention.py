"""Temporal attention: a softmax over time gathers, a softmax over descriptors distributes, and a clip is on its own.

The gate multiplies by the mixture, the residual adds it.
"""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from slowfast_atfr.config import load_cfg
from slowfast_atfr.models import build_model
from slowfast_atfr.models.attention import KINDS, distribute, gather
from slowfast_atfr.packed import lengths_of, pack_dense, unpack
from slowfast_atfr.packed.clips import packed_strides
from tests.alone import assert_each_as_alone
from tests.covering import pairs_first

ATTENTION = "Mini_Kinetics/X3D_S_TEMPORAL_ATTENTION.yaml"
ENABLE = ("TEMPORAL_ATTENTION.ENABLE", "True", "TEMPORAL_ATTENTION.KIND")
NETWORKS = ["Kinetics/SLOWFAST_8x8_R50.yaml", "Kinetics/SLOW_8x8_R50.yaml", "Kinetics/X3D_S.yaml"]
NETWORKS += ["Mini_Kinetics/3DRESNET18.yaml"]


def channels_last(*shape):
    return torch.randn(*shape, dtype=torch.float64).to(memory_format=torch.channels_last_3d)


def make_layer(kind):
    """One that does something: its norm has statistics and a weight of its own, its gate is not one."""
    layer = KINDS[kind](8, 3, norm=nn.BatchNorm3d).double()
    for part in (layer.conv_gate,) if kind == "gate" else (layer.bn,):
        for value in part.state_dict().values():
            if value.is_floating_point():
                value.uniform_(0.5, 2)
    return layer.eval()


@pytest.fixture(params=sorted(KINDS))
def layer(request):
    return make_layer(request.param)


def test_gather_and_distribute_by_hand():
    maps, scores = torch.randn(2, 4, 5, 3, 2, dtype=torch.float64), torch.randn(2, 3, 5, dtype=torch.float64)
    descriptors, mixed = gather(maps, scores), distribute(maps[:, :, :3], scores)
    for n in range(2):
        for k in range(3):
            weights = [scores[n, k, t].exp() / sum(scores[n, k, s].exp() for s in range(5)) for t in range(5)]
            expected = sum(weight * maps[n, :, t] for t, weight in enumerate(weights))
            torch.testing.assert_close(descriptors[n, :, k], expected)
        for t in range(5):
            weights = [scores[n, k, t].exp() / sum(scores[n, j, t].exp() for j in range(3)) for k in range(3)]
            expected = sum(weight * maps[n, :, k] for k, weight in enumerate(weights))
            torch.testing.assert_close(mixed[n, :, t], expected)


def test_weights_sum_to_one():
    scores, ones = 5 * torch.randn(2, 3, 7, dtype=torch.float64), torch.ones(2, 4, 7, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(gather(ones, scores), ones[:, :, :3])
    torch.testing.assert_close(distribute(ones[:, :, :3], scores), ones)


@pytest.mark.parametrize("fn", [gather, distribute])
def test_gradients(fn):
    frames = 4 if fn is gather else 3
    maps, scores = channels_last(2, 2, frames, 2, 2), torch.randn(2, 3, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(fn, (maps.requires_grad_(), scores.requires_grad_()))


def test_the_layout_is_kept(layer):
    x = channels_last(2, 8, 5, 4, 4)
    results = [gather(x, x[:, :3, :, 0, 0]), distribute(x[:, :, :3], x[:, :3, :, 0, 0]), layer(x)]
    assert all(result.is_contiguous(memory_format=torch.channels_last_3d) for result in results)
    packed = layer(pack_dense(x)).joined
    assert packed.stride() == packed_strides(packed.shape)


def test_the_residual_by_hand():
    layer, x = make_layer("residual"), channels_last(2, 8, 5, 4, 4)
    means = x.mean((3, 4), keepdim=True)
    to_gather, to_distribute = layer.conv_gather(means)[..., 0, 0], layer.conv_distribute(means)[..., 0, 0]
    back = torch.zeros_like(x)
    for n in range(2):
        for k in range(3):
            descriptor = sum(weight * x[n, :, t] for t, weight in enumerate(to_gather[n, k].softmax(0)))
            value = torch.einsum("oc,chw->ohw", layer.conv_value.weight.flatten(1), descriptor)
            bn = layer.bn
            value = (value - bn.running_mean[:, None, None]) / (bn.running_var + bn.eps).sqrt()[:, None, None]
            value = value * bn.weight[:, None, None] + bn.bias[:, None, None]
            for t in range(5):
                back[n, :, t] += to_distribute[n, :, t].softmax(0)[k] * value
    torch.testing.assert_close(layer(x), x + back)


def test_the_gate_by_hand():
    layer, x = make_layer("gate"), channels_last(2, 8, 5, 4, 4)
    means = x.mean((3, 4), keepdim=True)
    values, to_gather, to_distribute = (
        conv(means)[..., 0, 0] for conv in (layer.conv_value, layer.conv_gather, layer.conv_distribute)
    )
    assert values.shape[1] == 2  # a quarter of the channels
    for n in range(2):
        descriptors = [(values[n] * to_gather[n, k].softmax(0)).sum(1) for k in range(3)]
        for t in range(5):
            back = sum(w * d for w, d in zip(to_distribute[n, :, t].softmax(0), descriptors, strict=True))
            factor = 2 * torch.sigmoid(layer.conv_gate.weight.flatten(1) @ back + layer.conv_gate.bias)
            torch.testing.assert_close(layer(x)[n, :, t], factor[:, None, None] * x[n, :, t])


def test_a_gate_that_starts_at_one_changes_nothing():
    layer, x = make_layer("gate"), channels_last(2, 8, 5, 4, 4)
    layer.start_at_one()
    assert torch.equal(layer(x), x)


def test_the_gate_weighs_equal_maps_equally():
    x = channels_last(2, 8, 1, 4, 4).expand(-1, -1, 5, -1, -1)
    factors = make_layer("gate")(x) / x
    torch.testing.assert_close(factors, factors[:, :, :1, :1, :1].expand_as(factors))


def test_frames_in_another_order_come_out_in_that_order(layer):
    x, order = channels_last(2, 8, 5, 4, 4), torch.randperm(5)
    torch.testing.assert_close(layer(x[:, :, order]), layer(x)[:, :, order])
    assert (layer(x) - x).abs().max() > 0.1


@pytest.mark.parametrize("lengths", [(5, 1, 5, 8), (4, 4), (3,)])
def test_a_clip_does_not_feel_its_neighbours(layer, lengths):
    clips = [torch.randn(8, frames, 3, 3, dtype=torch.float64, requires_grad=True) for frames in lengths]
    together = assert_each_as_alone(layer, clips, round_to=2)
    assert lengths_of(together) == lengths and together.round_to == 2


def test_in_training_packed_clips_of_one_length_are_the_dense_batch(layer):
    x = channels_last(3, 8, 4, 2, 2)
    torch.testing.assert_close(torch.stack(unpack(layer.train()(pack_dense(x)))), layer.train()(x))


# 13 maps of 24 channels and 40 x 40. Gate: values, scores of 6 descriptors, factors; there and back
GATE_MACS = 13 * 24 * (6 + 6 + 6 + 6) + 2 * 6 * 13 * 6
# Residual, 4 descriptors: scores, the convolution of the descriptors, there and back
RESIDUAL_MACS = 2 * 4 * 13 * 24 + 4 * 40 * 40 * 24 * 24 + 2 * 4 * 13 * 40 * 40 * 24
RESIDUAL = ("TEMPORAL_ATTENTION.KIND", "residual", "TEMPORAL_ATTENTION.NUM_DESCRIPTORS", "4")


def counted(model, *args):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*args)
    return counter.get_total_flops() / 2


def test_it_costs_less_than_a_hundredth_of_x3d_s(repo):
    with torch.device("meta"):
        clip = torch.empty(1, 3, 13, 160, 160)
        base, gate, residual = (
            counted(build_model(load_cfg(str(repo / "configs" / name), pairs)).eval(), [clip])
            for name, pairs in (("Mini_Kinetics/X3D_S.yaml", ()), (ATTENTION, ()), (ATTENTION, RESIDUAL))
        )
    assert gate - base == GATE_MACS < 1e-5 * base
    assert residual - base == RESIDUAL_MACS < 0.01 * base


@pytest.mark.parametrize("config", NETWORKS)
@pytest.mark.parametrize("kind", KINDS)
def test_at_first_the_network_is_the_one_without_attention(thin_cfg, to_pathways, moving_clips, config, kind):
    cfg = thin_cfg(config)
    base, model = build_model(cfg).eval(), build_model(thin_cfg(config, *ENABLE, kind)).eval()
    missing, unexpected = model.load_state_dict(base.state_dict(), strict=False)
    pathways = {0, 1} if "SLOWFAST" in config else {0}
    assert {name.partition(".pathway")[0] for name in missing} == {"s2_attention"} and not unexpected
    assert {int(name.partition(".pathway")[2][0]) for name in missing} == pathways
    with torch.inference_mode():
        clips = to_pathways(cfg, moving_clips(2, cfg.DATA.NUM_FRAMES))
        torch.testing.assert_close(model(clips), base(clips))


@pytest.mark.parametrize(
    ("config", "sgs", "zero", "kind"),
    pairs_first(NETWORKS, [(), ("SGS.ENABLE", "True", "SGS.KERNEL", "linear_mean")], [True, False], list(KINDS)),
)
def test_a_training_step(thin_cfg, to_pathways, moving_clips, config, sgs, zero, kind):
    keys = (*ENABLE, kind, "TEMPORAL_ATTENTION.STAGES", "[res2, res3]", "MODEL.DROPOUT_RATE", "0.0")
    cfg = thin_cfg(config, *keys, *sgs, "RESNET.ZERO_INIT_FINAL_BN", str(zero))
    model = build_model(cfg).train()
    scores = model(to_pathways(cfg, moving_clips(3, cfg.DATA.NUM_FRAMES)))
    torch.nn.functional.cross_entropy(scores, torch.tensor([0, 3, 6])).backward()
    without = {name for name, parameter in model.named_parameters() if not parameter.grad.any()}
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    # what comes before a norm or a gate whose weight is zero gets its gradient from the second step on
    waits = {name for name, _ in model.named_parameters() if "_attention." in name and ".conv_" in name}
    waits = {name for name in waits if ".conv_gate." not in name} if kind == "gate" or zero else set()
    assert {name for name in without if "_attention." in name or not zero} == waits


@pytest.mark.parametrize("stages", ["[conv1]", "[res2]", "[res3]"])
def test_beside_sgs_a_clip_in_a_batch_is_the_clip_alone(thin_cfg, moving_clips, stages):
    pairs = ("SGS.ENABLE", "True", "SGS.STAGES", stages, "RESNET.ZERO_INIT_FINAL_BN", "False")
    model, clips = build_model(thin_cfg(ATTENTION, *pairs)), moving_clips(4, 13)
    with torch.no_grad():
        model.train()([clips])  # gives the norms statistics of their own
        together = model.eval()([clips])
        alone = torch.cat([model([clip[None]]) for clip in clips])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_after_one_stage_attention_comes_before_sgs(thin_cfg, moving_clips):
    model, seen = build_model(thin_cfg(ATTENTION, "SGS.ENABLE", "True")).eval(), []
    model.s2_attention.register_forward_hook(lambda _, __, out: seen.append(lengths_of(out[0])))
    model.s2_sgs.register_forward_hook(lambda _, __, out: seen.append(lengths_of(out[0])))
    with torch.inference_mode():
        model([moving_clips(2, 13)])
    assert seen[0] == (13, 13) and max(seen[1]) < 13
