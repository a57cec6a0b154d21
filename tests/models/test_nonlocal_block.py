"""Non-local blocks: the paper's sums, written out, for each clip alone; frames have no order; errors name the clip."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from slowfast_atfr.analysis import clip_macs
from slowfast_atfr.models.nonlocal_block import Nonlocal, dot_product_attention
from slowfast_atfr.models.stages import NonlocalSpec
from slowfast_atfr.packed import pack, unpack

INSTANTIATIONS = ["dot_product", "softmax"]
# (pool, group, lengths of clips that they fit)
SHAPES = [
    ((1, 1, 1), 1, (4, 1, 7, 4)),
    ((1, 2, 2), 1, (3, 1, 3)),
    ((2, 1, 2), 1, (5, 2, 4)),
    ((1, 2, 1), 3, (3, 6, 3)),
    ((2, 2, 2), 2, (4, 10, 6)),
]


def make(instantiation="dot_product", pool=(1, 2, 2), group=1, dim=6, dtype=torch.float64):
    spec = NonlocalSpec(stage=3, pathway=0, index=1, dim=dim, instantiation=instantiation, pool=pool, group=group)
    block = Nonlocal(spec, norm=nn.BatchNorm3d).to(dtype)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn_like(parameter))
        block.bn.running_mean.normal_()
        block.bn.running_var.uniform_(0.5, 2)
    return block.eval()


def affine(conv, columns):
    return conv.weight.flatten(1) @ columns + conv.bias[:, None]


def by_the_sums(block, clip, instantiation, pool, group):
    """One clip (C, T, H, W), position by position, run by run."""
    out = torch.empty_like(clip)
    frames = clip.shape[1] // group
    for first in range(0, clip.shape[1], frames):
        run = clip[:, first : first + frames]
        pooled = torch.nn.functional.max_pool3d(run[None], pool)[0].flatten(1)
        theta, phi, g = (
            affine(conv, columns)
            for conv, columns in ((block.conv_theta, run.flatten(1)), (block.conv_phi, pooled), (block.conv_g, pooled))
        )
        attended = []
        for query in theta.unbind(1):
            affinity = torch.stack([query @ key for key in phi.unbind(1)])
            if instantiation == "softmax":
                weights = (affinity / len(query) ** 0.5).exp()
                weights = weights / weights.sum()
            else:
                weights = affinity / len(affinity)
            attended.append(sum(weight * value for weight, value in zip(weights, g.unbind(1), strict=True)))
        update = affine(block.conv_out, torch.stack(attended, 1))
        mean, var = block.bn.running_mean[:, None], block.bn.running_var[:, None]
        update = (update - mean) / (var + block.bn.eps).sqrt() * block.bn.weight[:, None] + block.bn.bias[:, None]
        out[:, first : first + frames] = run + update.view_as(run)
    return out


@pytest.mark.parametrize("instantiation", INSTANTIATIONS)
@pytest.mark.parametrize(("pool", "group", "lengths"), SHAPES)
def test_each_clip_gets_the_papers_sums_over_its_own_positions(instantiation, pool, group, lengths):
    block = make(instantiation, pool, group)
    clips = [torch.randn(6, frames, 4, 3, dtype=torch.float64) for frames in lengths]
    for clip, together in zip(clips, unpack(block(pack(clips))), strict=True):
        expected = by_the_sums(block, clip, instantiation, pool, group)
        torch.testing.assert_close(together, expected)
        torch.testing.assert_close(block(clip[None])[0], expected)


def small(grad):
    return grad.abs().max() < 1e-10


@pytest.mark.parametrize("instantiation", INSTANTIATIONS)
@pytest.mark.parametrize(("pool", "group", "lengths"), SHAPES)
def test_gradients_are_those_of_the_clips_alone(instantiation, pool, group, lengths):
    block = make(instantiation, pool, group)
    clips = [torch.randn(6, frames, 4, 3, dtype=torch.float64, requires_grad=True) for frames in lengths]
    weights = [torch.randn_like(clip) for clip in clips]
    inputs = [*clips, *block.parameters()]

    def gradients(outputs):
        return torch.autograd.grad(sum((w * out).sum() for w, out in zip(weights, outputs, strict=True)), inputs)

    together, alone = gradients(unpack(block(pack(clips)))), gradients([block(clip[None])[0] for clip in clips])
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a, b)
    zero = {
        name for (name, _), grad in zip(block.named_parameters(), together[len(clips) :], strict=True) if small(grad)
    }
    # phi's bias adds the same to all scores of a position, which softmax takes no notice of
    assert zero == ({"conv_phi.bias"} if instantiation == "softmax" else set())


@pytest.mark.parametrize("dim", [4, 400])  # the two orders of multiplication
def test_both_orders_of_the_dot_product_are_the_same_sum(dim):
    theta, phi, g = (torch.randn(2, size, dim, dtype=torch.float64) for size in (12, 9, 9))
    torch.testing.assert_close(
        dot_product_attention(theta, phi, g), torch.einsum("npc,nqc,nqd->npd", theta, phi, g) / 9
    )


def test_the_dot_product_is_multiplied_in_the_cheaper_order():
    for queries, positions, channels in ((12, 9, 4), (12, 9, 400), (6272, 1568, 256), (196, 49, 512)):
        theta, phi, g = (torch.empty(1, n, channels, device="meta") for n in (queries, positions, positions))
        with FlopCounterMode(display=False) as counter:
            dot_product_attention(theta, phi, g)
        orders = (2 * queries * positions * channels, (queries + positions) * channels**2)
        assert counter.get_total_flops() // 2 == min(orders)


@pytest.mark.parametrize(("pool", "group", "lengths"), SHAPES)
@pytest.mark.parametrize("instantiation", INSTANTIATIONS)
def test_a_clip_costs_what_reaches_torchs_kernels_for_it_alone(instantiation, pool, group, lengths):
    block = make(instantiation, pool, group)
    clips = [torch.randn(6, length, 4, 5).double() for length in lengths]
    alone = []
    for clip in clips:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            block(clip[None])
        alone.append(counter.get_total_flops() / 2)
    assert clip_macs(block, pack(clips)).tolist() == alone


@pytest.mark.parametrize("instantiation", INSTANTIATIONS)
def test_frames_have_no_order(instantiation):
    block, clip = make(instantiation), torch.randn(1, 6, 7, 4, 4, dtype=torch.float64)
    order = torch.randperm(7)
    torch.testing.assert_close(block(clip[:, :, order]), block(clip)[:, :, order])


@pytest.mark.parametrize("instantiation", INSTANTIATIONS)
def test_the_memory_stays_channels_last(instantiation):
    block = make(instantiation, group=2)
    clips = torch.randn(3, 6, 4, 4, 5, dtype=torch.float64).contiguous(memory_format=torch.channels_last_3d)
    assert block(clips).is_contiguous(memory_format=torch.channels_last_3d)


def test_large_values_do_not_overflow_half_precision():
    theta, phi, g = (torch.full((1, 900, 8), value, dtype=torch.float16) for value in (1.0, 10.0, 10.0))
    assert dot_product_attention(theta, phi, g).isfinite().all()  # a sum of 900 x 100 would be infinite


@pytest.mark.parametrize(
    ("pool", "group", "words"),
    [
        ((1, 2, 2), 2, "s3.pathway0_nonlocal1: clip 1 of 3 has 3 frames, which NONLOCAL.GROUP 2 does not divide"),
        ((4, 2, 2), 1, r"s3.pathway0_nonlocal1: clip 1 of 3 has 3 frames in 1 run\(s\), fewer than the 4"),
        ((3, 1, 1), 2, r"s3.pathway0_nonlocal1: clip 0 of 3 has 4 frames in 2 run\(s\), fewer than the 3"),
    ],
)
def test_a_clip_that_does_not_fit_is_named(pool, group, words):
    block = make(pool=pool, group=group, dtype=torch.float32)
    with pytest.raises(ValueError, match=words):
        block(pack([torch.randn(6, frames, 4, 4) for frames in (4, 3, 4)]))
    with pytest.raises(ValueError, match="NONLOCAL"):
        block(torch.randn(2, 6, 1, 4, 4))


@pytest.mark.parametrize("pool", [(1, 5, 1), (1, 1, 4)])
def test_maps_that_are_smaller_than_the_pool_are_reported(pool):
    block = make(pool=pool, dtype=torch.float32)
    words = f"s3.pathway0_nonlocal1: maps are 4x3, too small for NONLOCAL.POOL, {pool[1]}x{pool[2]}; choose"
    for clips in (torch.randn(2, 6, 2, 4, 3), pack([torch.randn(6, frames, 4, 3) for frames in (2, 1)])):
        with pytest.raises(ValueError, match=words):
            block(clips)
