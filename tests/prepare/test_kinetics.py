"""Kinetics' annotations against whatever layout the videos have; every wrong line is named."""

import shutil

import pytest

from slowfast_atfr.config import ConfigError
from slowfast_atfr.prepare.collection import Entry
from slowfast_atfr.prepare.kinetics import collect_kinetics
from slowfast_atfr.prepare.request import Request
from tests.tiny_sets import KINETICS, write_kinetics


def collect(folder, **options):
    return collect_kinetics(Request("kinetics400", str(folder), str(folder / "prepared"), **options))


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


@pytest.fixture
def annotated(tmp_path):
    """annotated(rows): a folder with these lines of annotations, in one file."""

    def make(*rows, header="label,youtube_id,time_start,time_end,split\n"):
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / "train.csv").write_text(header + "".join(f"{row}\n" for row in rows))
        return tmp_path

    return make


@pytest.mark.parametrize("by_class", [False, True])
def test_videos_are_found_flat_and_by_class(tmp_path, by_class):
    videos = collect(write_kinetics(tmp_path, by_class))
    assert videos.classes == tuple(sorted(KINETICS))
    assert {name: len(entries) for name, entries in videos.lists.items()} == {"train": 12, "val": 6}
    assert {name: len(names) for name, names in videos.missing.items()} == {"train": 3, "val": 3}
    for entries in videos.lists.values():
        assert all((tmp_path / path).is_file() for path, _ in entries)
        assert [label for _, label in entries] == sorted(label for _, label in entries)
    where = "train/playing guitar/" if by_class else "train/"
    assert Entry(f"{where}-1_tr00002__000020_000030.mp4", 1) in videos.lists["train"]


def test_hidden_files_of_a_mac_are_no_annotations(tmp_path):
    folder = write_kinetics(tmp_path)
    for path in list((folder / "annotations").iterdir()):
        (folder / "annotations" / f"._{path.name}").write_bytes(b"\x00\x05\x16\x07\xe9")
    assert {name: len(entries) for name, entries in collect(folder).lists.items()} == {"train": 12, "val": 6}


def test_a_bare_id_is_a_name_and_replacements_and_the_own_split_go_before(annotated):
    folder = annotated("a,aaaaaaaaaaa,5,15,train", "b,bbbbbbbbbbb,0,10,train", "a,ccccccccccc,0,10,train",
                       "a,ddddddddddd,0.0,10.0,validate", "b,eeeeeeeeeee,0,10,holdout")  # fmt: skip
    touch(folder / "train" / "aaaaaaaaaaa.mkv")
    touch(folder / "train" / "bbbbbbbbbbb_000000_000010.mp4")
    touch(folder / "replacement" / "replacement_for_corrupted_k400" / "bbbbbbbbbbb_000000_000010.mp4")
    for place in ("val", "train", "old/train"):
        touch(folder / place / "ccccccccccc_000000_000010.mp4")
    touch(folder / "val" / "ddddddddddd_000000_000010.webm")
    videos = collect(folder)
    assert [path for path, _ in videos.lists["train"]] == [
        "train/aaaaaaaaaaa.mkv",
        "replacement/replacement_for_corrupted_k400/bbbbbbbbbbb_000000_000010.mp4",
        "train/ccccccccccc_000000_000010.mp4",
    ]
    assert videos.lists["val"] == (Entry("val/ddddddddddd_000000_000010.webm", 0),)
    assert "left out: 1 lines of the split 'holdout'" in videos.notes


def test_linked_folders_are_followed_once(annotated, tmp_path_factory):
    folder = annotated("a,aaaaaaaaaaa,5,15,train")
    elsewhere = tmp_path_factory.mktemp("disk")
    touch(elsewhere / "aaaaaaaaaaa_000005_000015.mp4")
    (folder / "train").symlink_to(elsewhere)
    (elsewhere / "round").symlink_to(folder)
    assert [path for path, _ in collect(folder).lists["train"]] == ["train/aaaaaaaaaaa_000005_000015.mp4"]


def test_a_test_list_needs_labels(annotated):
    folder = annotated("a,aaaaaaaaaaa,5,15,train")
    (folder / "annotations" / "test.csv").write_text("youtube_id,time_start,time_end,split\nbbbbbbbbbbb,0,10,test\n")
    touch(folder / "aaaaaaaaaaa.mp4")
    videos = collect(folder)
    assert list(videos.lists) == ["train", "val"] and videos.notes == ("left out: 1 lines without a label",)


def test_nobody_needs_the_test_videos(annotated):
    folder = annotated("a,aaaaaaaaaaa,5,15,train", "a,bbbbbbbbbbb,0,10,test")
    touch(folder / "aaaaaaaaaaa.mp4")
    videos = collect(folder)
    assert list(videos.lists) == list(videos.missing) == ["train", "val"] and "none of the 1 test" in videos.notes[0]
    touch(folder / "test" / "bbbbbbbbbbb.mp4")
    assert collect(folder).lists["test"] == (Entry("test/bbbbbbbbbbb.mp4", 0),)


