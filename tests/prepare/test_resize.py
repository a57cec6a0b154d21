"""A small copy has the frames of its source, at their times, and can be entered anywhere."""

import itertools
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest

from slowfast_atfr.datasets.decoder import DecodeError, open_video, probe
from slowfast_atfr.datasets.decoding.frame_folder import scan_folder
from slowfast_atfr.datasets.decoding.pyav_video import Video
from slowfast_atfr.datasets.decoding.table_reader import TableContradicted
from slowfast_atfr.prepare.check import check_video
from slowfast_atfr.prepare.pictures import extract_frames
from slowfast_atfr.prepare.resize import KEY_FRAME_EVERY, frame_times, resize_video
from slowfast_atfr.prepare.scale import scaled_frames, scaled_size
from tests.datasets.conftest import KINDS, VFR, hide_picture, read_number, write_numbered
from tests.tiny_sets import write_clip


def times_of(path):
    """Seconds of every frame from the first on, as they are decoded."""
    with av.open(str(path)) as container:
        times = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    return np.array(times) - times[0]


def resized(source, tmp_path, side=48):
    target = tmp_path / "out" / "copy.mp4"
    resize_video((str(source), str(target)), short_side=side)
    return target


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_is_there_once_and_in_order(numbered, tmp_path, kind):
    copy = resized(numbered(kind), tmp_path, side=512)  # as large as it is
    with open_video(copy) as video:
        assert [read_number(frame) for frame in video.read(range(video.num_frames))] == list(range(60))
        with open_video(numbered(kind)) as source:
            assert video.fps == pytest.approx(source.fps, rel=0.02)
    assert len(list(copy.parent.iterdir())) == 1


def test_a_variable_rate_stays_as_it_is(numbered, tmp_path):
    copy = resized(numbered("vfr"), tmp_path)
    np.testing.assert_allclose(times_of(copy), (VFR - VFR[0]) / 1000, atol=1e-6)


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), 12], ids=["ntsc", "12"])
def test_a_constant_rate_stays_as_it_is(tmp_path, rate):
    source = write_numbered(tmp_path / "a.mkv", count=40, fps=rate)
    copy = resized(source, tmp_path)
    np.testing.assert_allclose(times_of(copy), np.arange(40) / float(rate), atol=1e-3)  # mkv counts milliseconds
    assert probe(copy).fps == pytest.approx(float(rate), rel=1e-3)


def test_a_video_whose_packets_miscount_it_is_copied_and_good_as_it_is_to_training(silent_packet, tmp_path):
    with open_video(resized(silent_packet, tmp_path, side=512)) as video:
        assert [read_number(frame) for frame in video.read(range(video.num_frames))] == list(range(60))
    extract_frames((str(silent_packet), str(tmp_path / "frames" / "7")), short_side=48)
    assert scan_folder(tmp_path / "frames" / "7").num_frames == 60
    for quick in (False, True):
        check_video(str(silent_packet), quick=quick)


def test_hidden_pictures_do_not_cost_the_times(tmp_path):
    """VP8 has invisible packets; the other packets have times."""
    whole = write_numbered(tmp_path / "a.webm", count=60, codec="libvpx", options={"cpu-used": "8"}, pts=VFR)
    copy = resized(hide_picture(whole, tmp_path / "hidden.webm", 30), tmp_path)
    np.testing.assert_allclose(times_of(copy), np.delete(VFR - VFR[0], 30) / 1000, atol=1e-6)


def test_times_begin_at_zero_and_never_stand_still(numbered):
    with open_video(numbered("late_start")) as video:
        times, base = frame_times(video)
    assert (times * float(base)).tolist() == pytest.approx([0.04 * number for number in range(60)])
    fast = SimpleNamespace(times=(np.array([7, 50, 107]), Fraction(1, 10**9)), num_frames=3, fps=25.0)
    times, base = frame_times(fast)  # MP4's finest unit is 1000 of these
    assert (times.tolist(), base) == ([0, 1, 2], Fraction(1, 25))


def test_a_video_whose_reader_goes_over_to_counting_is_taken_once(numbered, monkeypatch):
    original = Video._seeking

    def contradicted(self, wanted):
        yield from itertools.islice(original(self, wanted), 10)
        raise TableContradicted

    monkeypatch.setattr(Video, "_seeking", contradicted)
    with open_video(numbered("b_frames")) as video:
        assert [read_number(frame) for frame in scaled_frames(video, 512)] == list(range(60))


