"""Segments of two pathways: cut at the same times, and a clip is what it is alone."""

import numpy as np
import pytest
import torch

from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.models import build_model
from slowfast_atfr.packed import lengths_of, pack, sizes_of, unpack
from slowfast_atfr.sgs import SegmentSGS, record
from slowfast_atfr.sgs.aligned_segments import sample_aligned
from slowfast_atfr.sgs.pathways import PathwaySGS, without_thresholds
from slowfast_atfr.sgs.segment_sampler import LOSSES
from slowfast_atfr.sgs.segments import SEGMENT_MAPS
from tests.sgs.moving_clips import C, moving_clip, trained


@pytest.mark.parametrize("loss", LOSSES)
def test_both_pathways_are_cut_at_the_same_times(loss):
    slow, fast = (trained(SegmentSGS(C, num_bins=3, loss=loss), batches=2) for _ in range(2))
    clips = torch.stack([moving_clip(32, moves, seed=seed) for seed, moves in enumerate((1, 0.4))])
    out_slow, out_fast = sample_aligned(slow, fast, clips[:, :, ::4], clips)
    assert lengths_of(out_slow) == (3, 3) and lengths_of(out_fast) == (12, 12)
    assert sizes_of(out_slow).sum() == 16 and np.array_equal(sizes_of(out_fast), np.repeat(sizes_of(out_slow), 4))
    first = int(sizes_of(out_slow)[0])
    torch.testing.assert_close(unpack(out_fast)[0][:, 0], clips[0, :, :first].mean(1))
    with pytest.raises(ValueError, match="the same multiple"):
        sample_aligned(slow, fast, clips[:, :, :5], clips)


@pytest.mark.parametrize(("loss", "segment_map"), [("variance", "mean"), *(("motion", kind) for kind in SEGMENT_MAPS)])
@pytest.mark.parametrize("block", [0, 3])
def test_pathways_of_clips_of_different_lengths_stay_aligned(block, loss, segment_map):
    """A last block that is shorter than others, and clips that an earlier layer has left with different lengths."""
    slow, fast = (SegmentSGS(C, 2, size * block, loss=loss, segment_map=segment_map).eval() for size in (1, 4))
    clips = [moving_clip(4 * frames, 1, seed=frames) for frames in (8, 3, 5)]
    together = sample_aligned(slow, fast, pack([clip[:, ::4] for clip in clips]), pack(clips))
    assert lengths_of(together[1]) == tuple(4 * length for length in lengths_of(together[0]))
    for index, clip in enumerate(clips):
        alone = sample_aligned(slow, fast, clip[None, :, ::4], clip[None])
        for ours, own in zip(together, alone, strict=True):
            assert torch.equal(unpack(ours)[index], unpack(own)[0])


@pytest.mark.parametrize("pathway", ["slow", "fast"])
@pytest.mark.parametrize("segment_map", SEGMENT_MAPS)
def test_clips_that_are_not_finite_are_named_and_nothing_else_is_reported(pathway, segment_map):
    slow, fast = (SegmentSGS(C, 2, loss="motion", segment_map=segment_map).eval() for _ in range(2))
    slow.label, fast.label = "slow", "fast"
    clips = torch.stack([moving_clip(16, 1, seed=seed) for seed in range(2)])
    bad = {"slow": clips[:, :, ::4].clone(), "fast": clips.clone()}
    bad[pathway][1, 0, 1, 0, 0] = torch.nan
    with np.errstate(all="raise"), pytest.raises(FloatingPointError, match=f"{pathway}: the input frames of clip 1"):
        sample_aligned(slow, fast, bad["slow"], bad["fast"])


def test_pathways_that_are_cut_together_become_the_same_kind_of_map():
    slow, fast = SegmentSGS(C, 2, segment_map="overlap"), SegmentSGS(C, 2, segment_map="middle")
    clip = moving_clip(16)[None]
    with pytest.raises(ConfigError, match="give both the same"):
        sample_aligned(slow, fast, clip[:, :, ::4], clip)


def aligned_layer(loss):
    samplers = {pathway: SegmentSGS(C, target_maps=3, loss=loss) for pathway in (0, 1)}
    return PathwaySGS(samplers, "s2_sgs", aligned=True)


def test_thresholds_of_both_pathways_go_with_their_settings(caplog):
    layer = aligned_layer("motion")
    assert without_thresholds(layer) == ["s2_sgs.pathway0"]  # which the fast one follows
    clips = torch.stack([moving_clip(32, moves, seed=seed) for seed, moves in enumerate((1, 0.4))])
    layer.train()([clips[:, :, ::4], clips])
    assert not without_thresholds(layer)
    other = aligned_layer("variance")
    other.load_state_dict(layer.state_dict())
    assert not any(value.any() for value in other.state_dict().values()) and len(caplog.messages) == 2
    assert without_thresholds(other) == ["s2_sgs.pathway0"]
    apart = PathwaySGS({0: SegmentSGS(C, target_maps=3), 1: SegmentSGS(C, target_maps=3)}, "s2_sgs")
    assert without_thresholds(apart) == ["s2_sgs.pathway0", "s2_sgs.pathway1"]


def test_a_slowfast_of_aligned_segments_gives_each_clip_what_it_gives_it_alone(repo):
    keys = {"NUM_BINS": "[-1]", "TARGET_MAPS": "[3]", "ALIGN_PATHWAYS": "True", "WEIGHTED_HEAD": "True"}
    keys |= {"BLOCK_SIZE": "[0, 0]"}
    pairs = [word for key, value in keys.items() for word in (f"SGS.{key}", value)]
    pairs += ["DATA.TRAIN_CROP_SIZE", "32", "DATA.TEST_CROP_SIZE", "32", "MODEL.NUM_CLASSES", "5"]
    pairs += ["NUM_GPUS", "0", "SGS.GROUPING", "segments"]
    cfg = load_cfg(str(repo / "configs/Demo/SLOWFAST_R18_ATFR.yaml"), pairs)
    torch.manual_seed(0)
    model = build_model(cfg)
    clips = torch.randn(4, 3, 32, 32, 32).cumsum(2)
    clips[:2] = clips[:2, :, :1] + 0.01 * torch.randn(2, 3, 32, 32, 32)
    model.train()
    with torch.no_grad():
        model([clips[:, :, ::4], clips])
    model.eval()
    with record(model) as log, torch.no_grad():
        together = model([clips[:, :, ::4], clips])
        counts = [clip.num_active for clip in log["s2_sgs.pathway0"]]
        fast = [clip.num_active for clip in log["s2_sgs.pathway1"]]
        alone = torch.cat([model([clip[None, :, ::4], clip[None]]) for clip in clips])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert max(counts[:2]) < min(counts[2:]) and fast == [4 * count for count in counts]
