"""Exactly the frames that were asked for, from files of many kinds; an error that names the file, or frames, else."""

import os
import pickle
import shutil

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slowfast_atfr.datasets import decoder
from slowfast_atfr.datasets.decoder import DecodeError, Video, VideoInfo, open_video, probe, read_frames, video_opener
from slowfast_atfr.datasets.decoding.to_rgb import ToRgb

KINDS = (
    "b_frames",
    "one_gop",
    "open_gop",
    "intra_refresh",
    "vfr",
    "no_frame_count",
    "b_pyramid",
    "interlaced",
    "vfr_without_frame_count",
    "late_start",
    "mpeg4",
    "vp9",
    "hevc_open_gop",
    "vp8",
    "transport_stream",
    "av1",
    "avi_without_b_frames",
    "avi_with_b_frames",
    "no_pts",
)


def test_every_kind_is_tested(numbered):
    assert set(KINDS) >= set(numbered.kinds)


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame(numbered, numbers, kind):
    with open_video(numbered(kind)) as video:
        assert video.num_frames == 60
        assert numbers(video.read(range(60))).tolist() == list(range(60))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(indices=st.lists(st.integers(0, 59), min_size=1, max_size=6))
def test_any_frames_in_any_order(numbered, numbers, kind, indices):
    frames = read_frames(numbered(kind), indices)
    assert frames.dtype == np.uint8 and frames.shape == (len(indices), 64 if kind == "av1" else 48, 144, 3)
    assert numbers(frames).tolist() == indices


def test_frames_are_the_same_however_they_are_reached(numbered):
    for kind in numbered.kinds:
        with open_video(numbered(kind)) as video:
            every = video.read(range(60))
            np.testing.assert_array_equal(video.read([59, 31, 7]), every[[59, 31, 7]], err_msg=kind)


def test_probe(numbered):
    assert probe(numbered("b_frames")) == VideoInfo(num_frames=60, fps=25.0, width=144, height=48)
    assert probe(numbered("avi_with_b_frames")) == VideoInfo(num_frames=60, fps=25.0, width=144, height=48)
    assert probe(numbered("vfr")).fps == pytest.approx(60 / (4.0), rel=0.1)  # mean of the drawn steps: 70 ms


def test_only_wanted_frames_are_converted_each_once(numbered, numbers):
    seen = []

    def transform(frame):
        seen.append(frame.shape)
        return frame[::2, ::2]

    with open_video(numbered("one_gop")) as video:
        frames = video.read([9, 4, 9, 30], transform)
    assert seen == [(48, 144, 3)] * 3 and frames.shape == (4, 24, 72, 3)
    np.testing.assert_array_equal(frames[0], frames[2])


@pytest.mark.parametrize("kind", ["b_frames", "avi_with_b_frames"])
def test_a_fault_of_a_transform_is_not_blamed_on_the_video(numbered, kind):
    with open_video(numbered(kind)) as video, pytest.raises(ValueError, match="the crop is wrong"):
        video.read([3], lambda frame: (_ for _ in ()).throw(ValueError("the crop is wrong")))


def test_frames_that_an_edit_list_hides_do_not_count(tmp_path, numbered, numbers):
    """A cut without encoding: the container keeps the frames from the key frame on, and hides those before the cut."""
    path = numbered.write(tmp_path / "cut.mp4", count=40, pts=np.arange(-5, 35) * 40, options={"g": "20", "bf": "0"})
    with open_video(path) as video:
        assert video.num_frames == 35
        assert numbers(video.read([0, 14, 15, 34])).tolist() == [5, 19, 20, 39]


def test_a_change_of_size_is_an_error(tmp_path, numbered):
    parts = [numbered.write(tmp_path / f"{height}.h264", count=10, height=height) for height in (48, 64)]
    path = tmp_path / "both.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert read_frames(path, [3, 9]).shape == (2, 48, 144, 3)
    with pytest.raises(DecodeError, match="frame size changes at frame 12: 144x64 after 144x48"):
        read_frames(path, [3, 12])


def test_a_video_of_one_frame(tmp_path, numbered, numbers):
    path = numbered.write(tmp_path / "one.mp4", count=1, first=300)
    assert probe(path).num_frames == 1 and numbers(read_frames(path, [0, 0])).tolist() == [300, 300]


@pytest.mark.parametrize("index", [-1, 60])
@pytest.mark.parametrize("kind", ["b_frames", "avi_with_b_frames"])
def test_frames_that_do_not_exist(numbered, kind, index):
    with pytest.raises(DecodeError, match=rf"frame {index} is out of range 0 to 59") as error:
        read_frames(numbered(kind), [3, index])
    assert error.value.path == str(numbered(kind))


def test_no_frame_asked_for(numbered):
    with pytest.raises(ValueError, match="no frame"):
        read_frames(numbered("b_frames"), [])


def _sound(path):
    with av.open(str(path), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))


