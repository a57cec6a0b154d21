import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slowfast_atfr.packed import PackedClips, pack, unpack
from slowfast_atfr.packed.temporal import conv3d
from tests.covering import pairs_first

LENGTHS = [(3,), (7, 7, 7), (1, 2, 5, 1, 8, 3), (9, 1, 4)]


@pytest.fixture(autouse=True, params=["buffer", "dense batch", "one clip after the other"])
def way(request, monkeypatch):
    """The ways of running a function that looks across time; the size of the clips decides."""
    settings = {
        "buffer": {"LARGE_CLIP": 2**40, "SLOWNESS": 0},
        "dense batch": {"LARGE_CLIP": 2**40, "SLOWNESS": 2**40, "ONEDNN_FROM": 2**40},
        "one clip after the other": {
            "LARGE_CLIP": 0,
            "ONEDNN_FROM": 0,
            "FEW_CHANNELS": 0,
        },
    }[request.param]
    for name, value in settings.items():
        monkeypatch.setattr(f"slowfast_atfr.packed.cpu_quirks.{name}", value)
    return request.param


def check_or_short(check_alone, op, lengths, shortest, **kwargs):
    """Together equals alone; a clip shorter than `shortest` is an error that names it."""
    if min(lengths) >= shortest:
        check_alone(op, lengths, **kwargs)
        return
    short = next(index for index, length in enumerate(lengths) if length < shortest)
    x = pack([torch.randn(4, length, 5, 5, dtype=torch.float64) for length in lengths])
    with pytest.raises(
        ValueError, match=rf"3d: clip {short} of {len(lengths)} has length {lengths[short]}, .* needs {shortest}"
    ):
        op(x)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "space"), pairs_first([1, 2, 3, 5], [1, 2, 3], [1, 2], [1, 3])
)
def test_conv(check_alone, kernel, stride, dilation, space):
    for padding in sorted({0, 1, dilation * (kernel // 2), kernel}):
        for groups, bias in ((1, True), (4, False)):
            size = {
                "stride": (stride, 1, 1),
                "padding": (padding, space // 2, space // 2),
                "dilation": (dilation, 1, 1),
            }
            conv = nn.Conv3d(4, 8, (kernel, space, space), groups=groups, bias=bias, **size).double()
            for lengths in LENGTHS:
                shortest = dilation * (kernel - 1) + 1 - 2 * padding
                check_or_short(check_alone, conv, lengths, shortest, size=3)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    pairs_first([(1, 1, 1), (3, 1, 1), (1, 3, 3), (3, 3, 3), (3, 1, 3)], [1, (1, 2, 2), (2, 2, 1)], [0, (1, 2, 1)]),
)
def test_conv_in_space(check_alone, kernel, stride, padding):
    conv = nn.Conv3d(4, 6, kernel, stride, padding, dilation=(1, 2, 1)).double()
    for lengths in ((3, 5, 4), (4, 4), (6,)):
        check_alone(conv, lengths, size=6)


@pytest.mark.parametrize("kernel", [(3, 3, 3), (2, 1, 1), (2, 3, 4), (1, 2, 3), (4, 2, 2), (1, 1, 1)])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_conv_padding_in_words(check_alone, kernel, padding):
    for dilation in (1, 2):  # kernels of 2 and 4 frames: one frame more after the clip than before it, and as many
        conv = nn.Conv3d(4, 4, kernel, padding=padding, dilation=(dilation, 1, 1)).double()
        for lengths in ((7, 8, 9), (7, 7)):
            check_alone(conv, lengths)


def test_same_padding_needs_stride_one(make_clips):
    with pytest.raises(ValueError, match=r"padding 'same' needs stride 1, got \(2, 1, 1\)"):
        F.conv3d(pack(make_clips((2, 3))), torch.zeros(4, 4, 3, 3, 3).double(), stride=(2, 1, 1), padding="same")


@pytest.mark.parametrize("mode", ["zeros", "replicate", "circular", "reflect"])
def test_conv_padding_modes(check_alone, mode):
    conv = nn.Conv3d(4, 4, 3, stride=(2, 1, 1), padding=(2, 1, 1), padding_mode=mode).double()
    check_alone(conv, (5, 3, 4, 3))
    conv = nn.Conv3d(4, 4, (1, 3, 3), padding=(0, 1, 1), padding_mode=mode).double()
    check_alone(conv, (5, 1, 4))


def test_conv_by_keyword(make_clips):
    x, weight = pack(make_clips((2, 3))), torch.randn(4, 4, 3, 3, 3).double()
    assert torch.equal(F.conv3d(input=x, weight=weight, padding=1).joined, F.conv3d(x, weight, None, 1, 1).joined)


@pytest.mark.parametrize("stride", [1, 2])
def test_conv_transpose(check_alone, stride):
    check_alone(nn.ConvTranspose3d(4, 3, 3, stride, padding=1).double(), (3, 1, 4, 3), size=3)


@pytest.mark.parametrize(
    ("window", "stride", "ceil_mode"),
    pairs_first([(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (5, 2)], [1, 2, None], [False, True]),
)
def test_max_pool(check_alone, window, stride, ceil_mode):
    kernel, padding = window
    pool = nn.MaxPool3d((kernel, 3, 3), stride, (padding, 1, 1), ceil_mode=ceil_mode)
    for lengths in LENGTHS:
        lengths = tuple(length + kernel - 1 for length in lengths) if ceil_mode else lengths
        check_or_short(check_alone, pool, lengths, kernel - 2 * padding)


def test_max_pool_of_negative_frames_never_sees_the_gap(check_alone):
    check_alone(lambda x: F.max_pool3d(x - 100, 3, 1, 1), (3, 1, 5))
    check_alone(lambda x: F.max_pool3d(x - 100, 2, 1, 0, dilation=2), (3, 4, 5))


@pytest.mark.parametrize(
    ("window", "stride", "ceil_mode", "count_include_pad"),
    pairs_first([(1, 0), (2, 0), (2, 1), (3, 0), (3, 1)], [1, 2], [False, True], [True, False]),
)
def test_avg_pool(check_alone, window, stride, ceil_mode, count_include_pad):
    kernel, padding = window
    pool = nn.AvgPool3d((kernel, 3, 3), stride, (padding, 1, 1), ceil_mode, count_include_pad)
    for lengths in ((3, 9, 4, 3), (5, 5), (6,)):
        check_alone(pool, lengths)


def test_avg_pool_with_its_own_divisor(check_alone):
    check_alone(nn.AvgPool3d(3, 1, 1, divisor_override=5), (3, 9, 4))
    check_alone(nn.AvgPool3d(4, 1, divisor_override=5), (4, 4))  # covers every clip, but is no mean


def test_avg_pool_of_a_short_clip_is_the_padded_average(make_clips):
    """torch refuses it alone, T < kernel; whether it works must not depend on the other clips."""
    pool = nn.AvgPool3d((3, 1, 1), 1, (1, 0, 0))
    for lengths in ((1,), (1, 1), (1, 4)):
        clips = make_clips(lengths)
        torch.testing.assert_close(unpack(pool(pack(clips)))[0], clips[0] / 3)


@pytest.mark.parametrize("stride", [1, None])
def test_avg_pool_of_a_clip_shorter_than_a_head_s_kernel_does_not_depend_on_longer_ones(make_clips, stride):
    pool = nn.AvgPool3d((3, 2, 2), stride)
    clips = make_clips((2, 7, 1, 3))
    for clip, together in zip(clips, unpack(pool(pack(clips))), strict=True):
        (alone,) = unpack(pool(pack([clip])))
        torch.testing.assert_close(together, alone)
        if clip.shape[1] <= 3:
            torch.testing.assert_close(alone, pool(clip.mean(1, keepdim=True).expand(-1, 3, -1, -1)))


@pytest.mark.parametrize("pool", [nn.AvgPool3d(5, (2, 1, 1)), nn.AvgPool3d(5, 1, (1, 0, 0))])
def test_avg_pool_short_clips_are_named(make_clips, pool):
    """A stride or a padding in time: then it is not the pool of a head."""
    with pytest.raises(ValueError, match="avg_pool3d: clip 1 of 2 has length 2"):
        pool(pack(make_clips((5, 2))))


@pytest.mark.parametrize("pool", [nn.MaxPool3d, nn.AvgPool3d])
def test_pool_padding_is_at_most_half_the_kernel(make_clips, pool):
    for lengths in ((2, 3), (3, 3)):
        with pytest.raises(ValueError, match="3d: padding 2 in time is more than half of the kernel's 3 frames"):
            pool(3, 1, (2, 0, 0))(pack(make_clips(lengths)))


def test_indices_of_a_max_pool_are_refused(make_clips):
    for pool in (nn.MaxPool3d(1, return_indices=True), nn.AdaptiveMaxPool3d(1, return_indices=True)):
        with pytest.raises(TypeError, match="max_pool3d_with_indices has no rule for packed clips.*per_length"):
            pool(pack(make_clips((2, 3))))


def test_small_clips_share_a_call_and_neighbours_of_one_length_do(make_clips, way, monkeypatch):
    calls = []

    def spy(dense, *args):
        calls.append(tuple(dense.shape[0:3:2]))
        return torch.conv3d(dense, *args)

    monkeypatch.setattr("slowfast_atfr.packed.temporal.F.conv3d", spy)
    conv3d(pack(make_clips((2, 5, 5, 2))), torch.randn(4, 4, 3, 3, 3).double(), padding=1)
    ways = {"buffer": [(1, 19)], "dense batch": [(4, 5)], "one clip after the other": [(1, 2), (2, 5), (1, 2)]}
    assert calls == ways[way]


@pytest.mark.parametrize("round_to", [1, 4, 16])
@pytest.mark.parametrize("way", ["buffer"], indirect=True)
def test_a_multiple_changes_the_buffer_and_no_result(check_alone, round_to, monkeypatch):
    buffers = []

    def spy(dense, *args):
        buffers.append(dense.shape[2])
        return torch.conv3d(dense, *args)

    monkeypatch.setattr("slowfast_atfr.packed.temporal.F.conv3d", spy)
    conv = nn.Conv3d(4, 4, 3, padding=1).double()
    x = PackedClips(pack([torch.randn(4, t, 5, 5).double() for t in (3, 1, 5)]).joined, (3, 1, 5), round_to=round_to)
    assert conv3d(x, conv.weight, padding=1).round_to == round_to
    assert buffers == [-(-13 // round_to) * round_to]
    monkeypatch.undo()
    check_alone(conv, (3, 1, 5), round_to=round_to)


@pytest.mark.parametrize("frames", [5, 6, 7, 8])
def test_a_kernel_longer_than_the_clips_has_the_right_gradient(frames):
    """oneDNN's own is wrong for six and seven frames, and overwrites memory for five; from eight on a window fits."""
    clips, kernel = torch.randn(2, 32, frames, 3, 3), torch.randn(64, 32, 7, 1, 1)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        weight = kernel.to(dtype).requires_grad_()
        x = pack(list(clips)) if dtype == torch.float32 else clips.double()
        out = F.conv3d(x, weight, None, (2, 1, 1), (3, 0, 0))
        out = torch.stack(unpack(out)) if dtype == torch.float32 else out
        (grad,) = torch.autograd.grad(out.square().sum(), weight)
        gradients.append(grad.double())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("channels", [4, 8, 12])
def test_a_kernel_of_one_pixel_that_steps_has_the_right_gradient(channels):
    """oneDNN's own, of few channels in two dimensions, overwrites memory or ends the process."""
    conv = nn.Conv3d(channels, 8, 1, stride=(1, 2, 2), bias=False)
    clips = torch.randn(2, channels, 30, 16, 16)
    for _ in range(5):
        conv.zero_grad()
        conv(pack(list(clips))).joined.square().sum().backward()
    exact = F.conv3d(clips.double(), weight := conv.weight.detach().double().requires_grad_(), None, (1, 2, 2))
    (grad,) = torch.autograd.grad(exact.square().sum(), weight)
    torch.testing.assert_close(conv.weight.grad.double(), grad, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("way", ["autocast", "bfloat16"])
def test_a_kernel_longer_than_clips_of_half_precision_has_the_whole_gradient(frames, way):
    """oneDNN leaves parts of its own as they were in memory."""
    clips, kernel = torch.randn(10, 64, frames, 4, 4), torch.randn(16, 64, 3, 1, 1)
    x = pack(list(clips if way == "autocast" else clips.bfloat16()))
    for _ in range(20):  # memory that others have used, and given back
        torch.full((16, 64, 3), torch.nan, dtype=torch.bfloat16)
        weight = (kernel if way == "autocast" else kernel.bfloat16()).clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
            out = F.conv3d(x, weight, None, 1, (1, 0, 0))
        (grad,) = torch.autograd.grad(out.joined.float().sum(), weight)
        assert torch.isfinite(grad).all()
    exact = kernel.double().requires_grad_()
    (expected,) = torch.autograd.grad(F.conv3d(clips.double(), exact, None, 1, (1, 0, 0)).sum(), exact)
    torch.testing.assert_close(grad.double(), expected, rtol=0.05, atol=1.0)


def test_clips_of_almost_one_length_run_as_a_dense_batch_where_gaps_cost_more(check_alone, way, monkeypatch):
    """Kernels that reach far beyond short clips: gaps of 4 frames, or 2 + 2 + 3 frames as 3 clips of 3."""
    calls = []

    def spy(dense, *args):
        calls.append(tuple(dense.shape[0:3:2]))
        return torch.conv3d(dense, *args)

    monkeypatch.setattr("slowfast_atfr.packed.temporal.F.conv3d", spy)
    monkeypatch.setattr("slowfast_atfr.packed.cpu_quirks.ONEDNN_FROM", 0)
    given = (torch.randn(4, 4, 3, 3, 3, dtype=torch.float64), None, 1, (4, 1, 1), (4, 1, 1))
    check_alone(lambda x: conv3d(x, *given), (2, 2, 3), alone_op=lambda x: torch.conv3d(x, *given))
    assert way != "buffer" or calls == [(3, 3)]
    conv3d(pack([torch.randn(4, length, 5, 5) for length in (2, 9)]), given[0].float(), padding=1)
    assert way != "buffer" or calls[1:] == [(1, 14)], "clips of other lengths go by the buffer, which is shorter"


@pytest.mark.parametrize("size, calls_made", [(4, [(2, 5)]), (81, [(1, 9)])])
def test_small_clips_run_as_a_dense_batch_where_torch_is_slow_on_one(make_clips, way, monkeypatch, size, calls_made):
    """A buffer of 9 frames of 32 channels has C x T x H of 1152 or 23328."""
    calls = []

    def spy(dense, *args):
        calls.append(tuple(dense.shape[0:3:2]))
        return torch.conv3d(dense, *args)

    monkeypatch.setattr("slowfast_atfr.packed.temporal.F.conv3d", spy)
    monkeypatch.setattr("slowfast_atfr.packed.cpu_quirks.SLOWNESS", 3)
    conv3d(pack(make_clips((5, 1), channels=32, size=size)), torch.randn(1, 32, 3, 3, 3).double(), padding=1)
    assert way != "buffer" or calls == calls_made
