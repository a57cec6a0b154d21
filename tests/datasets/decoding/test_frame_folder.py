"""Videos as numbered pictures: the right ones in RGB, and what is missing or broken by name."""

import cv2
import numpy as np
import pytest

from slowfast_atfr.datasets.decoder import DecodeError
from slowfast_atfr.datasets.decoding.frame_folder import FrameFolder, read_picture, scan_folder, split_number


@pytest.fixture
def folder(tmp_path, numbered):
    for i in range(12):
        cv2.imwrite(str(tmp_path / f"img_{3 + 2 * i}.png"), numbered.draw_number(i))
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_a_folder_is_a_video(folder, numbers):
    video = scan_folder(folder)
    assert video.num_frames == 12 and video.path == str(folder)
    assert (video.first, video.step) == (3, 2)  # in the order of the numbers: img_9 before img_11
    assert numbers(video.read([11, 0, 4, 4])).tolist() == [11, 0, 4, 4]
    assert video.read([1], lambda frame: frame[:2, :2]).shape == (1, 2, 2, 3)


@pytest.mark.parametrize(
    "name", ["._img_3.png", "._img_05.png", ".hidden_1.jpg", ".DS_Store", "Thumbs.db", "desktop.ini"]
)
def test_files_that_systems_put_beside_the_pictures_are_passed_over(folder, numbers, name):
    (folder / name).write_bytes(b"no picture")
    video = scan_folder(folder)
    assert video.num_frames == 12 and numbers(video.read([0, 11])).tolist() == [0, 11]


def test_pictures_are_rgb(tmp_path):
    cv2.imwrite(str(tmp_path / "1.png"), np.full((4, 4, 3), (0, 0, 200), np.uint8))
    assert read_picture(str(tmp_path / "1.png"))[0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize(
    "path, pattern, number",
    [
        ("24/00001.jpg", "24/%05d.jpg", 1),
        ("v1/frame_000120.png", "v1/frame_%06d.png", 120),
        ("7.jpg", "%01d.jpg", 7),
        ("a 50%/100%_3.jpg", "a 50%%/100%%_%01d.jpg", 3),
    ],
)
def test_the_pattern_of_a_path_makes_the_path(path, pattern, number):
    assert split_number(path) == (pattern, number) and pattern % number == path


def test_a_path_without_number():
    with pytest.raises(ValueError, match=r"24/a\.jpg has no number"):
        split_number("24/a.jpg")


def test_an_empty_folder(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(DecodeError, match="holds no numbered picture") as error:
        scan_folder(tmp_path)
    assert error.value.path == str(tmp_path)


def test_a_missing_folder(tmp_path):
    with pytest.raises(DecodeError, match="none: No such file"):
        scan_folder(tmp_path / "none")


def test_a_gap_is_named(folder):
    (folder / "img_11.png").unlink()
    with pytest.raises(DecodeError, match=r"found img_13\.png, expected img_11\.png"):
        scan_folder(folder)


def test_a_missing_picture_is_named(folder):
    video = scan_folder(folder)
    (folder / "img_5.png").unlink()
    assert video.read([0, 2]).shape[0] == 2
    with pytest.raises(DecodeError, match=r"img_5\.png: No such file"):
        video.read([0, 1])


def test_a_frame_past_the_end(folder):
    with pytest.raises(DecodeError, match="frame 12 is out of range 0 to 11"):
        scan_folder(folder).read([12])


def test_broken_pictures_are_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "1.jpg"), noise)
    data = (tmp_path / "1.jpg").read_bytes()
    contents = {"truncated": data[: len(data) // 2], "OpenCV": b"no picture", "as a picture": b""}
    for reason, content in contents.items():
        (tmp_path / "1.jpg").write_bytes(content)
        with pytest.raises(DecodeError, match=reason) as error:
            FrameFolder(str(tmp_path / "%01d.jpg"), 1, 1, 1).read([0])
        assert error.value.path == str(tmp_path / "1.jpg")


def test_pictures_of_two_sizes(folder):
    cv2.imwrite(str(folder / "img_7.png"), np.zeros((10, 20, 3), np.uint8))
    with pytest.raises(DecodeError, match="frame size changes at frame 2: 20x10 after 144x48"):
        scan_folder(folder).read([0, 2])
