"""Operations on frames do what their definitions say; where Pillow is installed, what Pillow does."""

import cv2
import numpy as np
import pytest

from slowfast_atfr.datasets.augmentation import image_ops
from slowfast_atfr.datasets.augmentation.image_ops import LEVELLESS, MOVING, VALUED


@pytest.fixture
def frame():
    """(48, 64, 3): smooth, with other ranges in every channel."""
    noise = np.random.default_rng(0).random((48, 64, 3), np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    smooth = (smooth - smooth.min((0, 1))) / np.ptp(smooth, (0, 1))
    return (smooth * (200, 150, 90) + (20, 50, 100)).astype(np.uint8)


def every(frame):
    """What each operation makes of a frame, with a strong argument."""
    values = {"posterize": 2, "solarize": 100, "solarize_add": 60}
    out = {name: operation(frame) for name, operation in LEVELLESS.items()}
    out |= {name: operation(frame, values.get(name, 1.7)) for name, operation in VALUED.items()}
    return out | {name: operation(frame, 0.4, cv2.INTER_CUBIC) for name, operation in MOVING.items()}


def test_every_operation_gives_another_frame_of_the_same_kind(frame):
    before = frame.copy()
    for name, out in every(frame).items():
        assert out.shape == frame.shape and out.dtype == np.uint8, name
        assert not np.array_equal(out, frame), name
    np.testing.assert_array_equal(frame, before)


def test_values_by_definition(frame):
    values = frame.astype(int)
    expected = {
        "invert": (image_ops.invert(frame), 255 - values),
        "solarize": (image_ops.solarize(frame, 100), np.where(values < 100, values, 255 - values)),
        "solarize_add": (
            image_ops.solarize_add(frame, 60),
            np.where(values < 128, np.minimum(values + 60, 255), values),
        ),
        "posterize": (image_ops.posterize(frame, 3), values // 32 * 32),
        "brightness": (image_ops.brightness(frame, 1.5), np.minimum(values * 3 // 2, 255)),
    }
    for name, (out, wanted) in expected.items():
        np.testing.assert_array_equal(out, wanted, err_msg=name)


def test_factor_one_is_the_frame_and_factor_zero_has_nothing_of_it(frame):
    for name in ("brightness", "contrast", "saturation", "sharpness"):
        np.testing.assert_array_equal(VALUED[name](frame, 1.0), frame, err_msg=name)
    assert image_ops.brightness(frame, 0).max() == 0
    assert np.ptp(image_ops.contrast(frame, 0)) == 0
    grey = frame @ image_ops.LUMA
    assert np.abs(image_ops.saturation(frame, 0) - grey[..., None]).max() <= 0.6  # OpenCV calculates with ten bits
    noisy = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    blurred, inner = image_ops.sharpness(noisy, 0), np.s_[1:-1, 1:-1]
    assert blurred[inner].std() < 0.6 * noisy[inner].std()
    np.testing.assert_array_equal(blurred[0], noisy[0])


def test_autocontrast_stretches_every_channel_to_the_full_range(frame):
    out = image_ops.autocontrast(frame)
    assert out.min((0, 1)).tolist() == [0, 0, 0] and out.max((0, 1)).tolist() == [255, 255, 255]
    flat = np.full_like(frame, 7)
    np.testing.assert_array_equal(image_ops.autocontrast(flat), flat)


def test_equalize_makes_values_about_equally_frequent(frame):
    out = image_ops.equalize(frame)
    for channel in range(3):
        quarters = np.histogram(out[..., channel], [0, 64, 128, 192, 256])[0] / out[..., channel].size
        assert quarters == pytest.approx([0.25] * 4, abs=0.05)
        order = np.argsort(frame[..., channel], axis=None, kind="stable")
        assert (np.diff(out[..., channel].ravel()[order].astype(int)) >= 0).all()
    flat = np.full_like(frame, 7)
    np.testing.assert_array_equal(image_ops.equalize(flat), flat)


@pytest.mark.parametrize("flag", [cv2.INTER_LINEAR, cv2.INTER_CUBIC])
def test_moved_frames_by_whole_pixels(frame, flag):
    right = image_ops.translate_x(frame, -8 / 64, flag)
    np.testing.assert_array_equal(right[:, 8:], frame[:, :-8])
    assert (right[:, :8] == 128).all()
    up = image_ops.translate_y(frame, 12 / 48, flag)
    np.testing.assert_array_equal(up[:-12], frame[12:])
    assert (up[-12:] == 128).all()
    square = frame[:, :48]
    np.testing.assert_array_equal(image_ops.rotate(square, 90, flag), np.rot90(square))
    slanted = image_ops.shear_x(frame, 1.0, flag)  # row y, at y + 1/2, shows what lies that far to the right
    shown = (frame[10, 11:50].astype(int) + frame[10, 10:49]) / 2
    assert np.abs(slanted[10, :39] - shown).max() <= 4


def close(out, picture, wrong):
    """Within 1, except for a share of the pixels: those at the edge of what moved, which Pillow does not blend."""
    assert (np.abs(out.astype(int) - np.asarray(picture).astype(int)) > 2).mean() <= wrong


def test_values_are_pillows(frame):
    pytest.importorskip("PIL")
    from PIL import Image, ImageEnhance, ImageOps

    picture = Image.fromarray(frame)
    for name in ("autocontrast", "equalize", "invert"):
        close(LEVELLESS[name](frame), getattr(ImageOps, name)(picture), 0)
    for value in (1, 2, 4):
        close(image_ops.posterize(frame, value), ImageOps.posterize(picture, value), 0)
    for value in (0, 100, 256):
        close(image_ops.solarize(frame, value), ImageOps.solarize(picture, value), 0)
    theirs = {"brightness": "Brightness", "contrast": "Contrast", "saturation": "Color", "sharpness": "Sharpness"}
    for name, enhance in theirs.items():
        for factor in (0.1, 0.7, 1.9):
            close(VALUED[name](frame, factor), getattr(ImageEnhance, enhance)(picture).enhance(factor), 0)


def test_moves_are_pillows(frame):
    pytest.importorskip("PIL")
    from PIL import Image

    picture, (height, width) = Image.fromarray(frame), frame.shape[:2]
    for theirs, flag in ((Image.BILINEAR, cv2.INTER_LINEAR), (Image.BICUBIC, cv2.INTER_CUBIC)):
        options = {"resample": theirs, "fillcolor": image_ops.GREY}
        matrices = {
            "shear_x": (1, 0.3, 0, 0, 1, 0),
            "shear_y": (1, 0, 0, 0.3, 1, 0),
            "translate_x": (1, 0, 0.3 * width, 0, 1, 0),
            "translate_y": (1, 0, 0, 0, 1, 0.3 * height),
        }
        for name, matrix in matrices.items():
            picture_moved = picture.transform(picture.size, Image.AFFINE, matrix, **options)
            close(MOVING[name](frame, 0.3, flag), picture_moved, 0.05)
        close(image_ops.rotate(frame, 25, flag), picture.rotate(25, **options), 0.05)
