from pathlib import Path

import numpy as np
import pytest

from slowfast_atfr.engine.interrupted_test import NAME, FinishedVideos, InterruptedTest
from slowfast_atfr.engine.metrics.ensemble import Result, VideoScores
from tests.engine.small_run import make_cfg

NAMES = ["a.mp4", "b.mp4", "c.mp4"]


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.pyth"
    path.write_bytes(b"weights")
    return path


def finished():
    """Of two views a video, two of one video and one of another."""
    videos = VideoScores(2, "sum")
    for video, view in ((2, 0), (2, 1), (0, 1)):
        videos.add(video, view, label=video, result=Result(np.array([0.25, 0.75]), np.array([3.0, 4.0])))
    return FinishedVideos(videos, ("gflops_per_clip", "active_bins_s2"))


def test_finished_videos_come_back_and_unfinished_ones_do_not(cfg, weights):
    InterruptedTest(cfg, str(weights), NAMES).save(finished())
    videos, names = InterruptedTest(cfg, str(weights), NAMES).load()
    assert names == ("gflops_per_clip", "active_bins_s2")
    assert list(videos.whole) == [2] and videos.labels == {2: 2} and not videos.parts
    np.testing.assert_array_equal(videos.whole[2].scores, [0.5, 1.5])
    np.testing.assert_array_equal(videos.whole[2].values, [3.0, 4.0])
    assert videos.whole[2].num_views == 2


def test_another_test_starts_anew(cfg, weights, tmp_path):
    file = InterruptedTest(cfg, str(weights), NAMES)
    file.save(finished())
    assert InterruptedTest(cfg, str(weights), [*NAMES, "d.mp4"]).load() is None
    other = make_cfg(tmp_path).clone()
    other.defrost()
    other.TEST.NUM_SPATIAL_CROPS = 1
    assert InterruptedTest(other, str(weights), NAMES).load() is None
    weights.write_bytes(b"trained on")
    assert InterruptedTest(cfg, str(weights), NAMES).load() is None


def test_a_damaged_file_is_reported_and_a_finished_test_leaves_none(cfg, weights, caplog):
    file, path = InterruptedTest(cfg, str(weights), NAMES), Path(cfg.OUTPUT_DIR) / NAME
    assert file.load() is None and not caplog.text
    file.save(finished())
    path.write_bytes(path.read_bytes()[:50])
    assert file.load() is None and "the test starts from the first video" in caplog.text
    file.clear()
    file.clear()
    assert not path.exists()
