"""Lists of videos with labels, in all their spellings; and the frames that clips of them take."""

import logging

import numpy as np
import pytest

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.decoder import open_video
from slowfast_atfr.datasets.kinetics import Kinetics, read_video_list


@pytest.fixture
def read(tmp_path):
    def read(text, separator=" ", num_classes=10):
        path = tmp_path / "train.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_video_list(str(path), separator=separator, num_classes=num_classes)

    return read


@pytest.mark.parametrize(
    "text, separator",
    [
        ("a.mp4 3\nb.mp4 4\n", " "),
        ("a.mp4,3\nb.mp4,4", " "),
        ("a.mp4\t3\r\nb.mp4\t4\r\n", "\t"),
        ("a.mp4;3\nb.mp4;4\n", ";"),
        ("path label\na.mp4 3\n\n  \nb.mp4 4\n", " "),
        ("path,label\na.mp4, 3\nb.mp4,4\n", " "),
        ("\ufeffa.mp4  3\nb.mp4 4\n", " "),
        ('"a.mp4",3\n"b.mp4",4\n', " "),
        ('"a.mp4", "3"\nb.mp4,"4"\n', " "),
        ('"path","label"\n"a.mp4" 3\n"b.mp4"  4\n', " "),
        ('"a.mp4";"3"\r\n"b.mp4";4\r\n', ";"),
    ],
    ids=[
        *("blank", "comma", "tab", "semicolon", "header", "comma_header", "byte_order_mark"),
        *("quoted", "label_quoted", "header_quoted", "semicolon_quoted"),
    ],
)
def test_spellings_of_a_list(read, text, separator):
    assert read(text, separator) == (["a.mp4", "b.mp4"], [3, 4])


def test_paths_may_hold_separators(read):
    assert read("a b, c.mp4 1\na b.mp4,2\n") == (["a b, c.mp4", "a b.mp4"], [1, 2])
    assert read('"a, b.mp4",1\n"a ""b"", c.mp4",2\n') == (["a, b.mp4", 'a "b", c.mp4'], [1, 2])


@pytest.mark.parametrize("name", ['say "hi".mp4', '"hi" there.mp4', '"a b",c.mp4', 'one".mp4', '"a.mp4', "a,b 7.mp4"])
def test_a_list_that_was_written_here_is_read_as_it_is(read, name):
    assert read(f"{name} 5\n") == ([name], [5])


@pytest.mark.parametrize(
    "text, message",
    [
        ("a.mp4 1\nb.mp4\n", "line 2: 'b.mp4' is not `path label`"),
        ("a.mp4\n", "line 1: 'a.mp4' is not `path label`"),
        ("a.mp4 1\nb.mp4 x\n", "line 2: 'b.mp4 x' is not"),
        ("a.mp4 1\nb.mp4 1.5\n", "line 2"),
        ("a.mp4 1\n\nb.mp4 10\n", "line 3: the label is 10; with MODEL.NUM_CLASSES 10 labels go from 0 to 9"),
        ("a.mp4 -1\n", "line 1: the label is -1"),
        ("path label\n", "lists no video"),
        ("a/b.mp4 O\nc.mp4 1\n", "line 1: 'a/b.mp4 O' is not `path label` with an integer label"),
        ("a.MKV,one\nc.mp4,1\n", "line 1: 'a.MKV,one' is not"),
        ("videos/a O\nc.mp4 1\n", "line 1"),
        ("a.ts O\nc.mp4 1\n", "line 1"),
        ('"a, b.mp4",O\nc.mp4 1\n', "line 1"),
        ("", "lists no video"),
    ],
)
def test_a_bad_line_is_named(read, text, message):
    with pytest.raises(ConfigError, match=f"train.csv.*{message}"):
        read(text)


def test_a_header_is_told(read, caplog):
    with caplog.at_level(logging.INFO):
        read("path label\na.mp4 3\n")
    assert "line 1, 'path label', is read as a header" in caplog.text


def test_missing_lists_are_named(cfg, tmp_path):
    cfg.DATA.PATH_TO_DATA_DIR = str(tmp_path)
    with pytest.raises(ConfigError, match="DATA.PATH_TO_DATA_DIR is .*no file .*train.csv; expected are train.csv"):
        Kinetics(cfg, "train")
    with pytest.raises(ConfigError, match="no file .*val.csv"):
        Kinetics(cfg, "test")
    cfg.DATA.PATH_TO_DATA_DIR = str(tmp_path / "none")
    with pytest.raises(ConfigError, match="none', but there is no such folder"):
        Kinetics(cfg, "train")


