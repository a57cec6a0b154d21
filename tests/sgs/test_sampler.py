"""The layer: it equals a plain reference, clip by clip, whatever the other clips."""

import pytest
import torch
from torch import nn

from slowfast_atfr.config import ConfigError
from slowfast_atfr.packed import PackedClips, pack, unpack
from slowfast_atfr.sgs import KERNEL_REGISTRY, SGS, SIMILARITY_REGISTRY, PathwaySGS, record
from tests.covering import every_pair

KERNELS = sorted(name for name, _ in KERNEL_REGISTRY)
SIMILARITIES = sorted(name for name, _ in SIMILARITY_REGISTRY)
# What follows does not change when all embeddings are shifted, or when each dimension is scaled for itself
SHIFTS_FREE = ("mean_l2", "mean_l1", "mean_mahalanobis", "cartesian", "path")
SCALES_FREE = ("cartesian",)


def make_sgs(channels=6, **options):
    sgs = SGS(channels, **options).double().eval()
    nn.init.normal_(sgs.embed.bn.running_mean)
    nn.init.uniform_(sgs.embed.bn.running_var, 0.5, 1.5)
    return sgs


def make_clip(frames, channels=6):
    return torch.randn(channels, frames, 4, 3, dtype=torch.float64)


def coordinates_of(sgs, clip):
    """(T, K), and the extents."""
    pooled = clip.mean((2, 3)).T
    embeddings = sgs.embed.bn(sgs.embed.fc2(torch.relu(sgs.embed.fc1(pooled))))
    found = sgs.similarity(embeddings[None], torch.ones(1, len(embeddings), dtype=torch.bool))
    return found.values[0], found.extents


@pytest.mark.parametrize(
    ("similarity", "kernel", "num_bins", "order"), every_pair(SIMILARITIES, KERNELS, [-1, 3, 40], ["bin", "time"])
)
def test_it_is_the_reference_for_each_clip(reference, similarity, kernel, order, num_bins):
    sgs = make_sgs(similarity=similarity, kernel=kernel, order=order, num_bins=num_bins, embed_dim=3)
    clips = [make_clip(frames) for frames in (9, 1, 5, 9)]
    for clip, out in zip(clips, unpack(sgs(pack(clips))), strict=True):
        bins = clip.shape[1] if num_bins == -1 else num_bins
        expected = reference(clip, *coordinates_of(sgs, clip), bins, kernel, order)
        torch.testing.assert_close(out, expected)
        assert out.shape[1] <= clip.shape[1]


@pytest.mark.parametrize(("coordinates", "axes"), [("all", 5), ("angular", 4), ("radial", 1)])
def test_a_part_of_the_spherical_coordinates(reference, coordinates, axes):
    sgs = make_sgs(similarity="spherical", coordinates=coordinates, num_bins=2, embed_dim=5)
    clip = make_clip(9)
    values, extents = coordinates_of(sgs, clip)
    assert values.shape == (9, axes)
    with record(sgs) as log:
        (out,) = unpack(sgs(pack([clip])))
    torch.testing.assert_close(out, reference(clip, values, extents, 2, "linear"))
    (seen,) = log[""]
    assert seen.bin.shape == seen.similarity.shape == ((9, axes) if axes > 1 else (9,))
    assert seen.num_active == len(set(seen.output.tolist())) == out.shape[1]


def test_a_grid_of_256_bins_in_8_dimensions_runs():
    sgs = make_sgs(similarity="cartesian", num_bins=256, kernel="delta")
    clips = [make_clip(9), make_clip(4)]
    assert sgs(pack(clips)).lengths == (9, 4)  # 256^8 cells; frames that differ are alone in theirs


@pytest.mark.parametrize(
    ("similarity", "kernel", "lengths", "block_size"),
    every_pair(SIMILARITIES, KERNELS, [(5,), (1, 8), (8, 8, 3), (4, 4)], [0, 4]),
)
def test_a_clip_does_not_feel_its_neighbours(similarity, kernel, block_size, lengths):
    sgs = make_sgs(similarity=similarity, kernel=kernel, block_size=block_size, num_bins=3)
    clips = [make_clip(frames) for frames in lengths]
    for clip, together in zip(clips, unpack(sgs(pack(clips))), strict=True):
        (alone,) = unpack(sgs(pack([clip])))
        torch.testing.assert_close(together, alone)


