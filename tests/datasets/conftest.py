"""Tiny videos whose every frame carries its number, so that a test can tell exactly which frames it got."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from slowfast_atfr.config import get_cfg

BITS, BLOCK, HEIGHT = 9, 16, 48  # the number as black and white blocks, least significant bit first
WIDTH = BITS * BLOCK


def draw_number(number, height=HEIGHT):
    """(height, WIDTH, 3) uint8."""
    bits = np.array([number >> bit & 1 for bit in range(BITS)], np.uint8) * 200 + 28
    return np.repeat(np.broadcast_to(np.repeat(bits, BLOCK), (height, WIDTH))[:, :, None], 3, axis=2)


def read_number(frame):
    blocks = frame[HEIGHT // 4 : -HEIGHT // 4].mean((0, 2)).reshape(BITS, BLOCK)[:, 4:-4].mean(1)
    return int((blocks > 128) @ (1 << np.arange(BITS)))


def write_numbered(path, *, count, codec="libx264", options=None, pts=None, fps=25, height=HEIGHT, first=0):
    """A video with frames first, first + 1, ...; pts: (count,) times in 1/1000 s, for a variable rate."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = WIDTH, height, "yuv420p"
        if pts is not None:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(draw_number(first + i, height), format="rgb24")
            if pts is not None:
                frame.pts, frame.time_base = int(pts[i]), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def hide_picture(source, path, hidden):
    """A copy of a VP8 video that does not show the picture of packet number `hidden`, but builds others on it."""
    with av.open(str(source)) as before, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(before.streams.video[0])
        for number, packet in enumerate(packet for packet in before.demux(video=0) if packet.size):
            data = bytearray(bytes(packet))
            data[0] &= 0xFF if number != hidden else 0xEF
            copy = av.Packet(bytes(data))
            copy.pts, copy.dts, copy.time_base, copy.stream = packet.pts, packet.dts, packet.time_base, stream
            copy.is_keyframe = packet.is_keyframe
            container.mux(copy)
    return path


X264 = {"preset": "ultrafast", "tune": "fastdecode", "bf": "3", "g": "12", "b-adapt": "0", "weightp": "0"}
VFR = np.cumsum(np.random.default_rng(0).integers(20, 120, 60))
# Each with 60 frames: what is odd about the file -> (its name, arguments of write_numbered).
KINDS = {
    "b_frames": ("a.mp4", {"options": X264}),
    "one_gop": ("b.mp4", {"options": {**X264, "g": "250"}}),
    "open_gop": ("c.mp4", {"options": {**X264, "x264-params": "open-gop=1:scenecut=0"}}),
    "intra_refresh": ("d.mp4", {"options": {"preset": "ultrafast", "x264-params": "intra-refresh=1:keyint=12"}}),
    "vfr": ("e.mp4", {"options": X264, "pts": VFR}),
    "no_frame_count": ("f.mkv", {"options": X264}),
    "b_pyramid": ("m.mov", {"options": {"preset": "veryfast", "bf": "5", "b-pyramid": "normal", "b-adapt": "0"}}),
    "interlaced": ("s.mp4", {"options": {**X264, "x264-params": "tff=1"}}),
    "vfr_without_frame_count": ("n.mkv", {"options": X264, "pts": VFR}),
    "late_start": ("o.mp4", {"options": X264, "pts": 3000 + 40 * np.arange(60)}),
    "mpeg4": ("p.mp4", {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}}),
    "vp9": ("q.webm", {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime", "g": "20"}}),
    "hevc_open_gop": ("g.mp4", {"codec": "libx265", "options": {"x265-params": "keyint=12:log-level=none"}}),
    "vp8": ("h.webm", {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "9", "cpu-used": "8"}}),
    "transport_stream": ("i.ts", {"options": X264}),
    "av1": (
        "r.mkv",
        {"codec": "libsvtav1", "options": {"preset": "12", "g": "20", "svtav1-params": "lp=1"}, "height": 64},
    ),
    "avi_without_b_frames": ("j.avi", {"codec": "mpeg4", "options": {"g": "12"}}),
    "avi_with_b_frames": ("k.avi", {"options": X264}),
    "no_pts": ("l.h264", {"options": X264}),
}