def test_testing_takes_val_where_there_is_no_test_list(video_list, cfg, caplog):
    folder = video_list(5)
    with caplog.at_level(logging.INFO):
        assert len(Kinetics(cfg, "test")) == 5
    assert "no test.csv; tests use val.csv" in caplog.text
    (folder / "test.csv").write_text("a.mp4 1\n")
    assert len(Kinetics(cfg, "test")) == 1


def test_the_prefix_stands_before_relative_paths_only(cfg, tmp_path):
    cfg.DATA.PATH_TO_DATA_DIR, cfg.DATA.PATH_PREFIX = str(tmp_path), "/videos"
    (tmp_path / "val.csv").write_text("x/a.mp4 1\n/y/b.mp4 2\n")
    data = Kinetics(cfg, "val")
    assert [data.path(0), data.path(1)] == ["/videos/x/a.mp4", "/y/b.mp4"]
    assert data.labels.tolist() == [1, 2] and data.labels.dtype == np.int64


def test_frames_of_clips(video_list, numbered, cfg):
    video_list(5)
    data = Kinetics(cfg, "val")  # 4 frames, 2 apart, 25 of 25 fps: a window of 8 of 60 frames, ends included
    cfg.TEST.NUM_ENSEMBLE_VIEWS = 2
    with open_video(numbered("b_frames")) as video:
        assert data.middle_indices(video).tolist() == [26, 28, 30, 33]  # from floor(52 / 2), steps of 7 / 3
        assert data.view_indices(video).tolist() == [[0, 2, 4, 7], [26, 28, 30, 33]]
        cfg.DATA.USE_OFFSET_SAMPLING = True
        assert data.view_indices(video).tolist() == [[0, 2, 4, 7], [52, 54, 56, 59]]
        cfg.DATA.TARGET_FPS = 50  # the window lasts half as long: 4 frames of 25 fps
        assert data.middle_indices(video).tolist() == [28, 29, 30, 31]
        rng = np.random.default_rng(0)
        starts = np.array([data.random_indices(video, rng)[0] for _ in range(400)])
        assert starts.min() == 0 and starts.max() == 55


def test_a_test_item_opens_its_video_once(video_list, cfg, monkeypatch):
    video_list(5)
    data, opened = Kinetics(cfg, "test"), []
    original = data.open
    monkeypatch.setattr(data, "open", lambda index: opened.append(index) or original(index))
    views = data[3]
    assert opened == [3] and views.frames.shape == (30, 4, 32, 32, 3) and views.label == 3


def test_a_missing_video_is_named(video_list, cfg):
    folder = video_list(5, bad=[2])
    (skip,) = Kinetics(cfg, "val")[2].skipped
    assert skip.path == str(folder / "missing2.mp4") and "No such file" in skip.reason


def test_real_list(real_clips, cfg):
    cfg.DATA.PATH_TO_DATA_DIR = cfg.DATA.PATH_PREFIX = str(real_clips)
    cfg.MODEL.NUM_CLASSES = 16
    train, val = Kinetics(cfg, "train"), Kinetics(cfg, "val")
    assert (len(train), len(val)) == (137, 73)
    clip = train[100, 0]
    assert clip.frames.shape == (4, 32, 32, 3) and clip.skipped == () and clip.frames.float().std() > 5


def test_a_line_that_is_no_utf8_is_named(tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes("\ufeffgrün.mp4 0\r\n".encode() + b"caf\xe9.mp4 1\r\n")
    with pytest.raises(ConfigError, match=r"train.csv, line 2: b'caf\\xe9.mp4 1' is not UTF-8; save the list as UTF-8"):
        read_video_list(str(path), separator=" ", num_classes=2)


def test_lines_may_end_as_on_any_system(tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes("\ufeffgrün.mp4 0\r\nb.mp4 1\rc.mp4 1\n".encode())
    assert read_video_list(str(path), separator=" ", num_classes=2) == (["grün.mp4", "b.mp4", "c.mp4"], [0, 1, 1])
