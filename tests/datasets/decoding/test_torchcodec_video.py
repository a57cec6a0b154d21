"""torchcodec gives the frames of PyAV if it loads, else an error with reason and remedy at once."""

import io
import sys

import av
import numpy as np
import pytest

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.decoder import DecodeError, open_video, video_opener
from slowfast_atfr.datasets.decoding import torchcodec_video
from slowfast_atfr.datasets.decoding.torchcodec_video import TorchcodecVideo, load_decoder
from slowfast_atfr.datasets.kinetics import Kinetics

TOLERANCE = 2  # of 255 in videos of 8 bits and even size, as the docstring of TorchcodecVideo says
MEAN_TOLERANCE = 4  # in others, on noise


@pytest.fixture
def torchcodec():
    try:
        return load_decoder()
    except ConfigError as error:
        pytest.skip(str(error))


def test_frames_are_those_of_pyav(torchcodec, numbered, numbers):
    for kind in numbered.kinds:
        with open_video(numbered(kind)) as ours, open_video(numbered(kind), "torchcodec") as theirs:
            assert (theirs.num_frames, theirs.fps) == (ours.num_frames, ours.fps) == (60, ours.fps)
            for indices in (range(60), [59, 31, 7, 31], [0]):
                difference = theirs.read(indices).astype(int) - ours.read(indices)
                assert np.abs(difference).max() <= TOLERANCE, kind


def test_it_is_torchcodec_that_decodes(torchcodec, numbered, numbers, monkeypatch):
    monkeypatch.setattr(TorchcodecVideo.__base__, "_rgb", lambda *_: pytest.fail("PyAV was asked"))
    with open_video(numbered("b_frames"), "torchcodec") as video:
        assert numbers(video.read([3, 44])).tolist() == [3, 44]
        shapes = []
        video.read(range(40), lambda frame: shapes.append(frame.shape) or frame[:4])
        assert shapes == [(48, 144, 3)] * 40


@pytest.mark.parametrize(
    "matrix", [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0)]
)
def test_turned_and_mirrored_pictures(torchcodec, numbered, tmp_path, matrix):
    a, b, c, d = (sign << 16 for sign in matrix)
    data, path = bytearray(numbered("b_frames").read_bytes()), tmp_path / "turned.mp4"
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], ">i4").tobytes()
    path.write_bytes(data)
    with open_video(path) as ours, open_video(path, "torchcodec") as theirs:
        difference = theirs.read([9, 30]).astype(int) - ours.read([9, 30])
    assert np.abs(difference).max() <= TOLERANCE


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "gray", "bgr0"])
@pytest.mark.parametrize("size", [(64, 48), (45, 31)])
def test_noise_in_other_formats(torchcodec, tmp_path, pix_fmt, size):
    rng = np.random.default_rng(0)
    with av.open(str(tmp_path / "x.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        (stream.width, stream.height), stream.pix_fmt = size, pix_fmt
        for _ in range(3):
            noise = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format=pix_fmt)))
        container.mux(stream.encode())
    with open_video(tmp_path / "x.mkv") as ours, open_video(tmp_path / "x.mkv", "torchcodec") as theirs:
        difference = np.abs(theirs.read([0, 2]).astype(int) - ours.read([0, 2]))
    if pix_fmt != "yuv420p10le" and size == (64, 48):
        assert difference.max() <= TOLERANCE
    assert difference.mean() <= MEAN_TOLERANCE


def test_real_files(torchcodec, real_clips):
    for path in sorted((real_clips / "originals").iterdir()):
        if path.name == "corrupted.mp4":
            continue
        with open_video(path) as ours, open_video(path, "torchcodec") as theirs:
            indices = np.linspace(0, ours.num_frames - 1, 12).astype(int)
            assert theirs.info == ours.info
            difference = theirs.read(indices).astype(int) - ours.read(indices)
            assert np.abs(difference).max() <= TOLERANCE, path.name


def test_frames_that_do_not_exist_or_cannot_be_decoded(torchcodec, numbered, real_clips):
    with open_video(numbered("b_frames"), "torchcodec") as video, pytest.raises(DecodeError, match="frames 0 to 59"):
        video.read([60])
    path = real_clips / "originals" / "corrupted.mp4"
    with open_video(path, "torchcodec") as video, pytest.raises(DecodeError, match="Invalid data"):
        video.read([40])


def test_another_count_of_frames_is_noticed(torchcodec, numbered, numbers, monkeypatch):
    """Were torchcodec to find other frames than the packets tell, PyAV would count them."""

    class Shifted(torchcodec):
        def get_frames_at(self, indices):
            return super().get_frames_at([max(0, index - 1) for index in indices])

    monkeypatch.setattr(torchcodec_video, "load_decoder", lambda: Shifted)
    with open_video(numbered("b_frames"), "torchcodec") as video:
        assert numbers(video.read([9, 30])).tolist() == [9, 30]


@pytest.fixture
def absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    load_decoder.cache_clear()
    yield
    load_decoder.cache_clear()


def test_where_it_does_not_load_the_data_set_says_so_at_once(absent, video_list, cfg):
    video_list(3)
    cfg.DATA.DECODING_BACKEND = "torchcodec"
    with pytest.raises(ConfigError) as error:
        Kinetics(cfg, "train")
    for word in (
        "DATA.DECODING_BACKEND is 'torchcodec', which does not load: import of torchcodec",
        "pip install 'slowfast_atfr[torchcodec]'",
        "FFmpeg's shared libraries",
        "DATA.DECODING_BACKEND pyav",
    ):
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_the_cause_of_a_library_that_does_not_load_is_told(absent, monkeypatch, cfg):
    """torch says which of torchcodec's libraries it cannot load; its cause says which library that one lacks."""

    class Broken:
        @property
        def VideoDecoder(self):
            raise RuntimeError("cannot load a.so\nmore") from OSError("libavutil.so.60: not found")

    monkeypatch.setitem(sys.modules, "torchcodec.decoders", Broken())
    cfg.DATA.DECODING_BACKEND = "torchcodec"
    with pytest.raises(ConfigError, match=r"does not load: cannot load a.so: libavutil.so.60: not found\. It needs"):
        video_opener(cfg)


def test_the_video_that_tries_it_out_can_be_decoded():
    with av.open(io.BytesIO(torchcodec_video._tiny_video())) as container:
        assert len(list(container.decode(video=0))) == 1