@pytest.fixture(scope="session")
def numbered(tmp_path_factory):
    """numbered(kind): path of a video of 60 frames, a key of KINDS, written once."""
    folder, written = tmp_path_factory.mktemp("numbered"), {}

    def path(kind):
        if kind not in written:
            name, arguments = KINDS[kind]
            if kind not in path.kinds:
                pytest.skip(f"this PyAV has no encoder {arguments['codec']}")
            written[kind] = write_numbered(folder / name, count=60, **arguments)
        return written[kind]

    path.kinds = tuple(k for k, (_, how) in KINDS.items() if how.get("codec", "libx264") in av.codecs_available)
    path.write, path.read_number, path.draw_number = write_numbered, read_number, draw_number
    return path


@pytest.fixture
def silent_packet(tmp_path, numbered):
    """A Matroska file of 60 frames, with a 61st packet in the middle that shows nothing, as some of VP8 do."""
    path, empty = tmp_path / "silent.mkv", b"\0\0\1\xb6\x50\x4f"  # a picture of MPEG-4 part 2 whose vop_coded is 0
    whole = numbered.write(
        tmp_path / "whole.mkv", count=60, codec="mpeg4", options={"g": "60", "sc_threshold": "1000000000"}
    )
    with av.open(str(whole)) as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            if number == 30:
                extra = av.Packet(empty)
                extra.pts, extra.dts, extra.time_base = packet.pts - 20, packet.dts - 20, packet.time_base
                extra.stream = stream
                container.mux(extra)
            packet.stream = stream
            container.mux(packet)
    return path


@pytest.fixture
def numbers():
    """numbers(frames): the number that each of (..., H, W, 3) frames of the full size shows."""

    def read(frames):
        frames = np.asarray(frames)
        flat = [read_number(frame) for frame in frames.reshape(-1, *frames.shape[-3:])]
        return np.array(flat).reshape(frames.shape[:-3])

    return read


@pytest.fixture
def cfg():
    """For videos of `numbered`: clips of 4 frames, 2 apart, crops of 32."""
    cfg = get_cfg()
    cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE, cfg.DATA.TARGET_FPS = 4, 2, 25
    cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_SIZE, cfg.DATA.TEST_CROP_SIZE = [36, 44], 32, 32
    cfg.MODEL.NUM_CLASSES = 5
    cfg.TRAIN.BATCH_SIZE, cfg.TEST.BATCH_SIZE = 4, 4
    cfg.DATA_LOADER.NUM_WORKERS = 0
    return cfg


@pytest.fixture
def video_list(tmp_path, numbered, cfg):
    """video_list(n): a folder whose train.csv and val.csv list n videos; cfg points to it."""
    cfg.DATA.PATH_TO_DATA_DIR = str(tmp_path)

    def make(count, bad=()):
        lines = [f"{tmp_path / f'missing{i}.mp4' if i in bad else numbered('b_frames')} {i % 5}" for i in range(count)]
        for split in ("train", "val"):
            (tmp_path / f"{split}.csv").write_text("\n".join(lines) + "\n")
        return tmp_path

    return make


@pytest.fixture
def frame_folders(tmp_path, cfg):
    """Two videos of 12 and 9 PNG pictures with Something-Something's lists; cfg points to it."""
    lines = ["original_vido_id video_id frame_id path labels"]
    for name, count in (("7", 12), ("31", 9)):
        (tmp_path / name).mkdir()
        for i in range(count):
            cv2.imwrite(str(tmp_path / name / f"{i + 1:05d}.png"), draw_number(i))
            lines.append(f'{name} {name} {i} {name}/{i + 1:05d}.png ""')
    for split in ("train", "val"):
        (tmp_path / f"{split}.csv").write_text("\n".join(lines) + "\n")
    entries = '[{"id": "7", "template": "Moving [something] up"}, {"id": "31", "template": "Dropping [it]"}]'
    for part in ("train", "validation"):
        (tmp_path / f"something-something-v2-{part}.json").write_text(entries)
    labels = '{"Moving something up": "0", "Dropping it": "1"}'
    (tmp_path / "something-something-v2-labels.json").write_text(labels)
    cfg.DATA.PATH_TO_DATA_DIR = cfg.DATA.PATH_PREFIX = str(tmp_path)
    cfg.TRAIN.DATASET = cfg.TEST.DATASET = "ssv2"
    return tmp_path
