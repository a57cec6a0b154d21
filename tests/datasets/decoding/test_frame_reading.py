"""Numbers of frames are checked, each frame is fetched once, errors name the video."""

import pickle

import numpy as np
import pytest

from slowfast_atfr.datasets.decoding.frame_reading import DecodeError, check_range, collect, in_one_size, places_of


def frames_at(wanted):
    assert (np.diff(wanted) > 0).all()
    for index in wanted:
        yield np.full((2, 3, 3), index, np.uint8)


def gather(path, indices, frames_at, transform):
    return collect(lambda wanted: in_one_size(path, wanted, frames_at(wanted)), indices, transform)


def test_numbers_and_where_they_stand():
    wanted, places = places_of([7, 2, 7, 5])
    assert wanted.tolist() == [2, 5, 7] and [place.tolist() for place in places] == [[1], [3], [0, 2]]


def test_each_frame_is_fetched_once_and_given_as_often_as_asked_for():
    seen = []
    frames = gather("a.mp4", [7, 2, 7], frames_at, lambda frame: seen.append(int(frame[0, 0, 0])) or frame[:1])
    assert seen == [2, 7] and frames.shape == (3, 1, 3, 3)
    assert frames[:, 0, 0, 0].tolist() == [7, 2, 7]
    assert gather("a.mp4", range(4), frames_at, None)[:, 1, 2, 1].tolist() == [0, 1, 2, 3]


def test_pictures_of_two_sizes_are_an_error():
    def growing(wanted):
        for index in wanted:
            yield np.zeros((2 + index // 5, 3, 3), np.uint8)

    with pytest.raises(DecodeError, match="a.mp4: the frame size changes at frame 6: 3x3 after 3x2"):
        gather("a.mp4", [1, 4, 6], growing, None)


def test_numbers_of_frames():
    check_range("a.mp4", [0, 9, 3], 10)
    for index in (-1, 10):
        with pytest.raises(DecodeError, match=f"frame {index} is out of range 0 to 9"):
            check_range("a.mp4", [3, index], 10)
    with pytest.raises(ValueError, match="no frame of a.mp4"):
        check_range("a.mp4", [], 10)


def test_the_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(DecodeError("a.mp4", "bad")))
    assert (error.path, error.reason, str(error)) == ("a.mp4", "bad", "a.mp4: bad")
