"""Something-Something: its json files with listed frames, videos, or folders of pictures."""

import json
import logging
import shutil

import cv2
import numpy as np
import pytest

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.loader import build_loader
from slowfast_atfr.datasets.ssv2 import Ssv2, directed_labels, paths_of_videos
from slowfast_atfr.utils.distributed import RankInfo


def write_list(folder, entries, part="train"):
    (folder / f"something-something-v2-{part}.json").write_text(json.dumps(entries))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_listed_frames(frame_folders, cfg, split):
    data = Ssv2(cfg, split)
    assert len(data) == 2 and data.labels.tolist() == [0, 1]
    assert data.path(1) == str(frame_folders / "31")
    with data.open(0) as video:
        assert video.num_frames == 12
        assert data.middle_indices(video).tolist() == [1, 4, 7, 9]  # bounds 0, 3, 6 (5.5 to even), 8, 11
        assert data.view_indices(video).tolist() == [[1, 4, 7, 9]]


@pytest.mark.parametrize("clips, told", [(1, False), (3, True)])
def test_clips_of_the_whole_video_are_tested_once(frame_folders, cfg, caplog, clips, told):
    caplog.set_level(logging.INFO, logger="slowfast_atfr")
    cfg.TEST.NUM_ENSEMBLE_VIEWS, cfg.TEST.NUM_SPATIAL_CROPS, cfg.TEST.BATCH_SIZE = clips, 3, 4
    cfg.DATA_LOADER.NUM_WORKERS = 0
    loader = build_loader(cfg, "test", RankInfo())
    batches = list(loader)
    assert loader.dataset.num_views == 3 and len(loader) == len(batches)
    views = [(int(i), int(v)) for batch in batches for i, v in zip(batch.index, batch.view, strict=True)]
    assert views == [(video, view) for video in range(len(loader.dataset)) for view in range(3)]
    assert ("one is tested, not 3 equal ones" in caplog.text) == told


def test_frames_are_those_of_the_segments(frame_folders, cfg, numbers):
    data = Ssv2(cfg, "val")
    with data.open(0) as video:
        assert numbers(video.read(data.middle_indices(video))).tolist() == [1, 4, 7, 9]


def test_testing_takes_the_validation_list(frame_folders, cfg):
    write_list(frame_folders, [{"id": "7", "template": "Dropping [it]"}])
    assert Ssv2(cfg, "train").labels.tolist() == [1]
    assert Ssv2(cfg, "test").labels.tolist() == Ssv2(cfg, "val").labels.tolist() == [0, 1]


def test_a_listed_folder_that_is_gone_is_named(frame_folders, cfg):
    shutil.rmtree(frame_folders / "31")
    (skip,) = Ssv2(cfg, "val")[1].skipped
    assert skip.path.startswith(str(frame_folders / "31")) and "No such file" in skip.reason
    clip = Ssv2(cfg, "train")[1, 0]
    assert clip.index == 0 and {skip.index for skip in clip.skipped} == {1}


def test_videos_without_listed_frames_are_left_out_and_told(frame_folders, cfg, caplog):
    entries = [{"id": name, "template": "Dropping [it]"} for name in ("99", "31")]
    write_list(frame_folders, entries)
    data = Ssv2(cfg, "train")
    assert len(data) == 1 and data.path(0).endswith("31")
    assert "1 of 2 videos are not in" in caplog.text and "99" in caplog.text
    write_list(frame_folders, entries[:1])
    with pytest.raises(ConfigError, match="1 of 1 videos are not in .*train.csv"):
        Ssv2(cfg, "train")


@pytest.fixture
def videos(frame_folders, numbered, cfg):
    """The same two videos without lists of frames: a file, and a folder of pictures."""
    for split in ("train", "val"):
        (frame_folders / f"{split}.csv").unlink()
    shutil.rmtree(frame_folders / "7")
    shutil.copyfile(numbered("b_frames"), frame_folders / "7.mp4")
    return frame_folders


def test_video_files_and_folders_by_id(videos, cfg, numbers):
    data = Ssv2(cfg, "val")
    assert [data.path(0), data.path(1)] == [str(videos / "7.mp4"), str(videos / "31")]
    for index, count in ((0, 60), (1, 9)):
        with data.open(index) as video:
            assert video.num_frames == count and numbers(video.read([4])).tolist() == [4]
        assert data[index].frames.shape == (4, 32, 32, 3)


def test_without_prefix_videos_lie_beside_the_lists(videos, cfg):
    cfg.DATA.PATH_PREFIX = ""
    assert Ssv2(cfg, "val").path(0) == str(videos / "7.mp4")


