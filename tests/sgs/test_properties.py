"""What holds for every clip, whatever its frames: hypothesis draws embeddings, lengths and bins."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st
from torch import Tensor, nn

from slowfast_atfr.packed import pack, unpack
from slowfast_atfr.sgs import KERNEL_REGISTRY, SGS, SIMILARITY_REGISTRY, record

KERNELS = sorted(name for name, _ in KERNEL_REGISTRY)
SIMILARITIES = sorted(name for name, _ in SIMILARITY_REGISTRY)
DIMS = 3  # of the embedding


class FirstChannels(nn.Module):
    """In the place of the embedding network: the embedding of a frame is its first channels."""

    def forward(self, means: Tensor, lengths: Sequence[int] = ()) -> Tensor:
        return means[:, :DIMS]


def sampler(similarity: str, kernel: str, num_bins: int, channels: int = DIMS + 1, **options) -> SGS:
    sgs = SGS(channels, num_bins, similarity=similarity, kernel=kernel, embed_dim=DIMS, **options).eval()
    sgs.embed = FirstChannels()
    return sgs


def sample(sgs: SGS, clips: list[Tensor]):
    with record(sgs) as log:
        out = unpack(sgs(pack([clip[:, :, None, None] for clip in clips])))
    return [clip[:, :, 0, 0] for clip in out], log[""]


@st.composite
def clip_of(draw, max_frames: int = 9) -> Tensor:
    """(C, T), T from 1; values on a grid that leaves no rounding noise, many of them equal."""
    frames = draw(st.integers(1, max_frames))
    grid = st.integers(-16, 16).map(lambda step: step / 8)
    values = draw(np_st.arrays("float64", (DIMS + 1, frames), elements=grid))
    return torch.from_numpy(values)


similarities, kernels = st.sampled_from(SIMILARITIES), st.sampled_from(KERNELS)
bins, orders = st.sampled_from([-1, 1, 2, 3, 8, 64]), st.sampled_from(["bin", "time"])


@given(similarities, kernels, bins, orders, st.integers(0, 4), st.lists(clip_of(), min_size=1, max_size=5))
@settings(max_examples=40)
def test_a_clip_in_a_batch_is_the_clip_alone(similarity, kernel, num_bins, order, block_size, clips):
    sgs = sampler(similarity, kernel, num_bins, order=order, block_size=block_size)
    together, seen = sample(sgs, clips)
    for clip, out, log in zip(clips, together, seen, strict=True):
        (alone,), (alone_log,) = sample(sgs, [clip])
        assert (log.bin == alone_log.bin).all() and (log.output == alone_log.output).all()
        torch.testing.assert_close(out, alone)


@given(similarities, kernels, bins, clip_of())
@settings(max_examples=40)
def test_active_bins_are_at_most_the_frames_and_the_cells(similarity, kernel, num_bins, clip):
    sgs = sampler(similarity, kernel, num_bins)
    (out,), (log,) = sample(sgs, [clip])
    frames = clip.shape[1]
    axes = DIMS if similarity in ("cartesian", "spherical") else 1
    limit = frames if num_bins == -1 else num_bins**axes
    assert 1 <= out.shape[1] == log.num_active == len(set(log.output.tolist())) <= min(limit, frames)


@given(similarities.filter(lambda name: name != "path"), kernels, bins, clip_of(), st.randoms(use_true_random=False))
@settings(max_examples=100, derandomize=True)  # a mean rounded otherwise may move a frame on a border
def test_the_order_of_frames_does_not_matter(similarity, kernel, num_bins, clip, random):
    """Permuted frames are in the bins they were in, and the sums are the same but for the order of adding.

    `path` is the way along them, so there it does.
    """
    sgs = sampler(similarity, kernel, num_bins)
    shuffled = list(range(clip.shape[1]))
    random.shuffle(shuffled)
    (out,), (log,) = sample(sgs, [clip])
    (permuted,), (permuted_log,) = sample(sgs, [clip[:, shuffled]])
    assert (log.bin[shuffled] == permuted_log.bin).all()
    torch.testing.assert_close(permuted, out)


@given(similarities, kernels, bins, clip_of(), st.sampled_from([2.0**-10, 0.5, 2.0, 2.0**20]))
@settings(max_examples=40)
def test_scaling_embeddings_by_a_power_of_two_leaves_the_bins_alone(similarity, kernel, num_bins, clip, scale):
    sgs = sampler(similarity, kernel, num_bins)
    scaled = clip.clone()
    scaled[:DIMS] *= scale
    _, (log,) = sample(sgs, [clip])
    _, (scaled_log,) = sample(sgs, [scaled])
    assert (log.bin == scaled_log.bin).all()


@given(similarities.filter(lambda name: name != "uniform_time"), kernels, bins, orders, clip_of(), st.integers(1, 9))
@settings(max_examples=40)
def test_a_static_clip_is_one_map_and_the_means_are_its_frame(similarity, kernel, num_bins, order, clip, frames):
    static = clip[:, :1].expand(-1, frames)
    (out,), (log,) = sample(sampler(similarity, kernel, num_bins, order=order), [static])
    assert log.num_active == 1
    if kernel in ("linear_mean", "delta_normalized"):
        torch.testing.assert_close(out, clip[:, :1])
    if kernel == "delta":
        torch.testing.assert_close(out, frames * clip[:, :1])


@given(similarities, bins, clip_of())
@settings(max_examples=40)
def test_weights_of_the_means_sum_to_one_and_no_frame_is_lost(similarity, num_bins, clip):
    clip = torch.cat([clip, torch.ones(1, clip.shape[1], dtype=clip.dtype)])  # a channel that adds up the weights
    for kernel in ("linear_mean", "delta_normalized"):
        sgs = sampler(similarity, kernel, num_bins, channels=len(clip))
        (out,), _ = sample(sgs, [clip])
        torch.testing.assert_close(out[-1], torch.ones_like(out[-1]))
    (out,), _ = sample(sampler(similarity, "delta", num_bins, channels=len(clip)), [clip])
    torch.testing.assert_close(out.sum(1), clip.sum(1))


@given(st.permutations(range(8)))
def test_with_as_many_bins_as_frames_in_even_steps_only_the_edge_of_the_formula_is_lost(order):
    """Magnitudes 1/16, 3/16 .. 13/16 at the centres of 8 bins, and the largest, 1, on the border of the last."""
    magnitudes = torch.tensor([(2 * step + 1) / 16 if step < 7 else 1.0 for step in order], dtype=torch.float64)
    clip = torch.zeros(DIMS + 1, 8, dtype=torch.float64)
    clip[0], clip[DIMS] = magnitudes, torch.arange(8) + 1.0
    sgs = sampler("magnitude", "linear", -1)
    (out,), (log,) = sample(sgs, [clip])
    assert log.num_active == 8
    by_size = clip[:, magnitudes.argsort()]
    torch.testing.assert_close(out[:, :7], by_size[:, :7])  # weight 1 at the centre
    assert not out[:, 7].any()  # weight 0 on the border
    (kept,), _ = sample(sampler("magnitude", "linear_mean", -1), [clip])
    torch.testing.assert_close(kept, by_size)  # linear_mean loses none


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_the_gradient_of_the_layer_is_that_of_the_clip_alone(similarity, kernel):
    torch.manual_seed(0)
    clips = [torch.randn(DIMS + 1, frames, dtype=torch.float64) for frames in (5, 2, 9, 5)]
    sgs = sampler(similarity, kernel, 3)

    def gradients(batch: list[Tensor]) -> list[Tensor]:
        leaves = [clip.clone().requires_grad_() for clip in batch]
        out, _ = sample(sgs, leaves)
        sum((clip * torch.arange(1, clip.numel() + 1).view_as(clip)).sum() for clip in out).backward()
        return [leaf.grad for leaf in leaves]

    for together, clip in zip(gradients(clips), clips, strict=True):
        torch.testing.assert_close(together, gradients([clip])[0])


@given(kernels, bins, clip_of())
@settings(max_examples=30)
def test_bins_of_the_path_are_stretches_in_the_order_of_time(kernel, num_bins, clip):
    _, (log,) = sample(sampler("path", kernel, num_bins), [clip])
    outputs = log.output.tolist()
    assert outputs == sorted(outputs)
