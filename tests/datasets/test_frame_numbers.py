"""Every way of sampling, from every kind of file, by every backend, gives the frames that PySlowFast's rules pick.

The rules are written down here once more, apart from the package: for lists of videos `get_start_end_idx` and
`temporal_sampling` of PySlowFast's slowfast/datasets/decoder.py, for Something-Something `get_seq_frames` of ssv2.py.
Each frame shows its number.
"""

import itertools
import json
import math

import av
import numpy as np
import pytest
import torch

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.decoding.torchcodec_video import load_decoder
from slowfast_atfr.datasets.kinetics import Kinetics
from slowfast_atfr.datasets.ssv2 import Ssv2

FRAMES, RATE, TARGET_FPS, COUNT = 8, 4, 30, 60  # frames of a clip, their stride, at this rate; frames of a video
KINDS = (
    *("b_frames", "b_pyramid", "open_gop", "vfr", "mpeg4", "no_frame_count", "vfr_without_frame_count", "vp9"),
    *("hevc_open_gop", "av1", "avi_without_b_frames", "avi_with_b_frames"),
)


@pytest.fixture(params=["pyav", "torchcodec"])
def backend(request, cfg):
    if request.param == "torchcodec":
        try:
            load_decoder()
        except ConfigError as error:
            pytest.skip(str(error))
    cfg.DATA.DECODING_BACKEND = request.param
    return request.param


@pytest.fixture
def videos(tmp_path, numbered, cfg, backend):
    """videos(kind): path of a video, after writing the lists of two data sets that hold it alone: lists/ and ssv2/."""
    cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE, cfg.DATA.TARGET_FPS = FRAMES, RATE, TARGET_FPS

    def make(kind):
        path = numbered(kind)
        for folder in ("lists", "ssv2"):
            (tmp_path / folder).mkdir()
        (tmp_path / "lists" / "val.csv").write_text(f"{path} 0\n")
        (tmp_path / "ssv2" / f"7{path.suffix}").symlink_to(path)
        (tmp_path / "ssv2" / "something-something-v2-labels.json").write_text('{"Moving": "0"}')
        entries = json.dumps([{"id": "7", "template": "Moving"}])
        (tmp_path / "ssv2" / "something-something-v2-validation.json").write_text(entries)
        return path

    return make


def frames_of(data, pick, numbers):
    """The numbers that the frames show which `pick` (indices of an open video) chooses, shaped like the indices."""
    with data.open(0) as video:
        indices = pick(video)
        return numbers(video.read(indices.reshape(-1))).reshape(indices.shape).tolist()


def clip(path, view, num_views, *, use_offset=False, seed=None):
    """PySlowFast's frames of one clip of a video; view -1 is a random one.

    Where the rate is not constant, of the copy at TARGET_FPS that the picture on a screen would make.
    """
    with av.open(str(path)) as container:
        fps = float(container.streams.video[0].average_rate)
        times = [0 if frame.pts is None else float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
        is_constant = container.format.name == "avi"
    times, count = np.array(times) - times[0], COUNT
    is_constant |= np.allclose(np.diff(times), 1 / fps, atol=2e-3)
    if not is_constant:
        fps, count = TARGET_FPS, (times[-1] + np.median(np.diff(times))) * TARGET_FPS
    clip_size = RATE * FRAMES / TARGET_FPS * fps
    delta = max(count - clip_size, 0)
    if view == -1:
        start = np.random.default_rng(seed).uniform(0, delta)
    elif not use_offset:
        start = delta * view / num_views
    elif num_views == 1:
        start = math.floor(delta / 2)
    else:
        start = view * math.floor(delta / (num_views - 1))
    if not is_constant:
        moments = (start + (clip_size - 1) * np.arange(FRAMES) / (FRAMES - 1)) / TARGET_FPS
        return [max(number for number in range(COUNT) if times[number] <= moment + 1e-6) for moment in moments]
    index = torch.linspace(start, start + clip_size - 1, FRAMES)
    return torch.clamp(index, 0, COUNT - 1).long().tolist()


def segments():
    """PySlowFast's (start, end) of each segment of a Something-Something video, both included."""
    seg_size = float(COUNT - 1) / FRAMES
    return [(int(np.round(seg_size * i)), int(np.round(seg_size * (i + 1)))) for i in range(FRAMES)]


@pytest.mark.parametrize("kind", KINDS)
def test_lists_of_videos(videos, numbers, cfg, tmp_path, kind):
    path = videos(kind)
    cfg.DATA.PATH_TO_DATA_DIR = str(tmp_path / "lists")
    data = Kinetics(cfg, "test")
    assert frames_of(data, data.middle_indices, numbers) == clip(path, 0, 1, use_offset=True)
    for seed in range(3):
        got = frames_of(data, lambda video, seed=seed: data.random_indices(video, np.random.default_rng(seed)), numbers)
        assert got == clip(path, -1, 1, seed=seed)
    for views, offset in itertools.product((1, 3), (False, True)):
        cfg.TEST.NUM_ENSEMBLE_VIEWS, cfg.DATA.USE_OFFSET_SAMPLING = views, offset
        expected = [clip(path, view, views, use_offset=offset) for view in range(views)]
        assert frames_of(data, data.view_indices, numbers) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_something_something(videos, numbers, cfg, tmp_path, kind):
    videos(kind)
    cfg.DATA.PATH_TO_DATA_DIR = cfg.DATA.PATH_PREFIX = str(tmp_path / "ssv2")
    data = Ssv2(cfg, "test")
    cfg.TEST.NUM_ENSEMBLE_VIEWS = 2
    middle = [(start + end) // 2 for start, end in segments()]
    assert frames_of(data, data.middle_indices, numbers) == middle
    assert frames_of(data, data.view_indices, numbers) == [middle]  # a second view would show the same
    drawn = set()
    for seed in range(6):
        got = frames_of(data, lambda video, seed=seed: data.random_indices(video, np.random.default_rng(seed)), numbers)
        assert all(start <= number <= end for number, (start, end) in zip(got, segments(), strict=True))
        drawn.add(tuple(got))
    assert len(drawn) == 6
