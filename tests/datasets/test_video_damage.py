"""What becomes of damage in a video: tiny files, written here, then broken."""

import av
import numpy as np
import pytest

from slowfast_atfr.datasets.decoder import open_video, read_frames
from slowfast_atfr.datasets.decoding.frame_reading import DecodeError
from tests.datasets.conftest import X264


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
            with pytest.raises(DecodeError, match=f"frame {spoiled} may depend on frame 28, which is damaged"):
                video.read([5, spoiled])
        for before in (25, 27):  # shown before the damaged one, decoded after it
            for wanted in ([before], [before, 50]):  # 50 is read from another key frame on
                with pytest.raises(DecodeError, match=f"frame {before} may depend on frame 28"):
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


JOINED = {
    "h264": {"options": X264},
    "mpeg2": {"codec": "mpeg2video", "options": {"g": "15", "bf": "2"}},
    "hevc": {"codec": "libx265", "options": {"x265-params": "keyint=12:log-level=none"}},
}


@pytest.mark.parametrize("codec", JOINED)
@pytest.mark.parametrize("cut", [0, 188], ids=["whole", "without its first packet"])
def test_transport_streams_that_were_joined(tmp_path, numbered, numbers, codec, cut):
    parts = [numbered.write(tmp_path / f"{n}.ts", count=30, first=40 * n, **JOINED[codec]) for n in range(3)]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes()[cut:] if n else part.read_bytes() for n, part in enumerate(parts)))
    shown = [40 * part + number for part in range(3) for number in range(30)]
    with open_video(path) as video:
        assert video.num_frames == 90 and video.fps == 25
        assert numbers(video.read(range(90))).tolist() == shown
    for index in (29, 30, 31, 57, 58, 59, 60, 89):
        assert numbers(read_frames(path, [index])).tolist() == [shown[index]]


def test_b_frames_before_a_damaged_one_are_refused_without_a_table(tmp_path, numbered):
    path = _damage(numbered("b_frames"), tmp_path / "damaged.mp4", frame=28)
    for before in (25, 27):
        with open_video(path, counts=True) as video, pytest.raises(DecodeError, match="may depend on frame 28"):
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
            with pytest.raises(DecodeError, match=f"frame {spoiled} may depend on frame 24, which is damaged"):
                video.read([2, spoiled])
