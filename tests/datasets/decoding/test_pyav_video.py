"""What decoding costs, and what odd streams give: tiny files, written here."""

import gc
import itertools
from fractions import Fraction

import av
import numpy as np
import pytest

from slowfast_atfr.datasets.decoder import VideoOpener, open_video, read_frames, use_video
from slowfast_atfr.datasets.decoding import pyav_video
from slowfast_atfr.datasets.decoding.frame_reading import DecodeError, Miscounted
from slowfast_atfr.datasets.decoding.table_reader import TableReader
from slowfast_atfr.datasets.decoding.video_file import VideoFile
from slowfast_atfr.datasets.kinetics import Kinetics
from slowfast_atfr.reproduce.benchmarks.data import counted_frames
from tests.datasets.conftest import KINDS, hide_picture, read_number


@pytest.fixture
def decoded(monkeypatch):
    """A list that receives the index of every frame that leaves a decoder after a seek."""
    indices, original = [], TableReader.decoded_from

    def counted(self, entry, times):
        for index, frame in original(self, entry, times):
            indices.append(index)
            yield index, frame

    monkeypatch.setattr(TableReader, "decoded_from", counted)
    return indices


@pytest.mark.parametrize("kind", ["b_frames", "open_gop", "hevc_open_gop", "no_frame_count"])
def test_a_clip_at_the_end_does_not_cost_the_whole_video(numbered, decoded, kind):
    with open_video(numbered(kind)) as video:
        keys = video._table.seekable
        entry = video._table.first_from(keys[keys <= video._table.pts[50]][-1])
        video.read([2, 50, 57])
    assert entry >= 44 and {2, 50, 57} <= set(decoded) <= {0, 1, 2, *range(entry, 58)}  # a key frame about every 12
    assert decoded == sorted(decoded)


def in_avi(source, path):
    """The packets of a video in AVI, which keeps no times."""
    with av.open(str(source)) as before, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(before.streams.video[0])
        for number, packet in enumerate(packet for packet in before.demux(video=0) if packet.size):
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 25), number, number
            container.mux(packet)
    return path


def test_avi_is_entered_anywhere_where_its_packets_tell_their_pictures(tmp_path, numbered, numbers, decoded):
    with open_video(numbered("avi_without_b_frames")) as video:  # a key frame every 12 at most
        assert numbers(video.read([50, 57])).tolist() == [50, 57] and set(decoded) <= set(range(44, 58))


def test_a_picture_that_is_not_coded_is_no_frame_of_an_avi(tmp_path, silent_packet, numbers):
    path = in_avi(silent_packet, tmp_path / "silent.avi")
    with open_video(path) as video:
        assert video.num_frames == 60 and video._table is not None
        shuffled = np.random.default_rng(0).permutation(60)
        assert numbers(video.read(shuffled)).tolist() == shuffled.tolist()


def test_avi_with_b_frames_is_decoded_no_further_than_needed(tmp_path, numbered, numbers):
    options = {"g": "30", "bf": "2", "sc_threshold": "1000000000"}
    path = numbered.write(tmp_path / "b.avi", count=60, codec="mpeg4", options=options)
    with counted_frames() as count, open_video(path) as video:
        assert video.num_frames == 60 and count[0] == 0
        assert numbers(video.read([20, 3])).tolist() == [20, 3] and count[0] <= 22
        assert numbers(video.read(range(60))).tolist() == list(range(60))


def test_an_avi_with_fewer_frames_than_its_packets_promise(tmp_path, numbered, numbers, monkeypatch):
    monkeypatch.setattr(VideoFile, "picture_kinds", lambda self, packet: "BB")
    path = numbered("avi_without_b_frames")
    with open_video(path) as video, pytest.raises(Miscounted, match="fewer frames than the 119 of its packets"):
        video.read([3, 70])
    assert use_video(path, lambda video: (video.num_frames, numbers(video.read([59])).tolist())) == (119, [59])
    assert use_video(path, lambda video: video.read([video.num_frames - 1]).shape[0] * video.num_frames) == 60


@pytest.mark.parametrize("kind", ["b_frames", "b_pyramid", "no_frame_count"])
def test_unwanted_pictures_that_no_other_is_built_on_are_passed_over(numbered, numbers, decoded, kind):
    with open_video(numbered(kind)) as video:
        sparse = video.read(range(3, 60, 8))
        few, decoded[:] = len(decoded), []
        every = video.read(range(60))
        assert video._table is not None
    assert few < 45 and len(decoded) == 60
    np.testing.assert_array_equal(sparse, every[3::8])


def test_a_decoder_that_needs_every_packet_gets_it(numbered, numbers, monkeypatch):
    """Where passing over loses a wanted frame, the rest is read from the start, without."""
    original = TableReader.decoded_from

    def loses(self, entry, times):
        return ((index, frame) for index, frame in original(self, entry, times) if index != 31)

    monkeypatch.setattr(TableReader, "decoded_from", loses)
    with open_video(numbered("b_frames")) as video:
        assert numbers(video.read([30, 31, 40])).tolist() == [30, 31, 40]


