"""The demo data set is what the Something-Something reader takes, the same for a seed, and written once."""

import hashlib
import json

import numpy as np
import pytest

from slowfast_atfr.datasets import build_loader, probe
from slowfast_atfr.datasets import demo as demo_module
from slowfast_atfr.datasets.demo import write_demo_dataset
from slowfast_atfr.datasets.demo_scene import TEMPLATES
from slowfast_atfr.utils.distributed import RankInfo

SMALL = {"videos_per_class_train": 1, "videos_per_class_val": 1}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo_dataset(tmp_path_factory.mktemp("demo"), **SMALL)


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_it_is_read_as_something_something(demo, cfg):
    cfg.DATA.PATH_TO_DATA_DIR, cfg.DATA.PATH_PREFIX = str(demo), str(demo / "videos")
    cfg.TRAIN.DATASET = cfg.TEST.DATASET = "ssv2"
    cfg.MODEL.NUM_CLASSES = len(TEMPLATES)
    for split in ("train", "val", "test"):
        labels = [label for batch in build_loader(cfg, split, RankInfo()) for label in batch.labels.tolist()]
        assert set(labels) == set(range(8)) and len(labels) == (8 if split != "test" else 8 * 3)  # crops of one clip


def test_videos_are_small_files_of_12_frames_a_second(demo):
    paths = sorted((demo / "videos").iterdir())
    assert len(paths) == 16 and sum(path.stat().st_size for path in paths) < 600_000
    for path in paths:
        info = probe(path)
        assert info.fps == 12 and 40 <= info.num_frames <= 70 and 96 <= min(info.width, info.height) <= 128


def test_lists_are_worded_like_something_something(demo):
    entries = json.loads((demo / "something-something-v2-train.json").read_text())
    assert [entry["template"] for entry in entries] == list(TEMPLATES.values())
    assert entries[0]["label"] == f"moving {entries[0]['placeholders'][0]} to the left"


def test_a_seed_gives_the_same_files_and_another_others(demo, tmp_path):
    assert digests(write_demo_dataset(tmp_path / "same", **SMALL)) == digests(demo)
    other = digests(write_demo_dataset(tmp_path / "other", **SMALL, seed=1))
    assert not set(other.values()) & {d for name, d in digests(demo).items() if name.endswith(".mp4")}


def test_it_is_written_once_and_again_if_it_is_another_or_half(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_module, "draw_video", lambda *_: (np.zeros((2, 16, 16, 3), np.uint8), "box"))
    write_demo_dataset(tmp_path, **SMALL)
    video = tmp_path / "videos" / "1.mp4"
    video.write_bytes(b"")
    write_demo_dataset(tmp_path, **SMALL)
    assert video.stat().st_size == 0  # taken as it is
    write_demo_dataset(tmp_path, **SMALL, seed=1)
    assert video.stat().st_size > 0
    video.write_bytes(b"")
    (tmp_path / "demo.json").unlink()
    write_demo_dataset(tmp_path, **SMALL, seed=1)
    assert video.stat().st_size > 0


def test_a_data_set_that_broke_off_is_not_taken_for_whole(tmp_path, monkeypatch):
    write_demo_dataset(tmp_path, **SMALL)

    def broken(action, rng):
        raise RuntimeError("no more")

    with monkeypatch.context() as patch:
        patch.setattr(demo_module, "draw_video", broken)
        with pytest.raises(RuntimeError, match="no more"):
            write_demo_dataset(tmp_path, **SMALL, seed=1)
    assert not (tmp_path / "demo.json").exists()


def test_a_class_needs_a_video(tmp_path):
    with pytest.raises(ValueError, match="20 and 0 videos a class"):
        write_demo_dataset(tmp_path, videos_per_class_val=0)
