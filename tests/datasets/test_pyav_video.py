"""What decoding costs, what odd streams give, and what becomes of damage: tiny files, written here, then broken."""

import gc

import av
import numpy as np
import pytest

from slowfast_atfr.datasets import pyav_video
from slowfast_atfr.datasets.decoder import VideoOpener, open_video, read_frames
from slowfast_atfr.datasets.frame_reading import DecodeError, Miscounted
from slowfast_atfr.datasets.kinetics import Kinetics
from slowfast_atfr.datasets.pyav_video import Video
from tests.datasets.conftest import hide_picture


@pytest.fixture
def decoded(monkeypatch):
    """A list that receives the index of every frame that leaves a decoder behind a seek."""
    indices, original = [], Video._decoded_from

    def counted(self, entry, times):
        for index, frame in original(self, entry, times):
            indices.append(index)
            yield index, frame

    monkeypatch.setattr(Video, "_decoded_from", counted)
    return indices


@pytest.mark.parametrize("kind", ["b_frames", "open_gop", "hevc_open_gop", "no_frame_count"])
def test_a_clip_at_the_end_does_not_cost_the_whole_video(numbered, decoded, kind):
    with open_video(numbered(kind)) as video:
        keys = video._table.seekable
        entry = video._table.first_from(keys[keys <= video._table.pts[50]][-1])
        video.read([2, 50, 57])
    assert entry >= 44 and {2, 50, 57} <= set(decoded) <= {0, 1, 2, *range(entry, 58)}  # a key frame about every 12
    assert decoded == sorted(decoded)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["b_frames", "no_frame_count", "vp8", "transport_stream", "avi_with_b_frames"])
