import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slowfast_atfr.packed import PackedClips, pack

LENGTHS = (2, 5, 1, 5)


@pytest.mark.parametrize("op", [torch.mean, torch.sum], ids=["mean", "sum"])
@pytest.mark.parametrize("keepdim", [True, False])
@pytest.mark.parametrize("dims", [(2, 3, 4), [-1, -2, -3], 2, (1, 2), (4, 2), (1, 2, 3, 4)])
def test_reduction_over_time_is_per_clip(check_alone, op, keepdim, dims):
    for lengths in (LENGTHS, (3,), (4, 4)):
        check_alone(lambda x: op(x * x, dims, keepdim=keepdim), lengths)
        check_alone(lambda x: getattr(x * x, op.__name__)(dims, keepdim), lengths)


@pytest.mark.parametrize("dims", [(3, 4), 1, (1, 3), -1])
def test_reduction_of_frames_stays_packed(check_alone, dims):
    check_alone(lambda x: torch.mean(x * x, dims, keepdim=True), LENGTHS, round_to=2)
    check_alone(lambda x: x.sum(dims, keepdim=True).exp() / 10, LENGTHS)


@pytest.mark.parametrize("dims", [(2, 3, 4), 2, (1, 2), -3])
def test_largest_values_over_time_are_per_clip(check_alone, dims):
    for lengths in (LENGTHS, (3,), (4, 4)):
        check_alone(lambda x: torch.amax(x * x, dims), lengths)
        check_alone(lambda x: (x - 9).amax(dims, keepdim=True), lengths)


def test_spatial_attention_as_cbam_has_it(check_alone):
    def attend(x):
        maps = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x * maps.sum(1, keepdim=True).sigmoid()

    check_alone(attend, LENGTHS, round_to=2)
    assert pack([torch.randn(2, 3, 4, 4).half()]).amax((2, 3, 4)).dtype == torch.float16


def test_sum_of_everything_is_a_number(make_clips):
    clips = make_clips(LENGTHS)
    torch.testing.assert_close(pack(clips).sum(), sum(clip.sum() for clip in clips))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_means_are_of_x_s_type_and_added_up_in_float32(dtype):
    x = pack([torch.full((2, 3, 64, 64), 1.001), torch.full((2, 5, 64, 64), 300.0)]).to(dtype)
    for pooled in (x.mean((2, 3, 4), keepdim=True), nn.AdaptiveAvgPool3d(1)(x), nn.AvgPool3d((8, 64, 64), 1)(x)):
        assert pooled.dtype == dtype and pooled.flatten(1).shape == (2, 2)
        expected = x.joined[0, :, [0, -1], 0, 0].T
        rtol = 1e-4 if dtype == torch.float32 else 0  # of 4096 values: torch's own pool
        torch.testing.assert_close(pooled.flatten(1), expected, rtol=rtol, atol=0)
    assert x.sum((2, 3, 4)).dtype == dtype and x.sum((2, 3, 4), dtype=torch.float32).isfinite().all()
    assert x.mean((2, 3, 4), dtype=torch.float64).dtype == torch.float64


@pytest.mark.parametrize(
    "op, message",
    [
        (lambda x: x.mean(), "mean over everything is ambiguous"),
        (lambda x: x.mean((0, 2)), "mixes clips"),
        (lambda x: x.sum(7), "do not exist"),
        (lambda x: x.amax(), "amax over dimensions \\(\\) mixes clips"),
        (lambda x: x.amax((0, 2)), "mixes clips"),
        (lambda x: x.std(), "std over everything is ambiguous"),
        (lambda x: x.long().mean(2), "mean of packed clips takes floating point"),
    ],
)
def test_ambiguous_reductions_are_refused(make_clips, op, message):
    with pytest.raises(TypeError, match=message):
        op(pack(make_clips(LENGTHS)))


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d])
@pytest.mark.parametrize("size", [1, (1, 1, 1), (1, 2, 3), (1, None, 2), (None, 1, 1), (None, 2, None), (3, 2, 2), 2])
def test_adaptive_pools(check_alone, make_clips, pool, size):
    check_alone(pool(size), LENGTHS)
    check_alone(pool(size), (3,))
    one_frame = (size if isinstance(size, int) else size[0]) == 1
    assert isinstance(pool(size)(pack(make_clips(LENGTHS))), torch.Tensor if one_frame else PackedClips)


@pytest.mark.parametrize(
    "kernel, stride, padding",
    [((5, 3, 3), 1, 0), (5, None, 0), ((8, 3, 3), 1, (0, 1, 1)), ((9, 5, 5), (1, 2, 2), (0, 2, 2))],
)
@pytest.mark.parametrize("count_include_pad, ceil_mode", [(True, False), (False, True)])
def test_a_pool_that_covers_every_clip_is_the_head_s(
    check_alone, kernel, stride, padding, count_include_pad, ceil_mode
):
    pool = nn.AvgPool3d(kernel, stride, padding, ceil_mode, count_include_pad)

    def alone(clip):
        space = (1, pool.kernel_size[1], pool.kernel_size[2]) if isinstance(kernel, tuple) else (1, kernel, kernel)
        stride3 = space if stride is None else (1, 1, 1) if stride == 1 else stride
        return F.avg_pool3d(clip.mean(2, keepdim=True), space, stride3, padding, ceil_mode, count_include_pad)

    check_alone(pool, LENGTHS, alone_op=alone)
    check_alone(pool, (5, 5), alone_op=alone)
    clip = torch.randn(1, 4, pool.kernel_size if isinstance(kernel, int) else kernel[0], 5, 5).double()
    torch.testing.assert_close(alone(clip), pool(clip))  # for a clip as long as the kernel it is torch's own pool


@pytest.mark.parametrize("pool", [F.adaptive_avg_pool3d, F.adaptive_max_pool3d])
def test_an_adaptive_pool_may_keep_the_frames_of_x(check_alone, make_clips, pool):
    check_alone(lambda x: pool(x, (x.size(2), 1, 1)), LENGTHS)
    check_alone(lambda x: pool(x, (x.shape[2], 2, 3)), LENGTHS)
    x, other = pack(make_clips(LENGTHS)), pack(make_clips(LENGTHS[::-1]))
    with pytest.raises(TypeError, match=r"pool to \(5, 1, 5, 2\) frames is not defined for clips of \(2, 5, 1, 5\)"):
        pool(x, (other.size(2), 1, 1))


def test_the_largest_of_whole_numbers_is_of_each_clip():
    clips = [torch.tensor([-5, -3]).view(1, 2, 1, 1), torch.tensor([-7]).view(1, 1, 1, 1)]
    assert pack(clips).amax((2, 3, 4)).tolist() == [[-3], [-7]]
