"""Colours of known YUV values in every pixel format, matrix and range; pictures turned and mirrored by the file."""

import gc

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type

from slowfast_atfr.datasets.decoder import DecodeError, VideoInfo, probe, read_frames
from slowfast_atfr.datasets.decoding.to_rgb import ToRgb, display_matrix

KR_KB = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}  # ITU-R BT.601, 709, 2020
NUMBERS = {"bt709": 1, "bt601": 6, "bt2020": 9}  # in ISO/IEC 23091-2
LOSSLESS = {
    "libx264": {"crf": "0", "preset": "ultrafast"},
    "libx265": {"x265-params": "lossless=1:log-level=none"},
    "mjpeg": {"qmin": "1", "qmax": "1"},
    "libvpx-vp9": {"lossless": "1", "cpu-used": "8"},
    "ffv1": {},
}
RGB = (200, 60, 30)


def yuv(standard, *, full, bits):
    """Y, Cb, Cr of RGB as the standard's equations have them."""
    kr, kb = KR_KB[standard]
    r, g, b = (value / 255 for value in RGB)
    luma = kr * r + (1 - kr - kb) * g + kb * b
    chroma = np.array([(b - luma) / (2 - 2 * kb), (r - luma) / (2 - 2 * kr)])
    scale = 2 ** (bits - 8)
    if full:
        return [round(luma * (2**bits - 1)), *np.round(chroma * (2**bits - 1) + 128 * scale).astype(int)]
    return [round((219 * luma + 16) * scale), *np.round((224 * chroma + 128) * scale).astype(int)]