def test_blocks_are_sampled_one_by_one_and_laid_end_to_end():
    blocks, whole = make_sgs(block_size=4), make_sgs()
    whole.load_state_dict(blocks.state_dict())
    clip = make_clip(10)
    (out,) = unpack(blocks(pack([clip])))
    parts = [unpack(whole(pack([part])))[0] for part in clip.split(4, dim=1)]
    torch.testing.assert_close(out, torch.cat(parts, 1))


def test_dense_and_packed_input_give_the_same():
    sgs, clips = make_sgs(), [make_clip(7) for _ in range(3)]
    for a, b in zip(unpack(sgs(torch.stack(clips))), unpack(sgs(pack(clips))), strict=True):
        torch.testing.assert_close(a, b)


def test_a_static_clip_becomes_its_mean_frame_under_linear_mean_and_all_but_vanishes_under_linear():
    frame = make_clip(1)
    clip = frame.expand(-1, 8, -1, -1).clone()
    (mean,) = unpack(make_sgs(kernel="linear_mean")(pack([clip])))
    torch.testing.assert_close(mean, frame)
    (lost,) = unpack(make_sgs(kernel="linear")(pack([clip])))
    assert lost.shape[1] == 1 and lost.abs().max() < 1e-5 * frame.abs().max()


def test_permuting_frames_permutes_nothing_in_the_result():
    sgs, clip = make_sgs(kernel="linear", num_bins=4), make_clip(9)
    (out,) = unpack(sgs(pack([clip])))
    (permuted,) = unpack(sgs(pack([clip[:, torch.randperm(9)]])))
    torch.testing.assert_close(out, permuted)


def test_bins_at_test_time_may_differ():
    sgs, clip = make_sgs(num_bins=8, test_num_bins=2), make_clip(8)
    assert unpack(sgs(pack([clip])))[0].shape[1] <= 2
    sgs.train()
    with record(sgs) as log:
        sgs(pack([clip, make_clip(8)]))
    assert max(c.bin.max() for c in log[""]) == 7  # the farthest frame is in the last of 8 bins


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("similarity", sorted({*SIMILARITIES} - {"uniform_time"}))  # which looks at no embedding
def test_every_parameter_gets_a_gradient_and_so_does_the_input(similarity, kernel):
    sgs = SGS(6, similarity=similarity, kernel=kernel, num_bins=2).double().train()
    x = torch.randn(2, 6, 8, 3, 3, dtype=torch.float64, requires_grad=True)
    out = sgs(x)
    assert isinstance(out, PackedClips)
    sum((clip * torch.randn_like(clip)).sum() for clip in unpack(out)).backward()
    assert torch.isfinite(x.grad).all() and (x.grad != 0).any()
    largest = max(parameter.grad.abs().max() for parameter in sgs.parameters())
    for name, parameter in sgs.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        free = {"embed.bn.bias": SHIFTS_FREE, "embed.bn.weight": SCALES_FREE}.get(name, ())
        assert (parameter.grad.abs().max() > 1e-10 * largest) == (similarity not in free), name


def test_a_single_frame_can_train():
    out = SGS(4, kernel="linear_mean").train()(torch.randn(1, 4, 1, 2, 2))
    assert out.lengths == (1,)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_bins": 0}, "0 bins; it takes a whole number from 1 to 16777216, or -1"),
        ({"num_bins": 2**24 + 1}, "16777217 bins"),  # float32 has no such number
        ({"num_bins": 2.5}, "2.5 bins"),
        ({"test_num_bins": -2}, "-2 bins"),
        ({"block_size": -1}, "block_size -1; it takes at least 1, or 0"),
        ({"order": "tme"}, "order 'tme'; choose one of bin, time"),
        ({"batching": "ragged"}, "batching 'ragged'; choose one of packed, padded"),
        ({"embed_dim": 0}, "embed_dim 0; it takes at least 1"),
        ({"similarity": "spherical", "embed_dim": 1}, "embed_dim 1; .* 2 for angles"),
        ({"similarity": "magnitud"}, "SGS.SIMILARITY is 'magnitud'; choose one of cartesian, .*spherical"),
        ({"kernel": "cubic"}, "SGS.KERNEL is 'cubic'; choose one of delta, .*linear_normalized"),
        ({"coordinates": "polar", "similarity": "spherical"}, "SGS.COORDINATES is 'polar'; choose one of all, angular"),
        ({"coordinates": "radial"}, "SGS.SIMILARITY magnitude has neither angles nor a radius"),
    ],
)
def test_wrong_arguments_are_reported(wrong, message):
    with pytest.raises(ConfigError, match=message):
        SGS(4, **wrong)


