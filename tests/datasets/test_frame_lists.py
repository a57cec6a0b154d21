"""PySlowFast's frame lists, as a few numbers a video; errors name file and line."""

import pickle

import pytest

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.decoding.frame_folder import FrameFolder
from slowfast_atfr.datasets.frame_lists import HEADER, FrameFolders, read_frame_list


@pytest.fixture
def read(tmp_path):
    def read(*lines, header=HEADER, prefix=""):
        (tmp_path / "train.csv").write_text("\n".join([header, *lines]) + "\n")
        return read_frame_list(str(tmp_path / "train.csv"), prefix)

    return read


def test_lines_become_folders(read):
    lines = ['24 0 0 24/00001.jpg ""', '24 0 1 24/00002.jpg ""', "", 'b 1 0 "b/img_9.png" "3"', "b 1 1 b/img_11.png"]
    assert read(*lines, prefix="/data 5%") == {
        "24": FrameFolder("/data 5%%/24/%05d.jpg", 1, 1, 2),
        "b": FrameFolder("/data 5%%/b/img_%01d.png", 9, 2, 2),
    }


def test_absolute_paths_stay(read):
    assert read("a a 0 /x/1.jpg 0", prefix="/data")["a"].frame_path(0) == "/x/1.jpg"


def test_videos_may_be_mixed(read):
    videos = read("a 0 0 a/1.jpg 0", "b 0 0 b/1.jpg 0", "a 0 1 a/2.jpg 0", "b 0 1 b/2.jpg 0")
    assert [video.num_frames for video in videos.values()] == [2, 2]


@pytest.mark.parametrize(
    "lines, message",
    [
        (["a 0 a/1.jpg"], r"line 2: 'a 0 a/1\.jpg' does not have the columns 'original_vido_id"),
        (["a 0 0 a/x.jpg 0"], r"line 2: a/x\.jpg has no number"),
        (["a 0 0 a/1.jpg 0", "a 0 1 a/2.jpg 0", "a 0 2 a/4.jpg 0"], r"line 4: found a/4\.jpg, expected a/3\.jpg"),
        (["a 0 0 a/2.jpg 0", "a 0 1 a/1.jpg 0"], r"line 3: found a/1\.jpg, expected a/3\.jpg"),
        (["a 0 0 a/1.jpg 0", "a 0 1 b/2.jpg 0"], r"line 3: found b/2\.jpg, expected a/2\.jpg"),
    ],
)
def test_a_bad_line_is_named(read, lines, message):
    with pytest.raises(ConfigError, match=f"train.csv, {message}"):
        read(*lines)


def test_a_list_with_another_header(read):
    with pytest.raises(ConfigError, match="line 1: the header is 'path label'"):
        read("a.mp4 0", header="path label")


def test_a_missing_list(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the list .*none.csv"):
        read_frame_list(str(tmp_path / "none.csv"))


def test_folders_of_many_videos_are_a_few_arrays():
    folders = [FrameFolder(f"/data/{i}/%05d.jpg", i, 1 + i % 2, 40 + i) for i in range(500)]
    kept = FrameFolders(folders)
    assert [kept[i] for i in range(len(kept))] == folders
    assert len(pickle.dumps(kept)) < 60 * len(folders)  # whatever the number of their frames