def write(path, codec, pix_fmt, planes, *, standard, full, size):
    """Three frames whose planes are constant."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=LOSSLESS[codec])
        (stream.width, stream.height), stream.pix_fmt = size, pix_fmt
        context = stream.codec_context
        context.color_range = 2 if full else 1
        if standard is not None:
            context.colorspace = NUMBERS[standard]
        for _ in range(3):
            frame = av.VideoFrame(*size, pix_fmt)
            for plane, value in zip(frame.planes, planes, strict=True):
                kind = np.uint16 if "10" in pix_fmt else np.uint8
                plane.update(np.full(plane.buffer_size // kind().itemsize, value, kind).tobytes())
            frame.color_range = context.color_range
            if standard is not None:
                frame.colorspace = NUMBERS[standard]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize(
    "codec, pix_fmt, standard, full, marked, size",
    [
        ("libx264", "yuv420p", "bt601", False, False, (64, 48)),
        ("libx264", "yuv420p", "bt601", False, True, (64, 48)),
        ("libx264", "yuv420p", "bt709", False, True, (64, 48)),
        ("libx264", "yuv420p", "bt709", True, True, (64, 48)),
        ("libx264", "yuvj420p", "bt601", True, False, (64, 48)),
        ("libx264", "yuv444p", "bt709", False, True, (45, 31)),
        ("libx264", "yuv420p10le", "bt709", False, True, (64, 48)),
        ("libx265", "yuv420p10le", "bt2020", False, True, (64, 48)),
        ("libx265", "yuv422p", "bt709", False, True, (64, 48)),
        ("libvpx-vp9", "yuv420p", "bt709", False, True, (45, 31)),
        ("mjpeg", "yuvj420p", "bt601", True, False, (64, 48)),
        ("ffv1", "yuv420p", "bt601", False, False, (45, 31)),
    ],
)
def test_a_known_colour(tmp_path, codec, pix_fmt, standard, full, marked, size):
    path = tmp_path / "x.mkv"
    planes = yuv(standard, full=full, bits=10 if "10" in pix_fmt else 8)
    write(path, codec, pix_fmt, planes, standard=standard if marked else None, full=full, size=size)
    frames = read_frames(path, [0, 2])
    assert frames.shape == (2, size[1], size[0], 3)
    assert np.abs(frames.astype(int) - RGB).max() <= 3


def test_grey(tmp_path):
    write(tmp_path / "x.mkv", "libx264", "gray", [126], standard=None, full=False, size=(64, 48))
    frames = read_frames(tmp_path / "x.mkv", [1])
    assert np.abs(frames.astype(int) - (126 - 16) / 219 * 255).max() <= 2


def turned(path, numbered, stored, matrix):
    """An MP4 of five pictures (H, W, 3), stored(number) each, whose track has a display matrix."""
    height, width, _ = stored(0).shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(5):
            picture = np.ascontiguousarray(stored(i))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = matrix
    data[at : at + 36] = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], ">i4").tobytes()
    path.write_bytes(data)


ONE = 1 << 16
QUARTERS = {  # how the stored picture comes from the upright one -> (a, b, c, d) that undoes it, by ISO 14496-12
    "turned 90": (lambda x: np.rot90(x, 1), (0, ONE, -ONE, 0)),
    "turned 180": (lambda x: np.rot90(x, 2), (-ONE, 0, 0, -ONE)),
    "turned 270": (lambda x: np.rot90(x, 3), (0, -ONE, ONE, 0)),
    "mirrored": (lambda x: x[:, ::-1], (-ONE, 0, 0, ONE)),
    "upside down": (lambda x: x[::-1], (ONE, 0, 0, -ONE)),
    "transposed": (lambda x: x.transpose(1, 0, 2), (0, ONE, ONE, 0)),
    "transposed the other way": (lambda x: np.rot90(x, 2).transpose(1, 0, 2), (0, -ONE, -ONE, 0)),
    "stretched": (lambda x: x, (2 * ONE, 0, 0, ONE)),
}


@pytest.mark.parametrize("how", QUARTERS)
def test_pictures_are_set_upright(tmp_path, numbered, numbers, how):
    store, matrix = QUARTERS[how]

    def upright(number):  # the number, over a dark band that tells top from bottom
        picture = numbered.draw_number(number).copy()
        picture[:8] = 0
        return picture

    turned(tmp_path / "x.mp4", numbered, lambda number: store(upright(number)), matrix)
    assert probe(tmp_path / "x.mp4") == VideoInfo(num_frames=5, fps=25.0, width=144, height=48)
    frames = read_frames(tmp_path / "x.mp4", [4, 2])
    assert numbers(frames).tolist() == [4, 2]
    assert frames[:, :6].max() < 40 < frames[:, -6:].mean()


def test_a_frame_goes_with_its_last_user():
    """Not with the next run of the garbage collector: until then the decoder's pictures would stay in memory."""

    def frames():
        return sum(isinstance(item, av.VideoFrame) for item in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before, frame = frames(), av.VideoFrame(64, 48, "yuv420p")
        ToRgb()(frame)
        assert display_matrix(frame) is None and frames() > before
        del frame
        assert frames() == before
    finally:
        gc.enable()


def test_side_data_of_a_type_without_a_name_does_not_matter():
    assert Type(6) is Type.DISPLAYMATRIX and Type(12345).value == 12345


@pytest.mark.parametrize(
    "matrix",
    [
        pytest.param((ONE, 0, 0, ONE), marks=pytest.mark.slow),
        (0, ONE, -ONE, 0),
        pytest.param((-ONE, 0, 0, ONE), marks=pytest.mark.slow),
    ],
)
def test_a_real_file_whose_side_data_has_a_type_without_a_name(odd_videos, tmp_path, matrix):
    data = bytearray((odd_videos / "spatial_mvhevc.mov").read_bytes())
    at = data.index(b"tkhd") + 44
    before = np.frombuffer(bytes(data[at : at + 20]), ">i4")
    data[at : at + 36] = np.array([*matrix[:2], 0, *matrix[2:], 0, 0, 0, 1 << 30], ">i4").tobytes()
    (tmp_path / "turned.mov").write_bytes(data)
    with av.open(str(odd_videos / "spatial_mvhevc.mov")) as container:
        straight = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(straight) == 5 and before[[0, 1, 3, 4]].tolist() == [ONE, 0, 0, ONE]
    turn = {(ONE, 0, 0, ONE): lambda x: x, (0, ONE, -ONE, 0): lambda x: np.rot90(x, -1)}
    turn = turn.get(matrix, lambda x: x[:, ::-1])
    for frame, stored in zip(read_frames(tmp_path / "turned.mov", range(5)), straight, strict=True):
        np.testing.assert_array_equal(frame, turn(stored))


def test_an_odd_angle_is_an_error(tmp_path, numbered):
    turned(tmp_path / "x.mp4", numbered, numbered.draw_number, [round(ONE * x) for x in (0.8, 0.6, -0.6, 0.8)])
    with pytest.raises(DecodeError, match="rotates by 37 degrees; only multiples of 90 and mirrors are allowed"):
        read_frames(tmp_path / "x.mp4", [0])


@pytest.mark.parametrize("codec, pix_fmt", [("ffv1", "bgr0"), ("ffv1", "gbrp10le"), ("libx264rgb", "rgb24")])
def test_pictures_that_are_rgb_already(tmp_path, codec, pix_fmt):
    with av.open(str(tmp_path / "x.mkv"), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"crf": "0"} if codec == "libx264rgb" else {})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), RGB, np.uint8), format="rgb24")
        container.mux([*stream.encode(picture.reformat(format=pix_fmt)), *stream.encode()])
    assert (read_frames(tmp_path / "x.mkv", [0]) == RGB).all()
