"""What every data set does: items that depend on (seed, epoch, index) only, one opening a video, and bad videos."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets import video_dataset
from slowfast_atfr.datasets.augmentation.augment import cut_planned, erase_planned
from slowfast_atfr.datasets.decoder import DecodeError
from slowfast_atfr.datasets.transform import cut, val_window, view_windows
from slowfast_atfr.datasets.video_dataset import MAX_REPLACEMENTS, VideoDataset


class Fake(VideoDataset):
    """Videos in memory, of frames filled with their number; `fails` lists how often opening each video fails."""

    def __init__(self, cfg, split, count=6, fails=None):
        super().__init__(cfg, split, np.arange(count) % 3)
        self.fails = dict(fails or {})
        self.opened = []

    def path(self, index):
        return f"video{index}"

    @contextmanager
    def open(self, index):
        self.opened.append(index)
        if self.fails.get(index, 0):
            self.fails[index] -= 1
            raise DecodeError(self.path(index), "bad")
        yield FakeVideo()

    def random_indices(self, video, rng):
        return np.sort(rng.choice(video.num_frames, 4, replace=False))

    def middle_indices(self, video):
        return np.array([3, 4, 5, 6])

    def view_indices(self, video):
        return np.array([[0, 2, 4, 6], [6, 8, 10, 10]])


class FakeVideo:
    num_frames = 20

    def __init__(self):
        right = np.arange(80, dtype=np.uint8)
        self.pictures = np.stack([np.broadcast_to(right[None, :, None] + 8 * i, (40, 80, 3)) for i in range(20)])

    def read(self, indices, transform=None):
        assert len(indices) == len(set(indices)), "a frame is read once"
        return np.stack([transform(self.pictures[index]) for index in indices])

    def frames(self, wanted):
        assert (np.diff(wanted) > 0).all(), "a frame is read once"
        return ((row, self.pictures[index]) for row, index in enumerate(wanted))


ALWAYS = 10**6


def test_items_depend_on_seed_epoch_and_index_only(cfg):
    cfg.RNG_SEED = 3
    data = Fake(cfg, "train")
    first = [data[index, epoch].frames for epoch in (0, 1) for index in range(6)]
    for order in (range(12), reversed(range(12))):
        other = Fake(cfg, "train")
        for i in order:
            assert torch.equal(other[i % 6, i // 6].frames, first[i])
    assert torch.equal(data[4].frames, data[4, 0].frames)
    assert len({frames.numpy().tobytes() for frames in first}) == 12
    cfg.RNG_SEED = 4
    assert not torch.equal(Fake(cfg, "train")[0, 0].frames, first[0])


def test_a_training_clip(cfg):
    clip = Fake(cfg, "train")[4, 2]
    assert clip.frames.shape == (4, 32, 32, 3) and clip.frames.dtype == torch.uint8
    assert (clip.label, clip.index, clip.skipped) == (1, 4, ())


def augment(cfg, samples=2):
    cfg.AUG.ENABLE, cfg.AUG.NUM_SAMPLE, cfg.AUG.RE_PROB = True, samples, 1.0
    cfg.AUG.AA_TYPE = "rand-m7-n4-mstd0.5-inc1"


def test_several_clips_of_one_decoded_clip(cfg):
    augment(cfg, samples=3)
    data = Fake(cfg, "train", count=100, fails={7: ALWAYS})
    clips = data[4, 2]
    assert data.opened == [4] and len(clips) == 3
    assert {(clip.label, clip.index, clip.skipped) for clip in clips} == {(1, 4, ())}
    assert len({clip.frames.numpy().tobytes() for clip in clips}) == 3
    assert all(clip.frames.shape == (4, 32, 32, 3) and clip.frames.is_contiguous() for clip in clips)
    for clip, again in zip(clips, Fake(cfg, "train", count=100)[4, 2], strict=True):
        assert torch.equal(clip.frames, again.frames)
    replaced = data[7, 1]
    assert [len(clip.skipped) for clip in replaced] == [1, 0, 0] and len({clip.index for clip in replaced}) == 1


def test_every_clip_is_what_its_plan_makes_of_the_frames(cfg, monkeypatch):
    augment(cfg, samples=3)
    data, drawn = Fake(cfg, "train"), []
    pick, draw = data.random_indices, video_dataset.draw_plans
    monkeypatch.setattr(data, "random_indices", lambda *args: drawn.append(pick(*args)) or drawn[-1])
    monkeypatch.setattr(video_dataset, "draw_plans", lambda *args, **how: drawn.append(draw(*args, **how)) or drawn[-1])
    clips = data[2, 5]
    indices, plans = drawn
    for clip, plan in zip(clips, plans, strict=True):
        expected = np.stack([cut_planned(FakeVideo().pictures[index], [plan])[0] for index in indices])
        erase_planned(expected, plan, cfg)
        np.testing.assert_array_equal(clip.frames.numpy(), expected)


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_is_not_augmented(cfg, split):
    plain = Fake(cfg, split)[3]
    augment(cfg)
    cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE, cfg.DATA.TRAIN_JITTER_ASPECT_RELATIVE = [0.1, 0.2], [1, 2]
    assert torch.equal(Fake(cfg, split)[3].frames, plain.frames)


def test_only_videos_that_may_be_mirrored_are(cfg):
    class Directed(Fake):
        def may_flip(self, index):
            return index != 2

    data = Directed(cfg, "train")  # frames grow brighter to the right
    falling = {
        index: [
            bool(clip.frames[0, 0, 0, 0] > clip.frames[0, 0, -1, 0]) for clip in (data[index, e] for e in range(60))
        ]
        for index in (1, 2)
    }
    assert 15 < sum(falling[1]) < 45 and sum(falling[2]) == 0


def test_a_validation_clip(cfg):
    clip = Fake(cfg, "val")[4]
    expected = [cut(FakeVideo().pictures[i], [val_window(cfg)])[0] for i in (3, 4, 5, 6)]
    np.testing.assert_array_equal(clip.frames, expected)
    assert (clip.label, clip.index, clip.skipped) == (1, 4, ())


@pytest.mark.parametrize("crops", [1, 3])
def test_views_come_clip_by_clip_and_crop_by_crop(cfg, crops):
    cfg.TEST.NUM_SPATIAL_CROPS = crops
    data = Fake(cfg, "test")
    views = data[5]
    video = FakeVideo()
    assert data.opened == [5] and views.frames.shape == (2 * crops, 4, 32, 32, 3)
    for clip, indices in enumerate(data.view_indices(video)):
        for crop, window in enumerate(view_windows(cfg)):
            expected = [cut(video.pictures[i], [window])[0] for i in indices]
            np.testing.assert_array_equal(views.frames[clip * crops + crop], expected)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_video_that_fails_once_is_read_again(cfg, split):
    good, flaky = Fake(cfg, split), Fake(cfg, split, fails={2: 1})
    item = flaky[2]
    assert flaky.opened == [2, 2] and item.skipped == () and torch.equal(item.frames, good[2].frames)


def test_a_bad_video_is_replaced_in_training(cfg):
    data = Fake(cfg, "train", count=100, fails={7: ALWAYS})
    clip = data[7, 1]
    assert clip.index != 7 and clip.label == data.labels[clip.index]
    assert [(skip.index, skip.path, skip.reason) for skip in clip.skipped] == [(7, "video7", "bad")]
    assert data.opened == [7, 7, clip.index]
    again = Fake(cfg, "train", count=100, fails={7: ALWAYS})[7, 1]
    assert again.index == clip.index and torch.equal(again.frames, clip.frames)


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_bad_video_is_not_replaced_in_evaluation(cfg, split):
    item = Fake(cfg, split, fails={2: ALWAYS})[2]
    assert item.frames is None and (item.label, item.index) == (2, 2)
    assert [(skip.index, skip.path, skip.reason) for skip in item.skipped] == [(2, "video2", "bad")]


def test_nothing_but_bad_videos_ends_training(cfg):
    cfg.DATA.PATH_PREFIX = "/nowhere"
    data = Fake(cfg, "train", fails=dict.fromkeys(range(6), ALWAYS))
    with pytest.raises(ConfigError, match=r"11 videos in a row .* DATA.PATH_PREFIX \('/nowhere'\)(?s:.*)video2: bad"):
        data[2, 0]
    assert len(data.opened) == 2 * (1 + MAX_REPLACEMENTS)


def test_an_unknown_split(cfg):
    with pytest.raises(ValueError, match="'valid'; choose one of train, val, test"):
        Fake(cfg, "valid")
