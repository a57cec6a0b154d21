"""A plan is a function of the config and the generator, and what it says is what happens to every frame of a clip."""

import numpy as np
import pytest

from slowfast_atfr.datasets.augmentation.augment import ClipPlan, cut_planned, draw_plans, erase_planned
from slowfast_atfr.datasets.augmentation.rand_augment import Operation
from slowfast_atfr.datasets.augmentation.random_erasing import Erasing, erase
from slowfast_atfr.datasets.transform import ResizedCrop, Window, cut


@pytest.fixture
def augmented(cfg):
    cfg.AUG.ENABLE, cfg.AUG.NUM_SAMPLE, cfg.AUG.RE_PROB = True, 3, 1.0
    cfg.AUG.AA_TYPE = "rand-m7-n4-mstd0.5-inc1"
    cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE, cfg.DATA.TRAIN_JITTER_ASPECT_RELATIVE = [0.08, 1.0], [0.75, 1.3333]
    return cfg


@pytest.fixture
def frame():
    return np.random.default_rng(0).integers(0, 256, (48, 70, 3), np.uint8)


def test_plans_are_a_function_of_the_generator(augmented):
    first, again, other = (draw_plans(augmented, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == len(set(first)) == 3
    assert all(isinstance(plan.window, ResizedCrop) and plan.erasing is not None for plan in first)


def test_without_the_section_there_is_one_clip_of_a_window(augmented):
    augmented.AUG.ENABLE = False
    augmented.DATA.TRAIN_JITTER_SCALES_RELATIVE = []
    (plan,) = draw_plans(augmented, np.random.default_rng(0))
    assert plan.operations == () and plan.erasing is None and isinstance(plan.window, Window)


@pytest.mark.parametrize(("jitter", "names"), [(0.4, {"brightness", "contrast", "saturation"}), (0.0, set())])
def test_colour_jitter_stands_in_for_randaugment(augmented, jitter, names):
    augmented.AUG.AA_TYPE, augmented.AUG.COLOR_JITTER = "", jitter
    for plan in draw_plans(augmented, np.random.default_rng(0)):
        assert {operation.name for operation in plan.operations} == names


def test_clips_that_may_not_be_mirrored_never_are(augmented):
    augmented.AUG.NUM_SAMPLE = 200
    flips = [plan.window.flip for plan in draw_plans(augmented, np.random.default_rng(0))]
    assert np.mean(flips) == pytest.approx(0.5, abs=0.15)
    assert not any(plan.window.flip for plan in draw_plans(augmented, np.random.default_rng(0), may_flip=False))


def test_the_whole_frame_is_changed_and_then_cut(frame):
    window = Window(32, 40, along=0.2, flip=True)
    plans = [ClipPlan((), window, None), ClipPlan((Operation("invert"), Operation("rotate", 30.0)), window, None)]
    plain, changed = cut_planned(frame, plans)
    np.testing.assert_array_equal(plain, cut(frame, [window])[0])
    turned = Operation("rotate", 30.0)(255 - frame)
    np.testing.assert_array_equal(changed, cut(turned, [window])[0])


def test_frames_of_a_clip_change_alike(augmented, frame):
    plans = draw_plans(augmented, np.random.default_rng(0))
    np.testing.assert_array_equal(cut_planned(frame, plans), cut_planned(frame.copy(), plans))


def test_only_planned_clips_are_erased(augmented):
    clip = np.zeros((2, 32, 32, 3), np.uint8)
    erase_planned(clip, ClipPlan((), Window(32, 36), None), augmented)
    assert clip.max() == 0
    augmented.AUG.RE_MODE = "const"
    erase_planned(clip, ClipPlan((), Window(32, 36), Erasing(((1, 2, 3, 4),), 0)), augmented)
    assert (clip[:, 1:4, 2:6] == round(0.45 * 255)).all() and clip.astype(bool).sum() == 2 * 3 * 4 * 3


@pytest.mark.parametrize("mode", ["pixel", "rand", "const"])
def test_clips_are_erased_as_the_config_says(augmented, mode):
    augmented.AUG.RE_MODE = mode
    augmented.DATA.MEAN, augmented.DATA.STD = [0.2, 0.4, 0.6], [0.1, 0.2, 0.3]
    clip, expected = (np.zeros((2, 32, 32, 3), np.uint8) for _ in range(2))
    erasing = Erasing(((1, 2, 30, 20),), 7)
    erase_planned(clip, ClipPlan((), Window(32, 36), erasing), augmented)
    erase(expected, erasing, mode=mode, mean=[0.2, 0.4, 0.6], std=[0.1, 0.2, 0.3])
    np.testing.assert_array_equal(clip, expected)