@pytest.mark.parametrize(
    "kind, reason",
    [("missing", "No such file"), ("empty", "Invalid data"), ("text", "Invalid data"), ("folder", "Is a directory")],
)
def test_what_is_no_video_is_named(tmp_path, kind, reason):
    path = tmp_path / "x.mp4"
    {
        "missing": lambda: None,
        "empty": path.touch,
        "text": lambda: path.write_text("no video\n" * 99),
        "folder": path.mkdir,
    }[kind]()
    with pytest.raises(DecodeError, match=reason) as error:
        probe(path)
    assert error.value.path == str(path) and error.value.reason


def test_a_file_of_sound_has_no_video(tmp_path):
    _sound(tmp_path / "x.wav")
    with pytest.raises(DecodeError, match="no video stream"):
        probe(tmp_path / "x.wav")


def test_a_closed_video_lets_go_of_the_file(numbered):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for kind in numbered.kinds:
        read_frames(numbered(kind), [1])
    assert not before or len(os.listdir("/proc/self/fd")) <= before


ORIGINALS = {  # frames, upright width and height
    "av1_video.mkv": (125, 640, 360),
    "h265_video.mp4": (10, 128, 128),
    "kinetics_arm_wrestling_demo.mp4": (280, 340, 256),
    "kinetics_flipping_a_pancake.mkv": (310, 426, 240),
    "kth_person01_jogging_d3_uncomp.avi": (405, 160, 120),
    "mmaction2_part_0.mp4": (32, 340, 256),
    "nasa_13013.mp4": (325, 320, 180),
    "rotated_90.mov": (3, 320, 568),
    "sense_test_video.mp4": (13, 40, 30),
    "smth-smth-1.webm": (47, 427, 240),
    "ucf101_v_ApplyEyeMakeup_g01_c01.avi": (164, 320, 240),
    "ucf101_v_BaseballPitch_g01_c01.avi": (107, 320, 240),
    "ut_interaction_set1_22_4_3.avi": (81, 168, 272),
    "weizmann_daria_jack.avi": (89, 180, 144),
}


ODD = {
    "fps_1000_in_header.mkv": 30,
    "leading_pictures_vvc.mp4": 120,
    "old_x264_444.mp4": 280,
    "spatial_mvhevc.mov": 5,
}


@pytest.mark.parametrize("name", ORIGINALS)
def test_every_frame_of_a_real_file_is_that_of_decoding_from_the_start(real_clips, name):
    path = str(real_clips / "originals" / name)
    straight = check_against_straight_decode(path)
    info = probe(path)
    assert (info.num_frames, info.width, info.height) == ORIGINALS[name] == (len(straight), *straight[0].shape[1::-1])


SLOW_ODD = ("old_x264_444.mp4", "leading_pictures_vvc.mp4")  # test_resize.py reads the other one, too


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW_ODD else name for name in ODD]
)
def test_every_frame_of_an_odd_file_is_that_of_decoding_from_the_start(odd_videos, name):
    assert len(check_against_straight_decode(str(odd_videos / name))) == ODD[name]


def check_against_straight_decode(path):
    """Read all frames of a file in some order, and return them as PyAV decodes them from its start."""
    to_rgb = ToRgb()
    with av.open(path) as container:
        straight = [to_rgb(frame) for frame in container.decode(video=0)]
    shuffled = np.random.default_rng(0).permutation(len(straight))
    with open_video(path) as video:
        for indices in np.array_split(shuffled, min(5, len(straight))):
            for index, frame in zip(indices, video.read(indices), strict=True):
                np.testing.assert_array_equal(frame, straight[index], err_msg=f"frame {index}")
    return straight


def test_a_real_corrupted_file(real_clips):
    path = real_clips / "originals" / "corrupted.mp4"  # 50 packets, of which 28 can be decoded
    assert probe(path).num_frames == 50
    assert read_frames(path, [0, 27]).shape == (2, 720, 1280, 3)
    with pytest.raises(DecodeError, match="corrupted.mp4: Invalid data"):
        read_frames(path, [0, 40])


def test_the_config_names_the_backend(numbered, cfg, caplog):
    cfg.DATA.DECODING_BACKEND = "torchvision"
    decoder._log_replacement_of_torchvision.cache_clear()
    with caplog.at_level("INFO"):
        openers = [pickle.loads(pickle.dumps(video_opener(cfg))) for _ in range(3)]  # they go to other processes
    assert [record.message for record in caplog.records if "torchvision" in record.message] == [
        "DATA.DECODING_BACKEND is torchvision, which slowfast_atfr does not use: pyav is used"
    ]
    with openers[0](numbered("b_frames")) as video:
        assert type(video) is Video and video.num_frames == 60


@pytest.mark.parametrize(
    "name", ["a:b.mp4", "file:x.mp4", "x%05d.mp4", "two\nlines.mp4", "日本.mp4", "latin\udce9.mp4", "-"]
)
def test_files_of_any_name(tmp_path, numbered, numbers, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    shutil.copy(numbered("b_frames"), name)
    for path in (name, tmp_path / name):
        assert numbers(read_frames(path, [7])).tolist() == [7]


def test_what_is_no_file(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    for path in (tmp_path / "folder.mp4", tmp_path / "loop.mp4", "", "a\0b.mp4", os.devnull):
        with pytest.raises(DecodeError):
            read_frames(path, [0])
