"""What the synthetic videos show: the motion that the class says, with still stretches around it."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slowfast_atfr.datasets.demo_scene import TEMPLATES, draw_pose, draw_progress, draw_video

SEEDS = st.integers(0, 2**32)
# Signs of the change in x, y (down), radius; 0: at most a little.
CHANGES = {"left": (-1, 0, 0), "right": (1, 0, 0), "up": (0, -1, 0), "down": (0, 1, 0)}
CHANGES |= {"closer": (0, 0, 1), "away": (0, 0, -1), "turning": (0, 0, 0), "still": (0, 0, 0)}


@given(seed=SEEDS, num_frames=st.integers(40, 70))
def test_progress_is_still_moving_still(seed, num_frames):
    progress = draw_progress(num_frames, np.random.default_rng(seed))
    steps = np.diff(progress, prepend=0)
    assert len(progress) == num_frames and (steps >= 0).all() and progress[-1] == pytest.approx(1)
    assert progress[2] == 0 and steps[-3:].max() == 0  # still at both ends
    assert 0.2 <= (steps > 0).mean() <= 0.55
    assert steps.max() < 0.4  # no jump


@given(seed=SEEDS)
def test_a_thing_can_move_throughout(seed):
    steps = np.diff(draw_progress(60, np.random.default_rng(seed), (1.0, 1.0)), prepend=0)
    assert (steps > 0).all()


@pytest.mark.parametrize("action", TEMPLATES)
@settings(max_examples=15)
@given(seed=SEEDS)
def test_the_pose_does_what_the_class_says(action, seed):
    pose = draw_pose(action, 50, np.random.default_rng(seed))
    change = [float(course[-1] - course[0]) for course in (pose.x, pose.y, pose.radius)]
    for value, sign, least, most in zip(change, CHANGES[action], (0.28, 0.28, 0.08), (0.05, 0.05, 0.02), strict=True):
        assert value * sign >= least if sign else abs(value) <= most
    turned = abs(pose.angle[-1] - pose.angle[0])
    assert turned >= 80 if action == "turning" else turned <= 10
    assert action != "still" or change == [0, 0, 0]
    assert min(pose.x.min(), pose.y.min()) > 0.15 and max(pose.x.max(), pose.y.max()) < 0.85


@pytest.mark.parametrize("action", TEMPLATES)
def test_the_pictures_show_it(action):
    """Tell the classes apart by the thing's vivid colour: its centre and area at the start and at the end."""
    frames, _ = draw_video(action, np.random.default_rng(5))
    ends = []
    for part in (frames[:3], frames[-3:]):
        vivid = np.clip(cv2.cvtColor(part.mean(0).astype(np.uint8), cv2.COLOR_RGB2HSV)[..., 1] - 150.0, 0, None)
        down, right = np.mgrid[: vivid.shape[0], : vivid.shape[1]]
        total = vivid.sum()
        ends.append(((vivid * right).sum() / total / vivid.shape[1], (vivid * down).sum() / total / vivid.shape[0]))
        ends[-1] = (*ends[-1], np.log(total))
    # Other things pull the centre towards them when the moving one gets smaller.
    for value, sign, clear in zip(np.subtract(*ends[::-1]), CHANGES[action], (0.25, 0.25, 0.5), strict=True):
        assert value * sign > clear if sign else abs(value) < clear


def test_a_video_is_of_its_seed_and_size():
    shapes = set()
    for seed in range(6):
        frames, thing = draw_video("turning", np.random.default_rng(seed))
        again, _ = draw_video("turning", np.random.default_rng(seed))
        np.testing.assert_array_equal(frames, again)
        shapes.add(frames.shape)
        count, height, width, _ = frames.shape
        assert 40 <= count <= 70 and 96 <= min(height, width) <= 128 and height % 2 == width % 2 == 0 and thing
    assert len(shapes) == 6


def test_still_stretches_differ_by_noise_only():
    frames, _ = draw_video("left", np.random.default_rng(0))
    change = np.abs(np.diff(frames.astype(float), axis=0)).mean((1, 2, 3))
    assert change[:2].max() < 2.5 and change[-2:].max() < 2.5 and change.max() > 1.5 * change[0]