@pytest.mark.parametrize("damage", ["cut", "flip", "wipe", "header"])
def test_damage_gives_frames_or_an_error(tmp_path, numbered, kind, damage):
    data = numbered(kind).read_bytes()
    path = tmp_path / numbered(kind).name
    rng = np.random.default_rng(len(kind))
    outcomes = set()
    for _ in range(25):
        broken = bytearray(data)
        where = int(rng.integers(len(broken)))
        if damage == "cut":
            del broken[where:]
        elif damage == "wipe":
            broken[where : where + 500] = bytes(len(broken[where : where + 500]))
        else:
            end = len(broken) if damage == "flip" else min(len(broken), 800)
            for at in rng.integers(0, end, 12):
                broken[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        try:
            with open_video(path) as video:
                wanted = np.linspace(0, video.num_frames - 1, 7).astype(int)
                outcomes.add(video.read(wanted).shape[0])
        except DecodeError as error:
            assert error.path == str(path) and error.reason
            outcomes.add("error")
    assert outcomes <= {7, "error"}


def test_a_damaged_picture_is_not_passed_off_as_whole(tmp_path, numbered, numbers):
    path = tmp_path / "damaged.mp4"
    data = bytearray(numbered("b_frames").read_bytes())
    with av.open(str(numbered("b_frames"))) as container:
        keys = [packet for packet in container.demux(video=0) if packet.size and packet.is_keyframe]
        start, end = keys[2].pos + keys[2].size // 2, keys[2].pos + keys[2].size
    data[start:end] = np.random.default_rng(0).integers(0, 256, end - start, np.uint8).tobytes()
    path.write_bytes(data)
    with open_video(path) as video:
        assert numbers(video.read([5, 50])).tolist() == [5, 50]
        with pytest.raises(DecodeError, match="frame 24 is damaged"):
            video.read([5, 24])


def test_a_cut_file_gives_the_frames_that_are_left(tmp_path, numbered, numbers):
    path = tmp_path / "cut.mkv"
    data = numbered("no_frame_count").read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with open_video(path) as video:
        assert 10 < video.num_frames < 60
        seen = numbers(video.read(range(video.num_frames - 4))).tolist()  # the last ones may need what is cut off
    assert seen == list(range(len(seen)))


@pytest.mark.parametrize("kind", ["b_frames", "b_pyramid", "no_frame_count"])
def test_unwanted_pictures_that_no_other_is_built_on_are_passed_over(numbered, numbers, decoded, kind):
    with open_video(numbered(kind)) as video:
        sparse = video.read(range(3, 60, 8))
        few, decoded[:] = len(decoded), []
        every = video.read(range(60))
        assert video._table is not None and video._passes_over
    assert few < 45 and len(decoded) == 60
    np.testing.assert_array_equal(sparse, every[3::8])


def test_a_decoder_that_needs_every_packet_gets_it(numbered, numbers, monkeypatch):
    """Where passing over loses a wanted frame, the same is read once more without."""
    original = Video._decoded_from

    def loses(self, entry, times):
        for index, frame in original(self, entry, times):
            if not (self._passes_over and index == 31):
                yield index, frame

    monkeypatch.setattr(Video, "_decoded_from", loses)
    with open_video(numbered("b_frames")) as video:
        assert numbers(video.read([30, 31, 40])).tolist() == [30, 31, 40]
        assert not video._passes_over and video._table is not None


@pytest.mark.parametrize("kept", [0, 10, 2**30])
def test_a_video_without_a_table_is_decoded_once(numbered, numbers, monkeypatch, kept):
    """Frames are kept from the count; of more than may be kept the file is decoded again."""
    passes = []
    original = Video._decoded
    monkeypatch.setattr(Video, "_decoded", lambda self: passes.append(1) or original(self))
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
    """Frames are then counted; numbers that were chosen by the wrong count are refused, and chosen anew."""
    with open_video(silent_packet) as video:
        assert video.num_frames == 61
        assert numbers(video.read([3, 20])).tolist() == [3, 20]
        with pytest.raises(Miscounted, match="its packets promise 61 frames, but 60 can be decoded"):
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
    class Untold:
        average_rate = guessed_rate = None

        def __init__(self, stream):
            self.time_base = stream.time_base

    with open_video(numbered("vfr")) as video:
        told, video._stream = video._stream.average_rate, Untold(video._stream)
        assert video.fps == pytest.approx(float(told), rel=0.05)
    with open_video(numbered("avi_with_b_frames")) as video:
        video._stream = Untold(video._stream)
        with pytest.raises(DecodeError, match="does not tell its frame rate"):
            _ = video.fps
        assert video.num_frames == 60


def _damage(path, out, frame):
    """The file with half of the packet of a frame overwritten; which frames are coded before which, from the table."""
    with open_video(path) as video:
        pts = int(video._table.pts[frame])
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packet = next(packet for packet in container.demux(video=0) if packet.pts == pts)
        start, end = packet.pos + packet.size // 2, packet.pos + packet.size
    data[start:end] = np.random.default_rng(1).integers(0, 256, end - start, np.uint8).tobytes()
    out.write_bytes(data)
    return out


def test_a_frame_built_on_a_damaged_one_is_refused(tmp_path, numbered, numbers):
    """Key frames stand every 12, anchors every 4 between them; the decoder marks but the damaged frame itself."""
    path = _damage(numbered("b_frames"), tmp_path / "damaged.mp4", frame=28)  # an anchor, the one after key frame 24
    whole = read_frames(numbered("b_frames"), range(60))
    with av.open(str(path)) as container:
        marked = [index for index, frame in enumerate(container.decode(video=0)) if frame.is_corrupt]
    assert marked == [28]
    with open_video(path) as video:
        for sound in ([5, 23, 24], [36, 50]):
            np.testing.assert_array_equal(video.read(sound), whole[sound])
        with pytest.raises(DecodeError, match="frame 28 is damaged"):
            video.read([28])
        for spoiled in (29, 33, 35):
            with pytest.raises(DecodeError, match=f"frame {spoiled} may be built on frame 28, which is damaged"):
                video.read([5, spoiled])
        for before in (25, 27):  # shown before the damaged one, decoded after it
            for wanted in ([before], [before, 50]):  # 50 is read from another key frame on
                with pytest.raises(DecodeError, match=f"frame {before} may be built on frame 28"):
                    video.read(wanted)


@pytest.mark.parametrize("loss", ["packet", "error_bit"])
def test_a_hole_does_not_end_a_transport_stream(tmp_path, numbered, numbers, loss):
    """Packets of 188 bytes; that of the middle is left out or marked as received with errors."""
    path, data = tmp_path / "hole.ts", bytearray(numbered("transport_stream").read_bytes())
    video = [at for at in range(0, len(data), 188) if int.from_bytes(data[at + 1 : at + 3], "big") & 0x1FFF == 0x100]
    middle = video[len(video) // 2]
    data[middle + 1] |= 0x80
    if loss == "packet":
        del data[middle : middle + 188]
    path.write_bytes(data)
    seen, refused = {}, []
    with open_video(path) as video:
        assert video.num_frames >= 59
        late = 60 - video.num_frames
        for index in range(video.num_frames):
            try:
                seen[index] = int(numbers(video.read([index])[0]))
            except DecodeError as error:
                refused.append(str(error))
    assert 1 <= len(refused) <= 16 and all("damaged" in text for text in refused)
    assert {0, 5, 59 - late} <= set(seen) and all(number in (index, index + late) for index, number in seen.items())


@pytest.mark.parametrize("head", [0x0C, None])
def test_a_picture_that_is_lost_is_not_passed_over(tmp_path, numbered, head):
    """Others are built on frame 28, an anchor; its packet becomes a filler, or its slices become zeros."""
    with open_video(numbered("b_frames")) as video:
        pts = int(video._table.pts[28])
    data, path = bytearray(numbered("b_frames").read_bytes()), tmp_path / "lost.mp4"
    with av.open(str(numbered("b_frames"))) as container:
        packet = next(packet for packet in container.demux(video=0) if packet.pts == pts)
    if head is None:
        data[packet.pos + 5 : packet.pos + packet.size] = bytes(packet.size - 5)
    else:
        data[packet.pos + 4] = head
    path.write_bytes(data)
    for wanted in ([25], [29], [32], [35], [24, 35]):
        with open_video(path) as video, pytest.raises(DecodeError):
            video.read(wanted)
    with open_video(path) as video:
        np.testing.assert_array_equal(video.read([11, 40]), read_frames(numbered("b_frames"), [11, 40]))


def test_b_frames_before_a_damaged_one_are_refused_without_a_table(tmp_path, numbered):
    path = _damage(numbered("b_frames"), tmp_path / "damaged.mp4", frame=28)
    for before in (25, 27):
        with open_video(path, counts=True) as video, pytest.raises(DecodeError, match="may be built on frame 28"):
            video.read([before])


def test_damage_without_a_table(tmp_path, numbered):
    path, whole = tmp_path / "damaged.avi", read_frames(numbered("avi_without_b_frames"), range(60))
    with av.open(str(numbered("avi_without_b_frames"))) as container:
        key = [packet for packet in container.demux(video=0) if packet.size][24]
    data = bytearray(numbered("avi_without_b_frames").read_bytes())
    start, end = key.pos + key.size // 2, key.pos + key.size
    data[start:end] = np.random.default_rng(3).integers(0, 256, end - start, np.uint8).tobytes()
    path.write_bytes(data)
    with open_video(path) as video:
        np.testing.assert_array_equal(video.read([0, 23, 32, 59]), whole[[0, 23, 32, 59]])  # 24 and 32 are key frames
        for spoiled in (25, 29, 31):
            with pytest.raises(DecodeError, match=f"frame {spoiled} may be built on frame 24, which is damaged"):
                video.read([2, spoiled])


def test_closed_videos_leave_no_pictures_in_memory(numbered):
    gc.collect()
    for _ in range(3):
        with open_video(numbered("b_frames")) as video:
            video.read([3, 40])
    assert not [item for item in gc.get_objects() if isinstance(item, av.VideoFrame) and item.width]