def test_times_of_avi_are_even(numbered):
    with open_video(numbered("avi_with_b_frames")) as video:
        times, base = frame_times(video)
        assert times.tolist() == list(range(60)) and base == pytest.approx(1 / video.fps)


def test_random_clips_find_a_key_frame_near_and_no_sound_is_kept(tmp_path):
    source = tmp_path / "a.mp4"
    with av.open(str(source), "w") as container:
        video, sound = container.add_stream("libx264", rate=25), container.add_stream("aac", rate=16000)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for number in range(100):
            picture = np.full((48, 64, 3), number * 2, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.rate, silence.pts = 16000, 0
        container.mux(sound.encode(silence))
        for stream in (video, sound):
            container.mux(stream.encode())
    with av.open(str(resized(source, tmp_path))) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert [packet.pts for packet in packets] == sorted(packet.pts for packet in packets)  # none waits for a later one
    keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
    assert keys[0] == 0 and max(np.diff([*keys, 100])) <= KEY_FRAME_EVERY


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [((340, 256), 256, (340, 256)), ((1920, 1080), 256, (456, 256)), ((1080, 1920), 256, (256, 456)),
     ((320, 240), 256, (320, 240)), ((427, 240), 256, (426, 240)), ((101, 99), 64, (66, 64)), ((3, 2), 16, (2, 2))],
)  # fmt: skip
def test_sizes_are_even_keep_their_shape_and_never_grow(size, side, expected):
    assert scaled_size(*size, side) == expected


def test_a_large_video_shrinks_and_a_small_one_does_not(tmp_path):
    big = write_clip(tmp_path / "big.mp4", size=(120, 160))
    assert (probe(resized(big, tmp_path)).width, probe(resized(big, tmp_path)).height) == (64, 48)
    small = write_clip(tmp_path / "small.mp4", size=(40, 48))
    info = probe(resized(small, tmp_path))
    assert (info.width, info.height, info.num_frames) == (48, 40, 10)


def test_colours_stay(tmp_path):
    source = write_clip(tmp_path / "a.mp4", size=(120, 160), frames=4)
    with open_video(source) as video, open_video(resized(source, tmp_path, side=60)) as copy:
        before, after = video.read([3])[0], copy.read([3])[0]
    assert abs(before[20:50, 20:60].mean((0, 1)) - after[10:25, 10:30].mean((0, 1))).max() < 4


@pytest.mark.parametrize("make", [resize_video, extract_frames])
def test_a_cut_video_gives_its_reason_and_no_file(numbered, tmp_path, make):
    data = numbered("transport_stream").read_bytes()
    for name, content in (("cut.mp4", numbered("b_frames").read_bytes()[:2000]), ("none.mp4", data[:10])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DecodeError):
            make((str(tmp_path / name), str(tmp_path / "out" / "x")), short_side=48)
    assert not (tmp_path / "out").exists()


def test_pictures_are_numbered_from_one(numbered, tmp_path):
    extract_frames((str(numbered("vp8")), str(tmp_path / "frames" / "7")), short_side=48)
    folder = scan_folder(tmp_path / "frames" / "7")
    assert (folder.first, folder.num_frames) == (1, 60)
    assert [read_number(frame) for frame in folder.read(range(60))] == list(range(60))


@pytest.mark.parametrize("name", ["fps_1000_in_header.mkv", "leading_pictures_vvc.mp4", "spatial_mvhevc.mov"])
def test_real_files_that_are_odd(odd_videos, tmp_path, name):
    copy = resized(odd_videos / name, tmp_path, side=64)
    with open_video(odd_videos / name) as before, open_video(copy) as after:
        assert before.num_frames == after.num_frames
        assert after.fps == pytest.approx(before.fps, rel=0.01)
        times = [(stamps - stamps[0]) * float(base) for stamps, base in (before.times, after.times)]
        np.testing.assert_allclose(*times, atol=1e-3)


def test_real_files_of_many_codecs(real_clips, tmp_path):
    refused = []
    for source in sorted((real_clips / "originals").iterdir()):
        if source.stat().st_size > 1_500_000:
            continue
        try:
            copy = resized(source, tmp_path, side=64)
        except DecodeError:
            refused.append(source.name)
            continue
        with open_video(source) as before, open_video(copy) as after:
            assert before.num_frames == after.num_frames, source.name
            assert after.fps == pytest.approx(before.fps, rel=0.05), source.name
            assert min(after.info.width, after.info.height) <= 64
            upright = (before.info.width > before.info.height) == (after.info.width > after.info.height)
            assert upright, source.name
    assert refused == ["corrupted.mp4"]
