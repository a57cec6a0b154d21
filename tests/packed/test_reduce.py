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
    check_alone(lambda x: torch.mean(x * x, dims, keepdim=True), LENGTHS, multiple=2)
    check_alone(lambda x: x.sum(dims, keepdim=True).exp() / 10, LENGTHS)


def test_sum_of_everything_is_a_number(make_clips):
    clips = make_clips(LENGTHS)
    torch.testing.assert_close(pack(clips).sum(), sum(clip.sum() for clip in clips))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_means_are_added_up_in_float32(dtype):
    x = pack([torch.full((2, 3, 64, 64), 1.001), torch.full((2, 5, 64, 64), 300.0)]).to(dtype)
    for pooled in (x.mean((2, 3, 4), keepdim=True), nn.AdaptiveAvgPool3d(1)(x), nn.AvgPool3d((8, 64, 64), 1)(x)):
        assert pooled.shape == (2, 2, 1, 1, 1) and pooled.dtype == torch.float32
        expected = x.data[0, :, [0, -1], 0, 0].T.float()
        torch.testing.assert_close(pooled.flatten(1), expected, rtol=1e-4, atol=0)  # of 4096 values: torch's own pool
    assert x.sum((2, 3, 4)).isfinite().all()
    assert x.mean((2, 3, 4), dtype=torch.float64).dtype == torch.float64


@pytest.mark.parametrize(
    "op, message",
    [
        (lambda x: x.mean(), "mean over everything is ambiguous"),
        (lambda x: x.mean((0, 2)), "mixes clips"),
        (lambda x: x.sum(7), "do not exist"),
        (lambda x: x.mean((3, 4)), r"mean over dimensions \(3, 4\) leaves clips of different lengths.*keepdim=True"),
        (lambda x: torch.sum(x, 1), "keepdim=True"),
        (lambda x: x.amax((2, 3, 4)), "torch.Tensor.amax has no rule.*per_length"),
        (lambda x: x.std(), "per_length"),
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