def test_one_dimension_has_a_radius():
    assert SGS(4, similarity="spherical", coordinates="radial", embed_dim=1)(torch.randn(2, 4, 5, 2, 2)).lengths


@pytest.mark.parametrize("kernel", KERNELS)
def test_padded_is_packed_with_zero_frames_after_the_shorter_clips(kernel):
    packed, padded = make_sgs(kernel=kernel), make_sgs(kernel=kernel, batching="padded")
    padded.load_state_dict(packed.state_dict())
    clips = [make_clip(frames) for frames in (9, 2, 5)]
    expected, out = unpack(packed(pack(clips))), padded(pack(clips))
    longest = max(clip.shape[1] for clip in expected)
    assert isinstance(out, torch.Tensor) and out.shape == (3, 6, longest, 4, 3)
    assert out.is_contiguous(memory_format=torch.channels_last_3d)
    for row, clip in zip(out, expected, strict=True):
        assert torch.equal(row[:, : clip.shape[1]], clip) and not row[:, clip.shape[1] :].any()


@pytest.mark.parametrize(
    ("similarity", "bad", "training"),
    every_pair(SIMILARITIES, [float("nan"), float("inf"), float("-inf")], [False, True]),
)
def test_frames_that_are_not_finite_name_the_layer_and_the_clip(similarity, bad, training):
    layer = PathwaySGS({0: make_sgs(), 1: make_sgs(similarity=similarity, block_size=3)}, label="s2_sgs")
    layer.train(training)  # batch statistics then spoil the embeddings of the other clips, too
    slow, fast = torch.randn(3, 6, 4, 2, 2).double(), torch.randn(3, 6, 8, 2, 2).double()
    fast[1, 0, 5, 1, 1] = bad
    for x in (fast, pack(list(fast))):
        with pytest.raises(FloatingPointError, match=r"s2_sgs.pathway1: the input frames of clip 1 of the batch"):
            layer([slow, x])


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_embeddings_that_are_not_finite_name_the_layer_and_the_clip(similarity):
    layer = PathwaySGS({0: make_sgs(similarity=similarity, block_size=2)}, label="s3_sgs")
    clips = torch.randn(3, 6, 5, 2, 2).double()
    clips[2] *= 1e300  # finite, but no embedding of it is
    layer.pathway0.embed.fc1.weight.data.mul_(1e30)
    with pytest.raises(FloatingPointError, match=r"s3_sgs.pathway0: the embeddings of clip 2 of the batch .*diverged"):
        layer([clips])


def test_pathways_that_are_not_sampled_pass():
    layer = PathwaySGS({1: make_sgs(channels=2)}, label="s2_sgs")
    slow, fast = torch.randn(2, 6, 4, 2, 2).double(), torch.randn(2, 2, 8, 2, 2).double()
    out = layer([slow, fast])
    assert out[0] is slow and isinstance(out[1], PackedClips)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_neither_bins_nor_sums(similarity, dtype):
    torch.manual_seed(0)
    sgs = SGS(16, similarity=similarity, num_bins=4).eval()
    x = torch.randn(4, 16, 12, 4, 4)
    with record(sgs) as plain:
        expected = sgs(x)
    with record(sgs) as cast, torch.autocast("cpu", dtype):
        out = sgs(x)
    assert out.lengths == expected.lengths and torch.equal(out.joined, expected.joined)
    for a, b in zip(plain[""], cast[""], strict=True):
        assert (a.bin == b.bin).all() and (a.similarity == b.similarity).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_frames_of_a_shorter_type_are_binned_as_the_same_numbers_in_float32(dtype):
    sgs, x = SGS(16, num_bins=8, kernel="linear_mean").eval(), torch.randn(4, 16, 12, 4, 4).to(dtype)
    with record(sgs) as log, torch.autocast("cpu", dtype):
        short, long = sgs(x), sgs(x.float())
    assert short.dtype == dtype and short.lengths == long.lengths
    assert all((a.bin == b.bin).all() for a, b in zip(log[""][:4], log[""][4:], strict=True))
    eps = torch.finfo(dtype).eps  # weights and sums are rounded to the type of the frames
    torch.testing.assert_close(short.joined.float(), long.joined, rtol=2 * eps, atol=2 * eps)


