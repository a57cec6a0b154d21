"""RandAugment draws what its policy says, and its levels have timm's meaning."""

from collections import Counter

import cv2
import numpy as np
import pytest

from slowfast_atfr.config import RandAugmentPolicy
from slowfast_atfr.datasets.augmentation.image_ops import LEVELLESS, MOVING, VALUED
from slowfast_atfr.datasets.augmentation.rand_augment import OPERATIONS, Operation, draw_color_jitter, draw_rand_augment
from slowfast_atfr.datasets.augmentation.rand_augment import operation_value as value


def test_operations_are_those_of_the_images():
    assert set(OPERATIONS) == {*LEVELLESS, *VALUED, *MOVING} and sum(OPERATIONS.values()) == pytest.approx(1)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_calls_its_function(name):
    frame = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    expected = {
        **{each: lambda each=each: LEVELLESS[each](frame) for each in LEVELLESS},
        **{each: lambda each=each: VALUED[each](frame, 3) for each in VALUED},
        **{each: lambda each=each: MOVING[each](frame, 0.3, cv2.INTER_CUBIC) for each in MOVING},
    }[name]()
    argument = 3 if name in VALUED else 0.3
    np.testing.assert_array_equal(Operation(name, argument, cv2.INTER_CUBIC)(frame), expected)


@pytest.mark.parametrize(
    ("name", "level", "increasing", "values"),
    [
        ("rotate", 0.5, True, (15, -15)),
        ("shear_y", 1.0, False, (0.3, -0.3)),
        ("translate_x", 0.2, True, (0.09, -0.09)),
        ("translate_y", 0.2, True, (0.09, -0.09)),
        ("shear_x", 1.0, True, (0.3, -0.3)),
        ("solarize_add", 0.7, True, (77, 77)),
        ("solarize", 0.7, True, (256 - 179, 256 - 179)),
        ("solarize", 0.7, False, (179, 179)),
        ("posterize", 0.7, True, (2, 2)),
        ("posterize", 0.8, False, (3, 3)),
        ("posterize", 1.0, True, (1, 1)),
        ("posterize", 0.0, False, (1, 1)),
        ("saturation", 0.5, True, (1.45, 0.55)),
        ("sharpness", 0.5, False, (1.0, 1.0)),
        ("contrast", 0.0, False, (0.1, 0.1)),
        ("equalize", 0.5, True, (0, 0)),
    ],
)
def test_levels_by_hand(name, level, increasing, values):
    assert [value(name, level, sign, increasing=increasing) for sign in (1, -1)] == pytest.approx(values)


def draw(policy, times, interpolation="bicubic"):
    rng = np.random.default_rng(0)
    return [draw_rand_augment(policy, interpolation, rng) for _ in range(times)]


def test_half_of_the_operations_are_done_and_all_are_equally_likely():
    drawn = draw(RandAugmentPolicy(7, 4), 4000)
    counts = Counter(operation.name for clip in drawn for operation in clip)
    assert np.mean([len(clip) for clip in drawn]) == pytest.approx(2, abs=0.05)
    assert set(counts) == set(OPERATIONS)
    assert max(counts.values()) / min(counts.values()) < 1.3
    assert {operation.interpolation for clip in drawn for operation in clip} == {cv2.INTER_CUBIC}
    assert any(len({operation.name for operation in clip}) < len(clip) for clip in drawn)  # one may come twice


def test_the_magnitude_has_the_spread_of_the_policy():
    for std, least, most in ((0.0, 21.0, 21.0), (1.0, 10.0, 30.0)):
        turns = [
            abs(operation.value)
            for clip in draw(RandAugmentPolicy(7, 4, std), 3000)
            for operation in clip
            if operation.name == "rotate"
        ]
        assert np.mean(turns) == pytest.approx(21, abs=0.4) and np.std(turns) == pytest.approx(3 * std, abs=0.3)
        assert least <= min(turns) + 1e-9 and max(turns) - 1e-9 <= most


def test_both_ways_are_equally_likely():
    turns = [o.value for clip in draw(RandAugmentPolicy(5, 4), 3000) for o in clip if o.name == "shear_x"]
    assert np.mean(np.array(turns) > 0) == pytest.approx(0.5, abs=0.08)


def test_weighted_operations_are_drawn_by_weight_and_none_twice():
    drawn = draw(RandAugmentPolicy(5, 3, weighted=True), 3000)
    assert all(len({o.name for o in clip}) == len(clip) for clip in drawn)
    counts = Counter(operation.name for clip in drawn for operation in clip)
    assert counts["rotate"] > counts["translate_x"] > counts["equalize"]
    assert counts["invert"] == counts["posterize"] == 0


def test_random_interpolation_takes_both():
    drawn = draw(RandAugmentPolicy(5, 4), 50, interpolation="random")
    assert {o.interpolation for clip in drawn for o in clip} == {cv2.INTER_LINEAR, cv2.INTER_CUBIC}


def test_colour_jitter_changes_three_things_in_any_order():
    rng = np.random.default_rng(0)
    drawn = [draw_color_jitter(0.4, rng) for _ in range(300)]
    assert {tuple(sorted(o.name for o in clip)) for clip in drawn} == {("brightness", "contrast", "saturation")}
    assert len({tuple(o.name for o in clip) for clip in drawn}) == 6
    factors = np.array([o.value for clip in drawn for o in clip])
    assert 0.6 <= factors.min() < 0.62 and 1.38 < factors.max() <= 1.4