def test_a_line_that_comes_twice_counts_once(annotated):
    folder = annotated("a,aaaaaaaaaaa,5,15,train", "a,aaaaaaaaaaa,5,15,train")
    touch(folder / "aaaaaaaaaaa.mp4")
    videos = collect(folder)
    assert len(videos.lists["train"]) == 1 and videos.notes == ("left out: 1 lines given twice",)


@pytest.mark.parametrize(
    "line", ["a,bbbbbbbbbbb,x,10,train", "a,bbbbbbbbbbb,0", "a,b,c,0,10,train,0,1", "a,,0,10,train"]
)
def test_a_wrong_line_is_named(annotated, line):
    folder = annotated("a,aaaaaaaaaaa,5,15,train", line)
    with pytest.raises(ConfigError, match="train.csv, line 3: '.*' is not label,youtube_id"):
        collect(folder)


def test_a_file_that_is_no_text_is_reported(annotated):
    folder = annotated("a,aaaaaaaaaaa,5,15,train")
    with open(folder / "annotations" / "train.csv", "ab") as file:
        file.write(b"caf\xe9,bbbbbbbbbbb,5,15,train\n")
    with pytest.raises(ConfigError, match="cannot read .*train.csv: .*can't decode"):
        collect(folder)


def test_a_header_that_lacks_a_column_is_reported(annotated):
    with pytest.raises(ConfigError, match="line 1: the header lacks time_end, split"):
        collect(annotated(header="label,youtube_id,time_start\n"))


def test_missing_annotations_and_videos_are_reported(tmp_path, annotated):
    with pytest.raises(ConfigError, match=r"no csv file with the header label,youtube_id,.* --annotations"):
        collect(tmp_path)
    with pytest.raises(ConfigError, match="there is no video below"):
        collect(annotated("a,aaaaaaaaaaa,5,15,train"))
    with pytest.raises(ConfigError, match="there is no folder .*nowhere"):
        collect(tmp_path / "nowhere", annotations=str(tmp_path / "annotations"))
    with pytest.raises(ConfigError, match="no training clip"):
        collect(annotated("a,aaaaaaaaaaa,5,15,val"))


def test_a_class_that_is_never_trained_is_reported(annotated):
    with pytest.raises(ConfigError, match="the class 'b' in val, not in train"):
        collect(annotated("a,aaaaaaaaaaa,5,15,train", "b,bbbbbbbbbbb,5,15,val"))


# a part of the classes


def test_a_class_list_gives_the_classes_and_their_order(tmp_path):
    folder = write_kinetics(tmp_path / "k400")
    (tmp_path / "classes.txt").write_text(f"{KINETICS[2]}\n\n{KINETICS[0]}\n")
    videos = collect(folder, classes=str(tmp_path / "classes.txt"))
    assert videos.classes == (KINETICS[2], KINETICS[0])
    assert {(path.split("/")[1][:2], label) for path, label in videos.lists["val"]} == {("-2", 0), ("-0", 1)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "abseiling\nplaying gitar\n",
            "line 2: 'playing gitar' is no class of the annotations; did you mean 'playing g",
        ),
        ("abseiling\n\nabseiling\n", "line 3: 'abseiling' is already in line 1"),
        ("\n", "names no class"),
    ],
)
def test_a_wrong_class_list_is_reported(tmp_path, text, message):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(ConfigError, match=f"classes.txt.*{message}"):
        collect(write_kinetics(tmp_path / "k400"), classes=str(tmp_path / "classes.txt"))


def test_the_authors_lists_of_ids_choose_clips(tmp_path):
    folder = write_kinetics(tmp_path / "k400")
    (tmp_path / "train_ytid_list.txt").write_text("-0_tr00001_\n-1_tr00000_\n-1_tr00004_\nvanished___\n")
    (tmp_path / "val_ytid_list.txt").write_text("-1_va00000_\n-0_tr00002_\n")
    videos = collect(folder, ids=str(tmp_path))
    assert videos.classes == (KINETICS[0], KINETICS[1])
    assert [path[6:17] for path, _ in videos.lists["train"]] == ["-0_tr00001_", "-1_tr00000_"]
    assert [path[4:15] for path, _ in videos.lists["val"]] == ["-1_va00000_"]
    assert len(videos.missing["train"]) == 1 and "2 ids of" in videos.notes[0]
    (tmp_path / "val_ytid_list.txt").write_text("abseiling\n")
    with pytest.raises(ConfigError, match="val_ytid_list.txt, line 1: 'abseiling' is no YouTube id"):
        collect(folder, ids=str(tmp_path))


def test_ten_thousand_lines_take_no_time(annotated):
    rows = [f"class {i % 400},{i:011d},0,10,{'train' if i // 400 % 20 else 'val'}" for i in range(10_000)]
    folder = annotated(*rows)
    touch(folder / "00000000001.mp4")
    videos = collect(folder)
    assert len(videos.classes) == 400 and sum(map(len, videos.missing.values())) == 9_999


def test_a_folder_that_was_prepared_is_passed_over(tmp_path):
    folder = write_kinetics(tmp_path)
    for old in ("prepared/videos_256/train", "elsewhere"):
        shutil.copytree(folder / "train", folder / old)
    videos = collect_kinetics(Request("kinetics400", str(folder), str(folder / "elsewhere")))
    assert all(path.startswith(("train/", "val/")) for path in videos.paths())
