"""What is written is what the data sets read."""

import pytest

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.kinetics import read_video_list
from slowfast_atfr.prepare.check import read_report, write_report
from slowfast_atfr.prepare.collection import Entry, VideoSet
from slowfast_atfr.prepare.lists import write_missing, write_video_lists

NAMES = ["playing guitar/x y.mp4", "a/b, 3.mp4", "a/b 3,4.mp4", "走る/é.avi", "100%/#1 & (2).mp4", "path.mp4"]


def videos(*paths, **fields):
    return VideoSet("/videos", ("a",), {"train": tuple(Entry(path, 7) for path in paths)}, **fields)


def test_every_name_comes_back(tmp_path):
    write_video_lists(videos(*NAMES), str(tmp_path))
    assert read_video_list(str(tmp_path / "train.csv"), separator=" ", num_classes=8) == (NAMES, [7] * len(NAMES))


@pytest.mark.parametrize("name", [" a/b.mp4", "a\nb.mp4", "a\rb.mp4", "caf\udce9.mp4"])
def test_a_name_that_cannot_come_back_is_reported(tmp_path, name):
    with pytest.raises(ConfigError, match="the name .* rename it"):
        write_video_lists(videos("a.mp4", name), str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_lists_of_an_earlier_run_do_not_stay(tmp_path):
    (tmp_path / "test.csv").write_text("old.mp4 1\n")
    write_video_lists(videos("a.mp4"), str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["train.csv"]
    assert write_missing(videos("a.mp4", missing={"train": ("b", "c, d")}), str(tmp_path))
    assert (tmp_path / "missing.csv").read_text() == 'list,video\ntrain,b\ntrain,"c, d"\n'
    assert not write_missing(videos("a.mp4"), str(tmp_path)) and not (tmp_path / "missing.csv").exists()


def test_a_report_comes_back(tmp_path):
    reasons = {name: f"it says: {name}, and\nmore" for name in [*NAMES, "caf\udce9.mp4"]}
    write_report(str(tmp_path / "bad.csv"), reasons)
    assert read_report(str(tmp_path / "bad.csv")) == reasons
    (tmp_path / "bad.csv").write_text("a.mp4,b\n")
    with pytest.raises(ConfigError, match="is no report of --check"):
        read_report(str(tmp_path / "bad.csv"))
