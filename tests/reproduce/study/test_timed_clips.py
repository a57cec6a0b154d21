"""Clips that stand still most of the time: what they show, when they move, and that a test is the same each time."""

import numpy as np
import pytest

from slowfast_atfr.config import load_cfg
from slowfast_atfr.datasets.build import build_dataset
from slowfast_atfr.reproduce.study.timed_clips import MOVING, hold_outer_frames, register_timed_clips
from slowfast_atfr.reproduce.tables import on_lists
from tests.tiny_sets import write_clips


@pytest.mark.parametrize("frames", [1, 2, 8, 13, 16, 64])
@pytest.mark.parametrize("begin", [0, 0.3, 0.7, 0.999])
def test_the_middle_is_shown_once_and_its_ends_are_held(frames, begin):
    held = hold_outer_frames(np.arange(50, 50 + frames), begin)
    moving = max(1, round(MOVING * frames))
    assert len(held) == frames and len(set(held)) == moving
    assert set(np.diff(held)) <= {0, 1}
    assert held[0] - 50 == (frames - moving) // 2
    changes = np.flatnonzero(np.diff(held))
    assert len(changes) == 0 or changes[-1] - changes[0] == moving - 2  # without a pause


def test_it_starts_to_move_anywhere():
    first = [int((hold_outer_frames(np.arange(16), begin) == 5).sum()) for begin in np.linspace(0, 0.999, 50)]
    assert set(first) == set(range(1, 12)) and first == sorted(first)


def test_a_data_set_of_such_clips(tmp_path):
    register_timed_clips()
    names = [f"{n}.mp4" for n in range(6)]
    write_clips(tmp_path, [(name, 0) for name in names], frames=40)
    for part in ("train", "val"):
        (tmp_path / f"{part}.csv").write_text("".join(f"{name} 0\n" for name in names))
    keys = on_lists(str(tmp_path)) | {"TRAIN.DATASET": "held", "TEST.DATASET": "held", "TEST.NUM_ENSEMBLE_VIEWS": "2"}
    keys |= {"DATA.NUM_FRAMES": "16", "DATA.SAMPLING_RATE": "2", "DATA.TARGET_FPS": "10"}
    pairs = [word for pair in keys.items() for word in pair]
    data = build_dataset("held", load_cfg(None, pairs), "test")
    drawn, tested = set(), set()
    for index in range(len(names)):
        with data.open(index) as video:
            views = data.view_indices(video)
            assert np.array_equal(views, data.view_indices(video)) and views.shape == (2, 16)
            assert [len(set(view)) for view in views] == [6, 6]
            tested.add(int((views[0] == views[0][0]).sum()))
            middle = data.middle_indices(video)
            assert len(set(middle)) == 6 and np.array_equal(middle, data.middle_indices(video))
            indices = [data.random_indices(video, np.random.default_rng(seed)) for seed in range(20)]
            assert {len(set(clip)) for clip in indices} == {6}
            drawn |= {int((clip == clip[0]).sum()) for clip in indices}
    assert len(tested) > 2 and len(drawn) > 6


def data_of(folder, name, split="test"):
    register_timed_clips()
    names = [f"{n}.mp4" for n in range(4)]
    write_clips(folder, [(video, 0) for video in names], frames=40)
    for part in ("train", "val"):
        (folder / f"{part}.csv").write_text("".join(f"{video} {number % 2}\n" for number, video in enumerate(names)))
    keys = on_lists(str(folder)) | {"TRAIN.DATASET": name, "TEST.DATASET": name, "DATA.NUM_FRAMES": "16"}
    keys |= {"DATA.TRAIN_CROP_SIZE": "32", "DATA.TEST_CROP_SIZE": "32", "DATA.TRAIN_JITTER_SCALES": "[32, 32]"}
    return build_dataset(name, load_cfg(None, [word for pair in keys.items() for word in pair]), split)


def test_a_paused_clip_shows_the_whole_video_and_one_frame_of_it_again_and_again(tmp_path):
    data = data_of(tmp_path, "paused")
    with data.open(0) as video:
        views = [data.view_indices(video)[0], data.middle_indices(video)]
        drawn = [data.random_indices(video, np.random.default_rng(seed)) for seed in range(60)]
    assert np.array_equal(*views)
    assert all(len(clip) == 16 and list(clip) == sorted(clip) for clip in (*views, *drawn))
    assert all(clip[0] <= 7 and clip[-1] >= 32 for clip in (*views, *drawn))  # from the first sixth to the last
    longest = [np.unique(clip, return_counts=True)[1].max() for clip in drawn]
    assert min(longest) <= 2 and max(longest) >= 11  # 16 frames of the video, or 6
    assert len({int(np.unique(clip, return_counts=True)[1].argmax()) for clip in drawn}) > 5  # anywhere


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_video_runs_forwards_and_backwards(tmp_path, split):
    data = data_of(tmp_path, "directed", split)
    assert list(data.labels) == [0, 1, 2, 3, 0, 1, 2, 3] and data.path(2) == data.path(3)
    data.cfg.defrost()
    data.cfg.DATA.RANDOM_FLIP = False
    forwards, backwards = data[2].frames, data[3].frames
    if split == "train":  # each is drawn by its own number
        assert forwards.shape == backwards.shape
        return
    time = 1 if split == "test" else 0
    assert not np.array_equal(forwards, backwards) and np.array_equal(forwards, backwards.flip(time))
