"""A folder for each class: what becomes of it, and what it must hold."""

import pytest

from slowfast_atfr.config import ConfigError
from slowfast_atfr.prepare.folder import collect_folder
from slowfast_atfr.prepare.request import Request


@pytest.fixture
def collect(tmp_path):
    """collect(paths, ...): the videos of a folder with these files."""

    def run(paths, **options):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(b"")
        return collect_folder(Request("folder", str(tmp_path), str(tmp_path / "prepared"), **options))

    return run


def classes(**counts):
    return [f"{name}/{number}.mp4" for name, count in counts.items() for number in range(count)]


def test_each_class_gives_its_share_to_val_and_nothing_is_lost(collect):
    videos = collect(classes(run=10, jump=5, wave=2), val_share=0.2)
    assert videos.classes == ("jump", "run", "wave")
    share = {label: sum(entry.label == label for entry in videos.lists["val"]) for label in range(3)}
    assert share == {0: 1, 1: 2, 2: 1}
    both = videos.lists["train"] + videos.lists["val"]
    assert sorted(path for path, _ in both) == sorted(classes(run=10, jump=5, wave=2))
    assert all(videos.classes[label] == path.split("/")[0] for path, label in both)


def test_a_seed_gives_the_same_lists_and_another_others(collect):
    first, second = collect(classes(run=30, jump=30)), collect([])
    assert first.lists == second.lists and any("seed 0" in note for note in first.notes)
    assert collect([], seed=1).lists != first.lists


def test_a_class_with_one_video_is_trained_on_and_reported(collect):
    videos = collect(classes(run=4, jump=1))
    assert ("jump/0.mp4", 0) in videos.lists["train"] and any("jump" in note for note in videos.notes)


def test_given_parts_are_kept(collect):
    paths = ["train/run/a.mp4", "train/jump/deep/b.avi", "val/run/c.MP4", "test/jump/d.webm"]
    videos = collect(paths)
    assert videos.classes == ("jump", "run")
    assert videos.lists == {
        "train": (("train/jump/deep/b.avi", 0), ("train/run/a.mp4", 1)),
        "val": (("val/run/c.MP4", 1),),
        "test": (("test/jump/d.webm", 0),),
    }


def test_one_class_may_be_called_as_a_part(collect):
    assert collect(classes(train=2, tram=2)).classes == ("train", "tram")


def test_what_is_left_out_is_reported(collect):
    videos = collect([*classes(run=2, jump=2), "run/notes.txt", "stray.mp4", ".hidden/a.mp4", "run/.b.mp4"])
    assert len(videos.paths()) == 4
    assert any("1 files without the name of a video" in note for note in videos.notes)
    assert any("1 videos outside of class folders, such as stray.mp4" in note for note in videos.notes)


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "holds no folder with videos"),
        (["a.mp4"], "holds no folder with videos"),
        (classes(run=3), "holds one folder with videos, run; it needs a folder for each class"),
        (classes(run=1, jump=1), "no class has two videos"),
        (["train/run/a.mp4", "val/jump/b.mp4"], "val has the class 'jump', but .*train has no video of it"),
        (["train/run/a.mp4", "val/run/b.mp4", "jump/c.mp4"], "there is jump/"),
        (["train/a.mp4", "val/run/b.mp4"], "there is train/a.mp4"),
        (
            ["train/run/a.mp4", "test/run/b.mp4"],
            "holds test/ and train/, splits rather than classes; name them train/, val/",
        ),
        (
            ["Train/run/a.mp4", "Validation/run/b.mp4", "c/d.mp4"],
            "holds Train/ and Validation/, splits rather than classes",
        ),
    ],
)
def test_a_folder_that_is_none_is_reported(collect, paths, message):
    with pytest.raises(ConfigError, match=message):
        collect(paths)
