"""The plain pipeline is a fair one, frames are really counted, and a worker's memory is really watched."""

import gc
import multiprocessing
import os

import av
import numpy as np
import pytest
import torch

from slowfast_atfr.datasets import build_dataset, read_frames
from slowfast_atfr.datasets.decoder import open_video
from slowfast_atfr.reproduce.benchmarks import data as data_benchmark
from slowfast_atfr.reproduce.benchmarks.data import (
    SHORT_SETS,
    benchmark_data,
    counted_frames,
    plain_clip,
    views_apart,
    write_data,
)
from slowfast_atfr.reproduce.benchmarks.drawn_videos import CODECS, FPS, SIZE, drawn_frames, write_drawn_video
from slowfast_atfr.reproduce.benchmarks.worker_memory import MEASUREMENTS, growth, worker_memory
from slowfast_atfr.utils.env import private_memory


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two videos of 3 seconds, a key frame every 32 frames."""
    return write_data(tmp_path_factory.mktemp("drawn") / "data", key_frame_every=32, seconds=3, videos=2)


@pytest.fixture
def cfg(data):
    cfg = data.clone()
    cfg.DATA.NUM_FRAMES, cfg.TEST.NUM_ENSEMBLE_VIEWS = 8, 3
    return cfg


def test_drawn_videos_move_and_have_the_key_frames_that_were_asked_for(cfg):
    first, *_, last = frames = list(drawn_frames(12, seed=0))
    assert len(frames) == 12 and first.shape == (*SIZE, 3) and np.abs(first.astype(int) - last).mean() > 10
    for frame, again in zip(frames, drawn_frames(12, seed=0), strict=True):
        np.testing.assert_array_equal(frame, again)
    with av.open(build_dataset("kinetics", cfg, "train").path(0)) as container:
        stream = container.streams.video[0]
        keys = [
            number for number, packet in enumerate(p for p in container.demux(stream) if p.size) if packet.is_keyframe
        ]
        assert (stream.frames, stream.average_rate) == (3 * FPS, FPS)
        assert keys[0] == 0 and max(np.diff([*keys, 90])) <= 32
        kbits = container.bit_rate / 1000
    assert 200 < kbits < 1500  # as videos of this size have


def test_the_plain_pipeline_shows_the_same_frames(cfg):
    """A window that is the whole video, at its own size: only the place of the crop along the width is by chance."""
    cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_SIZE, cfg.DATA.RANDOM_FLIP = [256, 256], 256, False
    cfg.DATA.NUM_FRAMES = 45
    dataset = build_dataset("kinetics", cfg, "train")
    plain = plain_clip(dataset.path(0), cfg, np.random.default_rng(0))
    assert plain.shape == (3, 45, 256, 256) and plain.dtype == torch.float32 and plain.is_contiguous()
    pixels = ((plain.permute(1, 2, 3, 0) * 0.225 + 0.45) * 255).round().to(torch.uint8).numpy()
    with dataset.open(0) as video:
        frames = video.read([0, 40, 88])
    shown = [frames[:, :, left : left + 256] for left in range(340 - 256 + 1)]
    shown += [part[:, :, ::-1] for part in shown]
    assert any(np.array_equal(pixels[[0, 20, 44]], part) for part in shown)


def test_frames_that_leave_the_decoder_are_counted(cfg):
    path = build_dataset("kinetics", cfg, "test").path(0)
    with counted_frames() as count, open_video(path, counts=True) as video:
        assert video.num_frames == 90 and count == [90]
    with open_video(path, counts=True) as video:
        assert video.num_frames == 90 and count == [90]


def test_views_read_apart_are_those_read_together_and_cost_more_frames(cfg):
    dataset, counts = build_dataset("kinetics", cfg, "test"), []
    for read in (lambda: dataset[0].frames, lambda: views_apart(dataset, 0)):
        with counted_frames() as count:
            views = read()
        counts.append((count[0], [np.asarray(view) for view in views]))
    (together, views), (apart, same) = counts
    assert len(views) == len(same) == 9
    for view, other in zip(views, same, strict=True):
        np.testing.assert_array_equal(view, other)
    assert 24 <= together <= 90 and apart > 3 * together


def test_what_never_comes_back_is_growth():
    assert growth(np.array([100, 130, 100, 140, 90, 101, 130, 100])) == pytest.approx(0)
    assert growth(np.linspace(100, 140, 40)) > 20


def test_every_figure_is_reported(monkeypatch, tmp_path):
    monkeypatch.setattr(data_benchmark, "NUM_CLIPS", 1)
    monkeypatch.setattr(data_benchmark, "worker_memory", lambda cfg, **_: np.linspace(100, 101, 31))

    def write_little(folder, *, key_frame_every, endings=(".mp4",), **how):
        cfg = write_data(folder, key_frame_every=key_frame_every, endings=endings, **how | {"seconds": 1, "videos": 1})
        cfg.DATA.NUM_FRAMES, cfg.TEST.NUM_ENSEMBLE_VIEWS = 4, 2
        return cfg

    monkeypatch.setattr(data_benchmark, "write_data", write_little)
    threads = torch.get_num_threads()
    figures = benchmark_data(tmp_path, rounds=1, device=torch.device("cpu"))
    assert torch.get_num_threads() == threads
    assert len(figures) == len({figure.name for figure in figures}) == 2 * 5 + 2 + 6 + 5
    assert [figure.target for figure in figures if figure.target] == [3, 8, 5] * 2 + [5] * 5
    assert all(np.isfinite(figure.median) and figure.median > 0 for figure in figures)


SLOW_ENDINGS = [pytest.param(ending, marks=pytest.mark.slow) for ending in (".mp4", *CODECS, ".h264")]


@pytest.mark.parametrize("ending", [".ts", *SLOW_ENDINGS])
def test_a_closed_video_leaves_nothing_in_memory(tmp_path, ending):
    """Of frames that the garbage collector has to find: it is off."""
    write_drawn_video(tmp_path / f"a{ending}", seconds=2, key_frame_every=30, seed=0)
    gc.collect()
    gc.disable()
    try:
        used = []
        for _ in range(12):
            read_frames(tmp_path / f"a{ending}", [3, 40])
            used.append(private_memory(os.getpid()))
    finally:
        gc.enable()
    assert used[-1] - used[7] < 4 * 2**20  # 60 frames of this size take 8 MiB


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT_SETS)
def test_no_container_makes_a_workers_memory_grow(tmp_path, name):
    endings = SHORT_SETS[name]
    how = {"key_frame_every": 30, "seconds": 2, "videos": max(2, len(endings))}
    cfg = write_data(tmp_path / "data", endings=endings, **how)
    cfg.DATA.NUM_FRAMES, cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_SIZE = 4, [64, 80], 64
    assert growth(worker_memory(cfg, warm_up=100, measured=1000)) < 5


@pytest.mark.slow
@pytest.mark.parametrize("augmented", [False, True])
def test_a_workers_memory_does_not_grow(cfg, augmented):
    cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_SIZE = [64, 80], 64
    cfg.AUG.ENABLE, cfg.AUG.NUM_SAMPLE, cfg.AUG.RE_PROB = augmented, 2, 1.0
    if augmented:
        cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE, cfg.DATA.TRAIN_JITTER_ASPECT_RELATIVE = [0.08, 1.0], [0.75, 1.3333]
    bytes_ = worker_memory(cfg, warm_up=200, measured=2000)
    assert bytes_.shape == (MEASUREMENTS + 1,) and bytes_.min() > 2**20
    assert growth(bytes_) < 5
    assert not multiprocessing.active_children()