@pytest.mark.parametrize("kept", [0, 10, 2**30])
def test_a_video_without_a_table_is_decoded_once(numbered, numbers, monkeypatch, kept):
    """Frames are kept from the count; of more than may be kept the file is decoded again."""
    passes = []
    original = VideoFile.decode_all
    monkeypatch.setattr(VideoFile, "decode_all", lambda self: passes.append(1) or original(self))
    monkeypatch.setattr(pyav_video, "KEPT_BYTES", kept if kept != 10 else 30 * 48 * 256 * 3 // 2)
    with open_video(numbered("avi_with_b_frames")) as video:
        assert numbers(video.read([7, 55, 3])).tolist() == [7, 55, 3]
        assert len(passes) == (1 if kept == 2**30 else 2)
        assert numbers(video.read([7, 3])).tolist() == [7, 3]
        assert len(passes) == (3 if kept == 0 else len(passes))
        assert numbers(video.read(range(27, 33))).tolist() == list(range(27, 33))  # around the last one kept
        for last in (28, 29, 30, 31):
            assert numbers(video.read([last])).tolist() == [last]


def test_packets_that_promise_more_frames_than_there_are(silent_packet, numbers):
    """Frames are then counted; numbers chosen by the wrong count are refused, and chosen again."""
    with open_video(silent_packet) as video:
        assert video.num_frames == 61
        assert numbers(video.read([3, 20])).tolist() == [3, 20]
        with pytest.raises(Miscounted, match="its packets have 61 frames, but 60 can be decoded"):
            video.read([3, 59])
    assert numbers(read_frames(silent_packet, [3, 59])).tolist() == [3, 59]
    opener = VideoOpener("pyav")
    with pytest.raises(Miscounted), opener(str(silent_packet)) as video:
        video.read([59])
    with opener(str(silent_packet)) as video:
        assert video.num_frames == 60 and numbers(video.read([59])).tolist() == [59]


def test_hidden_pictures_of_vp8_are_no_frames(tmp_path, numbered, numbers):
    """They stand in packets of their own, with times of their own; here a shown one is made one of them."""
    path = hide_picture(numbered("vp8"), tmp_path / "hidden.webm", 30)
    with open_video(path) as video:
        assert video.num_frames == 59
        assert numbers(video.read(range(59))).tolist() == [number for number in range(60) if number != 30]
        assert video._table is not None


def cut_at_key(source, path, number):
    """A copy of a video from its key packet `number` on."""
    with av.open(str(source)) as before, av.open(str(path), "w") as container:
        stream, keys = container.add_stream_from_template(before.streams.video[0]), -1
        for packet in (packet for packet in before.demux(video=0) if packet.size):
            keys += packet.is_keyframe
            if keys >= number:
                packet.stream = stream
                container.mux(packet)
    return path


def straight_numbers(path):
    with av.open(str(path)) as container:
        return [read_number(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


@pytest.mark.parametrize("kind", ["open_gop", "hevc_open_gop", "mpeg2"])
@pytest.mark.parametrize("ending", ["mkv", "ts", "mp4"])
def test_a_video_cut_at_a_key_packet_has_the_frames_that_can_be_decoded(tmp_path, numbered, numbers, kind, ending):
    """Frames before the key frame that are built on what was cut off cannot; with RADL pictures they can."""
    how = KINDS[kind][1] if kind in KINDS else {"codec": "mpeg2video", "options": {"g": "12", "bf": "2"}}
    whole = numbered.write(tmp_path / f"whole.{ending}", count=60, **how)
    path = cut_at_key(whole, tmp_path / f"cut.{ending}", 2)
    shown = straight_numbers(path)
    with open_video(path) as video:
        assert numbers(video.read(range(video.num_frames))).tolist() == shown and video._table is not None
        assert [int(numbers(video.read([index])[0])) for index in (0, 1, len(shown) - 1)] == [*shown[:2], shown[-1]]


def test_real_pictures_before_the_first_key_frame(odd_videos):
    path = odd_videos / "leading_pictures_vvc.mp4"
    with open_video(path) as video:
        assert video.num_frames == 120
        picked = video.read([0, 5, 22, 23, 24, 60])
    assert len(np.unique(picked.reshape(6, -1), axis=0)) == 6
    np.testing.assert_array_equal(read_frames(path, [5]), picked[1:2])


@pytest.mark.slow
def test_a_decoder_learns_what_only_the_first_packet_says(odd_videos, monkeypatch):
    """Of an old x264, by looking at it before a seek; of others by decoding from the start what looks damaged."""
    path = odd_videos / "old_x264_444.mp4"
    with av.open(str(path)) as container:
        straight = [frame.to_ndarray(format="rgb24") for frame in itertools.islice(container.decode(video=0), 160)]
    for wanted in ([159], [100, 20, 150], [76], [90, 91]):
        with counted_frames() as count, open_video(path) as video:
            np.testing.assert_array_equal(video.read(wanted), [straight[index] for index in wanted])
            assert count[0] <= 100  # none is decoded from the start
    monkeypatch.setattr(VideoFile, "prepare_to_enter", lambda *_: None)
    with open_video(path) as video:
        np.testing.assert_array_equal(video.read([100, 140]), [straight[index] for index in (100, 140)])


@pytest.mark.parametrize("name", ["a.mpg", "a.vob", "a.asf", "a.wmv", "a.m2ts"])
@pytest.mark.parametrize("spacing", [12, 18])
def test_containers_whose_demuxers_stamp_other_pictures_after_a_seek(tmp_path, numbered, numbers, name, spacing):
    """MPEG program streams and ASF keep several frames in a packet of their own, with a time for the first of them."""
    codec = {"mpg": "mpeg1video", "wmv": "wmv2", "asf": "libx264"}.get(name.rpartition(".")[2], "mpeg2video")
    options = {"g": str(spacing), "bf": "0" if codec == "wmv2" else "2"}
    path = numbered.write(tmp_path / name, count=90, codec=codec, options=options)
    for index in range(0, 90, 5):
        assert numbers(read_frames(path, [index])).tolist() == [index]
    with open_video(path) as video:
        shuffled = np.random.default_rng(0).permutation(90)
        for indices in np.array_split(shuffled, 9):
            assert numbers(video.read(indices)).tolist() == indices.tolist()


def test_a_packet_of_another_place_is_noticed(numbered, numbers, monkeypatch):
    """Were a demuxer to stamp other pictures after a seek, the frames would be counted."""
    original = VideoFile.packets

    def stamped(self):
        packets = list(original(self))
        if packets and packets[0].pts and packets[0].pts > 0:  # after a seek
            for packet, other in zip(packets, [p.pts for p in packets[2:]], strict=False):
                packet.pts = other
        return iter(packets)

    monkeypatch.setattr(VideoFile, "packets", stamped)
    with open_video(numbered("one_gop")) as video:
        assert numbers(video.read([30])).tolist() == [30] and video._table is not None
    with open_video(numbered("b_frames")) as video:
        assert numbers(video.read([2, 40, 50])).tolist() == [2, 40, 50] and video._table is None


def test_a_data_set_reads_a_miscounted_video(silent_packet, cfg, numbers, tmp_path):
    (tmp_path / "test.csv").write_text(f"{silent_packet} 0\n")
    cfg.DATA.PATH_TO_DATA_DIR, cfg.TEST.NUM_ENSEMBLE_VIEWS = str(tmp_path), 2
    data = Kinetics(cfg, "test")
    assert data[0].skipped == () and data[0].frames.shape == (6, 4, 32, 32, 3)
    with data.open(0) as video:
        assert video.num_frames == 60


def _write_streams(path, numbered, codecs_and_heights, sound=False):
    """An MP4 with a stream of 12 frames for each; those of mjpeg are covers, of one frame. Stream k begins at 100 k."""
    with av.open(str(path), "w") as container:
        streams = []
        for codec, height in codecs_and_heights:
            streams.append(stream := container.add_stream(codec, rate=25))
            stream.width, stream.height, stream.pix_fmt = 144, height, "yuv420p"
            if codec == "mjpeg":
                stream.pix_fmt, stream.disposition = "yuvj420p", av.stream.Disposition.attached_pic.value
        if sound:
            voice = container.add_stream("aac", rate=8000, layout="mono")
        for i in range(12):
            for k, stream in enumerate(streams):
                if i == 0 or stream.codec.name != "mjpeg":
                    picture = numbered.draw_number(100 * k + i, stream.height)
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        if sound:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            silence.rate = 8000
            container.mux(voice.encode(silence))
        for stream in [*streams, *([voice] if sound else [])]:
            container.mux(stream.encode())


def test_the_first_video_stream_is_taken_and_a_cover_is_none(tmp_path, numbered, numbers):
    path = tmp_path / "streams.mp4"
    _write_streams(path, numbered, [("libx264", 48), ("libx264", 96), ("mjpeg", 96)])
    frames = read_frames(path, range(12))
    assert frames.shape == (12, 48, 144, 3) and numbers(frames).tolist() == list(range(12))


def test_music_with_a_cover_is_no_video(tmp_path, numbered):
    _write_streams(tmp_path / "music.mp4", numbered, [("mjpeg", 96)], sound=True)
    with pytest.raises(DecodeError, match="no video stream"):
        read_frames(tmp_path / "music.mp4", [0])


def test_a_rate_that_is_not_told_follows_from_the_times(numbered, monkeypatch):
    with open_video(numbered("vfr")) as video:
        told = float(video._file.header_rate)
    monkeypatch.setattr(VideoFile, "header_rate", None)
    with open_video(numbered("vfr")) as video:
        assert video.fps == pytest.approx(told, rel=0.05)
    with open_video(numbered("no_pts")) as video:
        with pytest.raises(DecodeError, match="its frame rate is unknown"):
            _ = video.fps
        assert video.num_frames == 60


def test_closed_videos_leave_no_pictures_in_memory(numbered):
    gc.collect()
    for _ in range(3):
        with open_video(numbered("b_frames")) as video:
            video.read([3, 40])
    assert not [item for item in gc.get_objects() if isinstance(item, av.VideoFrame) and item.width]