def test_a_layer_of_a_shorter_type_runs():
    sgs = SGS(16).to(torch.bfloat16).eval()
    assert sgs(torch.randn(2, 16, 6, 4, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.needs_cuda
@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_gpu_gives_what_the_cpu_gives_under_autocast_too(similarity, dtype):
    sgs, x = SGS(16, similarity=similarity, num_bins=4, kernel="linear_mean").eval(), torch.randn(4, 16, 12, 4, 4)
    expected = sgs(x)
    torch.set_float32_matmul_precision("high")  # TF32, which the layer is to switch off
    try:
        with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
            out = sgs.cuda()(x.cuda())
    finally:
        torch.set_float32_matmul_precision("highest")
    assert out.lengths == expected.lengths
    torch.testing.assert_close(out.joined.cpu(), expected.joined, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(2, 6, 4, 3, 3, dtype=torch.uint8), TypeError, "SGS: frames must be floating point, got .*uint8"),
        (
            torch.zeros(2, 5, 4, 3, 3),
            ValueError,
            r"frames must be \(S, H, W, 6\), at least one, got \(8, 3, 3, 5\)",
        ),
        (torch.zeros(0, 6, 4, 3, 3), ValueError, "at least one, got"),
        (torch.zeros(2, 6, 0, 3, 3), ValueError, "at least one, got"),
        (torch.zeros(2, 6, 4, 3), ValueError, "a dense .N, C, T, H, W., got a tensor of shape"),
    ],
)
def test_what_cannot_be_sampled_is_reported(x, error, message):
    with pytest.raises(error, match=message):
        SGS(6)(x)


@pytest.mark.parametrize(
    "norm", [nn.LayerNorm, nn.Identity, lambda dim: nn.BatchNorm1d(dim, track_running_stats=False)]
)
def test_other_norms_embed_too(norm):
    sgs = SGS(6, norm=norm)
    assert sgs.train()(torch.randn(2, 6, 4, 3, 3)).lengths
    if norm in (nn.LayerNorm, nn.Identity):
        assert sgs(torch.randn(1, 6, 1, 3, 3)).lengths == (1,)


def test_the_factor_of_the_straight_through_gradient_reaches_the_kernel():
    x, grads = torch.randn(2, 6, 8, 3, 3, dtype=torch.float64), []
    state = SGS(6, kernel="delta").state_dict()
    for scale in (1.0, 3.0, 0.0):
        sgs = SGS(6, kernel="delta", num_bins=3, grad_scale=scale).double().train()
        sgs.load_state_dict(state)
        sgs(x).joined.square().sum().backward()
        grads.append(sgs.embed.fc2.weight.grad)
    torch.testing.assert_close(grads[1], 3 * grads[0])
    assert grads[0].any() and not grads[2].any()


def test_the_multiple_leaves_with_the_clips():
    assert SGS(6, pack_multiple=4)(torch.randn(2, 6, 8, 3, 3)).round_to == 4


def test_products_run_in_full_precision(monkeypatch):
    seen = []
    monkeypatch.setattr(torch, "bmm", lambda *args, run=torch.bmm: (seen.append(precision()), run(*args))[1])
    precision = torch.get_float32_matmul_precision
    sgs = SGS(6, num_bins=2)
    sgs.embed.register_forward_hook(lambda *_: seen.append(precision()))
    torch.set_float32_matmul_precision("medium")
    try:
        sgs(torch.randn(2, 6, 8, 3, 3).bfloat16().requires_grad_()).joined.sum().backward()
        assert precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert len(seen) == 1 + 1 + 2 and set(seen) == {"highest"}  # embedding; the sums; their two gradients


def test_the_sums_cannot_be_differentiated_twice_and_say_so():
    x = torch.randn(1, 6, 4, 3, 3, requires_grad=True)
    (grad,) = torch.autograd.grad(SGS(6)(x).joined.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()