def test_a_missing_video_is_told_and_skipped(videos, cfg, caplog):
    (videos / "7.mp4").unlink()
    data = Ssv2(cfg, "val")
    assert "1 of 2 videos are not in the folder" in caplog.text and "(DATA.PATH_PREFIX): 7" in caplog.text
    (skip,) = data[0].skipped
    assert skip.path == str(videos / "7.webm") and "No such file" in skip.reason


def test_a_folder_without_pictures_is_skipped(videos, cfg):
    for picture in (videos / "31").iterdir():
        picture.unlink()
    (skip,) = Ssv2(cfg, "val")[1].skipped
    assert skip.path == str(videos / "31") and "no numbered picture" in skip.reason


def test_webm_is_preferred(tmp_path):
    for name in ("1.mp4", "1.webm", "2.mkv"):
        (tmp_path / name).touch()
    assert paths_of_videos(str(tmp_path), ["2", "1"]) == [str(tmp_path / "2.mkv"), str(tmp_path / "1.webm")]


def test_a_wrong_prefix_is_named(videos, cfg, tmp_path):
    cfg.DATA.PATH_PREFIX = str(tmp_path / "none")
    with pytest.raises(ConfigError, match="DATA.PATH_PREFIX is '.*none', a folder of videos: No such file"):
        Ssv2(cfg, "val")
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match="2 of 2 videos are not in the folder '.*none'"):
        Ssv2(cfg, "val")


@pytest.mark.parametrize(
    "entries, message",
    [
        ([{"id": "7"}], "entry 0: .* has no `id` and `template`"),
        (["7"], "entry 0"),
        ([{"id": "7", "template": "Flying"}], "entry 0: its template, 'Flying', is not in .*-labels.json"),
        ([], "lists no video"),
        ({}, "holds a dict, not a list"),
    ],
)
def test_a_bad_entry_is_named(frame_folders, cfg, entries, message):
    write_list(frame_folders, entries)
    with pytest.raises(ConfigError, match=f"something-something-v2-train.json.*{message}"):
        Ssv2(cfg, "train")


def test_bad_labels_are_named(frame_folders, cfg):
    cfg.MODEL.NUM_CLASSES = 1
    with pytest.raises(ConfigError, match="'Dropping it' is '1'; with MODEL.NUM_CLASSES 1 labels go from 0 to 0"):
        Ssv2(cfg, "train")
    path = frame_folders / "something-something-v2-labels.json"
    path.write_text('{"Dropping it": }')
    with pytest.raises(ConfigError, match="cannot read .*labels.json: .*line 1"):
        Ssv2(cfg, "train")
    path.unlink()
    with pytest.raises(ConfigError, match="DATA.PATH_TO_DATA_DIR has no file .*labels.json; expected are"):
        Ssv2(cfg, "train")


def test_real_frame_folders(real_clips, cfg):
    cfg.DATA.PATH_TO_DATA_DIR = cfg.DATA.PATH_PREFIX = str(real_clips / "frame_folders")
    train, val = Ssv2(cfg, "train"), Ssv2(cfg, "val")
    assert (len(train), len(val)) == (1, 1) and (train.labels[0], val.labels[0]) == (0, 1)
    with val.open(0) as video:
        assert video.num_frames == 37 and video.read([0, 36]).shape == (2, 100, 176, 3)


def test_labels_that_say_left_or_right_are_never_mirrored(frame_folders, cfg, caplog):
    labels = {"Moving something up": "0", "Turning the camera LEFT": "1", "Bright, leftover": "2", "[x] from right": 4}
    (frame_folders / "something-something-v2-labels.json").write_text(json.dumps(labels | {"Dropping it": "1"}))
    assert directed_labels(str(frame_folders)) == {1, 4}
    caplog.set_level("INFO")
    train = Ssv2(cfg, "train")
    assert [train.may_flip(index) for index in range(2)] == [True, False]
    assert "except those of 2 labels with left or right" in caplog.text
    for path in frame_folders.glob("*/*.png"):
        cv2.imwrite(str(path), np.broadcast_to(np.arange(144, dtype=np.uint8)[None, :, None], (48, 144, 3)))
    clips = [[train[index, epoch].frames for epoch in range(30)] for index in range(2)]  # brighter to the right
    mirrored = [[bool(frames[0, 0, 0, 0] > frames[0, 0, -1, 0]) for frames in video] for video in clips]
    assert 5 < sum(mirrored[0]) < 25 and not any(mirrored[1])
    caplog.clear()
    cfg.DATA.RANDOM_FLIP = False
    Ssv2(cfg, "train")
    assert "left" not in caplog.text
